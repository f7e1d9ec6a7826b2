"""1x1 convolution, with fast gradients where the processor's library is slow: on small images.

Only the superkernel uses it: plain networks keep ordinary layers, which exporters and quantisers know.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from supernet.blocks.layers import trains_on_cpu

SMALL = 64  # pixels; at 14 x 14 the library's gradients are the faster ones (docs/performance.md)


def pointwise_conv(images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, inputs, H, W), weight (outputs, inputs, 1, 1) -> (B, outputs, H, W)."""
    small = images.shape[2] * images.shape[3] <= SMALL and images.stride(1) == 1
    if small and trains_on_cpu(images, weight):
        return _SmallImages.apply(images, weight, bias)
    return functional.conv2d(images, weight, bias)


class _SmallImages(torch.autograd.Function):
    """The library's forward pass, to the bit; gradients as products of matrices that have a row for each pixel."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(images, weight)
        return functional.conv2d(images, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor | None]:
        images, weight = ctx.saved_tensors
        needs_images, _, needs_bias = ctx.needs_input_grad
        gradient, images = gradient.permute(0, 2, 3, 1), images.permute(0, 2, 3, 1)
        by_images = (gradient @ weight.flatten(1)).permute(0, 3, 1, 2) if needs_images else None
        rows = gradient.flatten(0, 2)
        by_weight = rows.t() @ images.flatten(0, 2)
        return by_images, by_weight[:, :, None, None], rows.sum(0) if needs_bias else None
