"""Depthwise convolution, with a fast weight gradient where the processor's library has none.

oneDNN falls back to a reference loop for the weight gradient of a kernel that is larger than its input: 41 ms for
5x5 on (64, 1152, 1, 1), hundreds of times the forward pass. The last stages of every mobile space are like that on
small images, and the loop takes most of a training step there (docs/performance.md). Of other channels-last images its
depthwise kernel serves up to 3 columns; of wider filters it takes one for dense convolutions, eight times the work.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.blocks.layers import trains_on_cpu


class DepthwiseConv(nn.Conv2d):
    """One filter for each channel, symmetric padding: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, channels: int, kernel: int, stride: int = 1, margin: int = 0) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2 + margin, groups=channels, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return depthwise_conv(images, self.weight, self.stride[0], int(self.padding[0]))


def depthwise_conv(images: Tensor, weight: Tensor, stride: int, padding: int | None = None) -> Tensor:
    """Convolve each channel with its own filter, `weight` (C, 1, k, k), padded by k // 2 or as said."""
    kernel = weight.shape[-1]
    padding = kernel // 2 if padding is None else padding
    if (_is_wide(images, kernel, stride) or kernel > min(images.shape[2:])) and trains_on_cpu(images, weight):
        return _OwnGradient.apply(images, weight, stride, padding)
    return functional.conv2d(images, weight, None, stride, padding, 1, len(weight))


def _is_wide(images: Tensor, kernel: int, stride: int) -> bool:
    """Whether the weight gradient is computed by columns: faster than the library's from about 16 channels on."""
    fits = images.stride(1) == 1 and images.shape[1] >= 16 and kernel <= min(images.shape[2:])
    return kernel in (5, 7) and stride in (1, 2) and fits


class _OwnGradient(torch.autograd.Function):
    """The library's forward pass and input gradient; the weight gradient by columns or taps of the kernel."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride, ctx.padding = stride, padding
        return functional.conv2d(images, weight, None, stride, padding, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
        images, weight = ctx.saved_tensors
        needs_images, needs_weight, *_ = ctx.needs_input_grad
        by_images = _gradients(gradient, images, weight, ctx.stride, ctx.padding, 0) if needs_images else None
        if not needs_weight:
            return by_images, None, None, None
        kernel = weight.shape[-1]
        by = _gradient_by_columns if _is_wide(images, kernel, ctx.stride) else _gradient_by_taps
        return by_images, by(images, gradient, kernel, ctx.stride, ctx.padding), None, None


def _gradients(gradient: Tensor, images: Tensor, weight: Tensor, stride: int, padding: int, of: int) -> Tensor:
    """The library's gradient of a depthwise convolution: of its images (0) or its weight (1)."""
    settings = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], len(weight)
    which = [of == 0, of == 1, False]
    return torch.ops.aten.convolution_backward(gradient, images, weight, None, *settings, which)[of]


def _gradient_by_columns(images: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Three columns at a time, which the library is fast at; each three begin two further right.

    Outputs are moved instead of images: `first` columns to the right are `first / stride` outputs.
    """
    images = functional.pad(images, [padding] * 4)
    width = (images.shape[3] - 3) // stride + 1
    columns = images.new_empty(images.shape[1], 1, kernel, 3)
    by_weight = images.new_empty(images.shape[1], 1, kernel, kernel)
    for first in range(0, kernel - 2, 2):
        before = first // stride
        moved = functional.pad(gradient, (before, width - before - gradient.shape[3]))
        by_weight[..., first : first + 3] = _gradients(moved, images, columns, stride, 0, 1)
    return by_weight


def _gradient_by_taps(images: Tensor, gradient: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """Each tap's gradient is a product of shifted images and output gradients; taps that only see padding are zero."""
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    sizes = [(images.shape[axis], gradient.shape[axis]) for axis in (1, 2)]
    rows, columns = (_overlaps(kernel, stride, padding, *size) for size in sizes)
    taps = images.new_zeros(kernel, kernel, images.shape[3])
    for y, (seen_y, given_y) in rows.items():
        for x, (seen_x, given_x) in columns.items():
            taps[y, x] = (images[:, seen_y, seen_x] * gradient[:, given_y, given_x]).sum((0, 1, 2))
    return taps.permute(2, 0, 1).unsqueeze(1)


def _overlaps(kernel: int, stride: int, padding: int, inputs: int, outputs: int) -> dict[int, tuple[slice, slice]]:
    """For each tap along one axis that meets the image: where it looks, and at which outputs."""
    overlaps = {}
    for tap in range(kernel):
        shift = tap - padding
        first = max(0, -(shift // stride))  # ceil(-shift / stride)
        last = min(outputs - 1, (inputs - 1 - shift) // stride)
        if first <= last:
            start, stop = first * stride + shift, last * stride + shift + 1
            overlaps[tap] = slice(start, stop, stride), slice(first, last + 1)
    return overlaps
