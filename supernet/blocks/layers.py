"""The small pieces that every MBConv network is made of."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.casting import at_least_fp32

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "swish": nn.SiLU,
    "hard_swish": nn.Hardswish,
}


def make_divisible(value: float, divisor: int = 8) -> int:
    """The multiple of `divisor` nearest to `value`, at least one of it and never below 90 % of `value`.

    The rounding rule of the MobileNet family (Sandler et al. 2018).
    """
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def activation_layer(name: str) -> nn.Module:
    """The named activation, in place."""
    return ACTIVATIONS[name](inplace=True)


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = False) -> nn.Conv2d:
    """A convolution with symmetric padding: (B, inputs, H, W) -> (B, outputs, ceil(H / stride), ceil(W / stride))."""
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)


def plain_on_cpu(images: Tensor, weight: Tensor) -> bool:
    """Whether this is a plain eager operation on a processor, the one place where kernels of our own are used.

    Not in half precision: the library sums in fp32 there.
    """
    return (
        images.device.type == "cpu"
        and images.dtype == weight.dtype
        and at_least_fp32(weight) is weight
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def trains_on_cpu(images: Tensor, weight: Tensor) -> bool:
    """`plain_on_cpu`, with gradients to come."""
    return torch.is_grad_enabled() and weight.requires_grad and plain_on_cpu(images, weight)


def squeeze_excite(images: Tensor, reduce: Callable[[Tensor], Tensor], expand: Callable[[Tensor], Tensor]) -> Tensor:
    """Scale each channel by a gate computed from all of them (Hu et al. 2018), through two 1x1 convolutions.

    ReLU inside, gate relu6(x + 3) / 6, as in Cream's networks.
    """
    pooled = images.mean((2, 3), keepdim=True)
    return images * functional.hardsigmoid(expand(functional.relu(reduce(pooled))))


class SqueezeExcite(nn.Module):
    """`squeeze_excite` with its own weights: (B, channels, H, W) -> the same."""

    def __init__(self, channels: int, reduced: int) -> None:
        super().__init__()
        self.conv_reduce = conv(channels, reduced, 1, bias=True)
        self.conv_expand = conv(reduced, channels, 1, bias=True)

    def forward(self, images: Tensor) -> Tensor:
        return squeeze_excite(images, self.conv_reduce, self.conv_expand)


def resize_images(images: Tensor, resolution: int | None) -> Tensor:
    """(B, C, H, W) -> (B, C, resolution, resolution), antialiased; unchanged at None or that size."""
    if resolution is None or images.shape[2:] == (resolution, resolution):
        return images
    size = (resolution, resolution)
    resized = functional.interpolate(at_least_fp32(images), size, mode="bilinear", antialias=True)
    return resized.to(images.dtype)  # processors resize no half precision


def drop_path(images: Tensor, rate: float | Tensor, training: bool) -> Tensor:
    """Stochastic depth (Huang et al. 2016): zero whole samples with probability `rate`, scale the others up.

    Args:
        rate: below 1; a tensor () where it changes from step to step.
    """
    if not training or (isinstance(rate, float) and rate == 0.0):
        return images
    keep = images.new_empty((images.shape[0], 1, 1, 1)).bernoulli_(1.0 - rate)
    return images * keep.div_(1.0 - rate)


@runtime_checkable
class SelfInitializing(Protocol):
    """A module that knows how to fill its own weights."""

    def initialize_weights(self, generator: torch.Generator) -> None:
        """Fill them in place."""


@torch.no_grad()
def initialize(module: nn.Module, generator: torch.Generator) -> None:
    """Cream's initialisation, in place: conv N(0, sqrt(2 / fan_out)), linear U(+-1/sqrt(outputs)), biases 0, BN 1 / 0.

    A `SelfInitializing` module (a superkernel) fills itself.
    """
    for part in module.modules():
        if isinstance(part, SelfInitializing):
            part.initialize_weights(generator)
        elif isinstance(part, nn.Conv2d):
            fan_out = part.kernel_size[0] * part.kernel_size[1] * part.out_channels // part.groups
            part.weight.normal_(0.0, math.sqrt(2.0 / fan_out), generator=generator)
            if part.bias is not None:
                part.bias.zero_()
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
            part.reset_running_stats()
        elif isinstance(part, nn.Linear):
            bound = 1.0 / math.sqrt(part.out_features)
            part.weight.uniform_(-bound, bound, generator=generator)
            part.bias.zero_()
