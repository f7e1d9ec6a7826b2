"""Depthwise convolution, with a fast weight gradient where the processor's library has none.

oneDNN falls back to a reference loop for the weight gradient of a kernel that is larger than its input: 41 ms for
5x5 on (64, 1152, 1, 1), hundreds of times the forward pass. The last stages of every mobile space are like that on
small images, and the loop takes most of a training step there (docs/performance.md).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.blocks.layers import trains_on_cpu


class DepthwiseConv(nn.Conv2d):
    """One filter for each channel, symmetric padding: (B, C, H, W) -> (B, C, ceil(H / stride), ceil(W / stride))."""

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, padding=kernel // 2, groups=channels, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return depthwise_conv(images, self.weight, self.stride[0])


def depthwise_conv(images: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve each channel with its own filter, `weight` (C, 1, k, k), padded by k // 2."""
    kernel = weight.shape[-1]
    if kernel > min(images.shape[2:]) and trains_on_cpu(images, weight):
        return _SmallImages.apply(images, weight, stride)
    return functional.conv2d(images, weight, None, stride, kernel // 2, 1, len(weight))


class _SmallImages(torch.autograd.Function):
    """The library's forward pass and input gradient; the weight gradient one tap of the kernel at a time."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, stride: int) -> Tensor:
        ctx.save_for_backward(images, weight)
        ctx.stride = stride
        return functional.conv2d(images, weight, None, stride, weight.shape[-1] // 2, 1, len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        images, weight = ctx.saved_tensors
        needs_images, needs_weight, _ = ctx.needs_input_grad
        by_images = None
        if needs_images:
            settings = [ctx.stride] * 2, [weight.shape[-1] // 2] * 2, [1, 1], False, [0, 0], len(weight)
            which = [True, False, False]  # of images, weight and bias
            by_images = torch.ops.aten.convolution_backward(gradient, images, weight, None, *settings, which)[0]
        by_weight = _weight_gradient(images, gradient, weight.shape[-1], ctx.stride) if needs_weight else None
        return by_images, by_weight, None


def _weight_gradient(images: Tensor, gradient: Tensor, kernel: int, stride: int) -> Tensor:
    """Each tap's gradient is a product of shifted images and output gradients; taps that only see padding are zero."""
    images, gradient = images.permute(0, 2, 3, 1), gradient.permute(0, 2, 3, 1)
    rows, columns = (_overlaps(kernel, stride, images.shape[axis], gradient.shape[axis]) for axis in (1, 2))
    taps = images.new_zeros(kernel, kernel, images.shape[3])
    for y, (seen_y, given_y) in rows.items():
        for x, (seen_x, given_x) in columns.items():
            taps[y, x] = (images[:, seen_y, seen_x] * gradient[:, given_y, given_x]).sum((0, 1, 2))
    return taps.permute(2, 0, 1).unsqueeze(1)


def _overlaps(kernel: int, stride: int, inputs: int, outputs: int) -> dict[int, tuple[slice, slice]]:
    """For each tap along one axis that meets the image: where it looks, and at which outputs."""
    overlaps = {}
    for tap in range(kernel):
        shift = tap - kernel // 2
        first = max(0, -(shift // stride))  # ceil(-shift / stride)
        last = min(outputs - 1, (inputs - 1 - shift) // stride)
        if first <= last:
            start, stop = first * stride + shift, last * stride + shift + 1
            overlaps[tap] = slice(start, stop, stride), slice(first, last + 1)
    return overlaps
