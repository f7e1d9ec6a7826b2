"""The superkernel encoding: one largest kernel holds all kernels and expansions of a layer (Single-Path NAS).

Stamoulis et al. 2019 (https://arxiv.org/abs/1904.02877), eq. 1-4: a 5x5 kernel is its inner 3x3 and an outer shell; an
expansion of 6 holds the channels of an expansion of 3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.blocks.depthwise import depthwise_conv
from supernet.blocks.gates import Gates, spread
from supernet.blocks.layers import ACTIVATIONS, squeeze_excite
from supernet.blocks.mbconv import LayerShape, hidden_channels, reduced_channels
from supernet.blocks.pointwise import pointwise_conv
from supernet.blocks.shells import Part, SuperWeight, assemble

if TYPE_CHECKING:
    from supernet.spaces.description import Operation


class SuperBatchNorm(nn.Module):
    """Batch norm over nested channel counts: sliced statistics, one pair of affine shells for each increment."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: Sequence[int], eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.channels, self.eps, self.momentum = tuple(channels), eps, momentum
        self.track_running_stats = True
        self.weight = SuperWeight(channels, constant=1.0)
        self.bias = SuperWeight(channels)
        self.register_buffer("running_mean", torch.zeros(channels[-1]))
        self.register_buffer("running_var", torch.ones(channels[-1]))

    def parts(self, level: int) -> dict[str, Part]:
        """Weight and bias of the first channels[level] channels."""
        return {"weight": self.weight.part(level), "bias": self.bias.part(level)}

    def forward(self, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Normalise (B, channels of a level, H, W); like nn.BatchNorm2d, batch statistics are used in training."""
        tracked = self.track_running_stats or not self.training
        mean, variance = self.statistics(len(weight)) if tracked else (None, None)
        return functional.batch_norm(images, mean, variance, weight, bias, self.training, self.momentum, self.eps)

    def statistics(self, channels: int) -> tuple[Tensor, Tensor]:
        """The running mean and variance of the first channels, or views of them."""
        if channels == self.channels[-1]:
            return self.running_mean, self.running_var
        return self.running_mean[:channels], self.running_var[:channels]

    def initialize_weights(self, generator: torch.Generator) -> None:
        """Reset the statistics (the affine shells are reset by themselves)."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)

    def plain_statistics(self, level: int) -> dict[str, Tensor]:
        """The buffers of the nn.BatchNorm2d that this is at a level."""
        mean, variance = self.statistics(self.channels[level])
        return {"running_mean": mean, "running_var": variance, "num_batches_tracked": torch.tensor(0)}


class SuperSqueezeExcite(nn.Module):
    """Squeeze-and-excite over nested channels and nested widths."""

    def __init__(self, channels: Sequence[int], reduced: Sequence[int]) -> None:
        super().__init__()
        narrow = [[math.sqrt(2 / size)] * len(channels) for size in reduced]
        wide = [[math.sqrt(2 / size)] * len(reduced) for size in channels]
        self.reduce_weight = SuperWeight(reduced, channels, narrow, pixels=(1, 1))
        self.expand_weight = SuperWeight(channels, reduced, wide, pixels=(1, 1))
        self.reduce_bias, self.expand_bias = SuperWeight(reduced), SuperWeight(channels)

    def parts(self, level: int, width: int) -> dict[str, Part]:
        """Weights and biases of the reducing and of the expanding 1x1 convolution, at a channel and a width level."""
        return {
            "conv_reduce.weight": self.reduce_weight.part(width, level),
            "conv_reduce.bias": self.reduce_bias.part(width),
            "conv_expand.weight": self.expand_weight.part(level, width),
            "conv_expand.bias": self.expand_bias.part(level),
        }


class SuperInvertedResidual(nn.Module):
    """All MBConv operations of one layer in one set of weights: k7 holds k5 holds k3, e6 holds e4, SE alike."""

    def __init__(self, operations: dict[int, Operation], shape: LayerShape) -> None:
        super().__init__()
        self.shape = shape
        self.operations = operations
        self.hidden = sorted({hidden_channels(operation, shape) for operation in operations.values()})
        self.kernels: list[int] = sorted({operation.kernel for operation in operations.values()})
        levels = range(len(self.hidden))
        project = [[math.sqrt(2 / shape.outputs)] * len(self.hidden)]
        expand = [[math.sqrt(2 / size)] for size in self.hidden]
        self.conv_pw = SuperWeight(self.hidden, [shape.inputs], expand, pixels=(1, 1))
        self.conv_dw = SuperWeight(
            self.hidden,
            [kernel**2 for kernel in self.kernels],
            [[math.sqrt(2) / kernel for kernel in self.kernels] for _ in levels],
        )
        self.conv_pwl = SuperWeight([shape.outputs], self.hidden, project, pixels=(1, 1))
        self.bn1, self.bn2 = SuperBatchNorm(self.hidden), SuperBatchNorm(self.hidden)
        self.bn3 = nn.BatchNorm2d(shape.outputs)
        self.reduced = sorted({self._reduced(operation) for operation in operations.values()} - {0})
        if self.reduced:
            self.se = SuperSqueezeExcite(self.hidden, self.reduced)
        for kernel in self.kernels[1:]:
            order = _ring_order(kernel, self.kernels)
            self.register_buffer(f"ring_order_{kernel}", order, persistent=False)
            self.register_buffer(f"ring_places_{kernel}", order.argsort(), persistent=False)
        self.register_buffer("rings", _rings(self.kernels), persistent=False)

    def _reduced(self, operation: Operation) -> int:
        return reduced_channels(operation, hidden_channels(operation, self.shape))

    def _level(self, operation: Operation) -> int:
        return self.hidden.index(hidden_channels(operation, self.shape))

    def _parts(self, operation: Operation) -> dict[str, Part]:
        """The parts of an operation's weights, by their names in the plain block."""
        level = self._level(operation)
        parts = {
            "conv_pw.weight": self.conv_pw.part(level),
            "conv_dw.weight": self._depthwise_part(level, operation.kernel),
            "conv_pwl.weight": self.conv_pwl.part(0, level),
        }
        nested = {"bn1": self.bn1.parts(level), "bn2": self.bn2.parts(level)}
        if operation.squeeze_excite:
            nested["se"] = self.se.parts(level, self.reduced.index(self._reduced(operation)))
        return parts | {f"{name}.{key}": part for name, inner in nested.items() for key, part in inner.items()}

    def _depthwise_part(self, level: int, kernel: int) -> Part:
        """(hidden, kernel * kernel), row by row: the smallest kernel's one shell is, the others are put in order."""
        if kernel == self.kernels[0]:
            return self.conv_dw.part(level)
        orders = (getattr(self, f"ring_{name}_{kernel}") for name in ("order", "places"))
        return self.conv_dw.part(level, self.kernels.index(kernel), *orders)

    def forward(self, images: Tensor, operation: int) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), through one operation."""
        chosen = self.operations[operation]
        return self._compute(images, chosen, assemble(self._parts(chosen)))

    def forward_gated(self, images: Tensor, gates: Gates) -> Tensor:
        """Through the operation that the gates leave of the largest, which is computed whole: all have a gradient.

        Gates act on weights alone, so they cost little. A larger kernel's shells are zero in front of the second batch
        norm; a larger expansion's channels are so behind it, in the weights that read them: no statistic of batch norm
        sees a channel that is left out.
        """
        largest = max(self.operations.values(), key=lambda operation: (operation.kernel, operation.expansion))
        weights = assemble(self._parts(largest))
        gates = gates.to(weights["conv_dw.weight"].dtype)
        channels = spread(gates.expansions, self.hidden)[:, None, None]
        weights["conv_dw.weight"] = weights["conv_dw.weight"] * gates.kernels[cast(Tensor, self.rings)]
        weights["conv_pwl.weight"] = weights["conv_pwl.weight"] * channels
        if largest.squeeze_excite:
            widths = [reduced_channels(largest, hidden) for hidden in self.hidden]
            reduced = spread(gates.expansions, widths)[:, None, None]
            weights["se.conv_reduce.weight"] = weights["se.conv_reduce.weight"] * channels
            weights["se.conv_expand.weight"] = weights["se.conv_expand.weight"] * reduced
        return gates.blend(images, self._compute(images, largest, weights))

    def _compute(self, images: Tensor, chosen: Operation, weights: dict[str, Tensor]) -> Tensor:
        activate = _INPLACE[chosen.activation]
        hidden = pointwise_conv(images, weights["conv_pw.weight"])
        hidden = activate(self.bn1(hidden, weights["bn1.weight"], weights["bn1.bias"]))
        hidden = depthwise_conv(hidden, _filters(weights["conv_dw.weight"], hidden), self.shape.stride)
        hidden = activate(self.bn2(hidden, weights["bn2.weight"], weights["bn2.bias"]))
        if chosen.squeeze_excite:
            reduce, expand = (
                partial(pointwise_conv, weight=weights[f"se.{name}.weight"], bias=weights[f"se.{name}.bias"])
                for name in ("conv_reduce", "conv_expand")
            )
            hidden = squeeze_excite(hidden, reduce, expand)
        outputs = self.bn3(pointwise_conv(hidden, weights["conv_pwl.weight"]))
        return images + outputs if self.shape.keeps_shape else outputs

    def depthwise_shells(self) -> list[list[Tensor]]:
        """The depthwise weights by expansion level (rows) and kernel level (columns)."""
        part = self.conv_dw.part(len(self.hidden) - 1, len(self.kernels) - 1)
        count = len(self.kernels)
        return [part.shells[start : start + count] for start in range(0, len(part.shells), count)]

    @torch.no_grad()
    def plain_state(self, operation: int) -> dict[str, Tensor]:
        """State of the plain InvertedResidual that this is on one operation."""
        chosen = self.operations[operation]
        level = self._level(chosen)
        state = assemble(self._parts(chosen))
        state["conv_dw.weight"] = state["conv_dw.weight"].view(-1, 1, chosen.kernel, chosen.kernel)
        buffers = {"bn1": self.bn1.plain_statistics(level), "bn2": self.bn2.plain_statistics(level)}
        norms = {**buffers, "bn3": self.bn3.state_dict()}
        return state | {f"{name}.{key}": value for name, norm in norms.items() for key, value in norm.items()}


_INPLACE = {name: layer(inplace=True) for name, layer in ACTIVATIONS.items()}  # stateless, shared by all layers


def _filters(rows: Tensor, images: Tensor) -> Tensor:
    """View (channels, k * k) as (channels, 1, k, k) in the images' memory format.

    Libraries choose a convolution's algorithm by the strides of both; on 1x1 images only the weight's tell the format.
    """
    kernel = math.isqrt(rows.shape[1])
    if images.stride(1) == 1:  # channels last
        return rows.view(-1, kernel, kernel, 1).permute(0, 3, 1, 2)
    return rows.view(-1, 1, kernel, kernel)


def _rings(kernels: Sequence[int]) -> Tensor:
    """The level of each pixel of the largest kernel, row by row: the smallest kernel that holds it."""
    reach = kernels[-1] // 2
    distance = torch.arange(-reach, reach + 1).abs()
    furthest = torch.maximum(distance[:, None], distance[None, :]).flatten()
    return torch.bucketize(furthest, torch.tensor([kernel // 2 for kernel in kernels]))


def _ring_order(kernel: int, kernels: Sequence[int]) -> Tensor:
    """Where each pixel of a kernel, row by row, stands in the ring order: the smallest kernel's pixels come first."""

    def pixels(size: int) -> list[tuple[int, int]]:
        reach = range(-(size // 2), size // 2 + 1)
        return [(y, x) for y in reach for x in reach]

    ordered = list(dict.fromkeys(pixel for size in kernels for pixel in pixels(size)))
    return torch.tensor([ordered.index(pixel) for pixel in pixels(kernel)])
