"""1x1 convolution, with fast gradients where the processor's library is slow: on small images.

Only the superkernel uses it: plain networks keep ordinary layers, which exporters and quantisers know.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from supernet.blocks.layers import plain_on_cpu, trains_on_cpu

SMALL = 64  # pixels; at 14 x 14 the library's gradients are the faster ones (docs/performance.md)
TINY = 16  # pixels; above, the library's forward pass is as fast as a product of matrices

_matrix_products: ContextVar[bool] = ContextVar("matrix_products", default=False)


@contextmanager
def matrix_products() -> Iterator[None]:
    """Within: passes without gradient over tiny images are products of matrices as well.

    Faster than the library, and equal to it but for rounding: for passes whose outputs are only compared.
    """
    token = _matrix_products.set(True)
    try:
        yield
    finally:
        _matrix_products.reset(token)


def pointwise_conv(images: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """(B, inputs, H, W), weight (outputs, inputs, 1, 1) -> (B, outputs, H, W)."""
    pixels = images.shape[2] * images.shape[3]
    if pixels <= SMALL and images.stride(1) == 1:
        if trains_on_cpu(images, weight):
            return _SmallImages.apply(images, weight, bias)
        if _matrix_products.get() and pixels <= TINY and plain_on_cpu(images, weight):
            return functional.linear(images.permute(0, 2, 3, 1), weight.flatten(1), bias).permute(0, 3, 1, 2)
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
