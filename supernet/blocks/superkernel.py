"""The superkernel encoding: one largest kernel holds all kernels and expansions of a layer (Single-Path NAS).

Stamoulis et al. 2019 (https://arxiv.org/abs/1904.02877), eq. 1-4: a 5x5 kernel is its inner 3x3 and an outer shell; an
expansion of 6 holds the channels of an expansion of 3. Each shell is a parameter of its own, so that a path has
gradients exactly for the shells it uses: the others keep `grad is None`, and no optimizer decays or moves them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.blocks.layers import ACTIVATIONS, squeeze_excite
from supernet.blocks.mbconv import LayerShape, hidden_channels, reduced_channels

if TYPE_CHECKING:
    from supernet.spaces.description import Operation


class SuperWeight(nn.Module):
    """A matrix that holds smaller ones in its top-left corner, cut into one parameter for each shell.

    Args:
        rows: nested heights, ascending.
        columns: nested widths, ascending; () for a vector.
        deviations: initial standard deviation for each (row level, column level); None: filled with `constant`.
        constant: initial value without deviations.
    """

    def __init__(
        self,
        rows: Sequence[int],
        columns: Sequence[int] = (),
        deviations: Sequence[Sequence[float]] | None = None,
        constant: float = 0.0,
    ) -> None:
        super().__init__()
        self.deviations, self.constant = deviations, constant
        self.shells = nn.ModuleList()
        for height in _increments(rows):
            widths = _increments(columns) if columns else [None]
            shapes = [(height,) if width is None else (height, width) for width in widths]
            self.shells.append(nn.ParameterList(torch.empty(shape) for shape in shapes))

    def forward(self, row_level: int, column_level: int = 0) -> Tensor:
        """The matrix (rows[row_level], columns[column_level]), or the vector (rows[row_level],)."""
        rows = []
        for row in islice(self._rows(), row_level + 1):
            shells = row[: column_level + 1]
            rows.append(shells[0] if len(shells) == 1 else torch.cat(shells, 1))
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _rows(self) -> Iterator[list[Tensor]]:
        return (list(cast(nn.ParameterList, row)) for row in self.shells)

    @torch.no_grad()
    def initialize_weights(self, generator: torch.Generator) -> None:
        """Fill every shell."""
        for row_level, row in enumerate(self._rows()):
            for column_level, shell in enumerate(row):
                if self.deviations is None:
                    shell.fill_(self.constant)
                else:
                    shell.normal_(0.0, self.deviations[row_level][column_level], generator=generator)


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

    def forward(self, images: Tensor, level: int) -> Tensor:
        """Normalise (B, channels[level], H, W); like nn.BatchNorm2d, batch statistics are used in training."""
        tracked = self.track_running_stats or not self.training
        mean, variance = self.statistics(level) if tracked else (None, None)
        weight, bias = self.weight(level), self.bias(level)
        return functional.batch_norm(images, mean, variance, weight, bias, self.training, self.momentum, self.eps)

    def statistics(self, level: int) -> tuple[Tensor, Tensor]:
        """Views of the running mean and variance of the first channels[level] channels."""
        size = self.channels[level]
        return self.running_mean[:size], self.running_var[:size]

    def initialize_weights(self, generator: torch.Generator) -> None:
        """Reset the statistics (the affine shells are reset by themselves)."""
        self.running_mean.zero_()
        self.running_var.fill_(1.0)

    def plain_state(self, level: int) -> dict[str, Tensor]:
        """State of the nn.BatchNorm2d that this is at a level."""
        mean, variance = self.statistics(level)
        state = {"weight": self.weight(level), "bias": self.bias(level), "running_mean": mean, "running_var": variance}
        return {**state, "num_batches_tracked": torch.tensor(0)}


class SuperSqueezeExcite(nn.Module):
    """Squeeze-and-excite over nested channels and nested widths."""

    def __init__(self, channels: Sequence[int], reduced: Sequence[int]) -> None:
        super().__init__()
        narrow = [[math.sqrt(2 / size)] * len(channels) for size in reduced]
        wide = [[math.sqrt(2 / size)] * len(reduced) for size in channels]
        self.reduce_weight, self.reduce_bias = SuperWeight(reduced, channels, narrow), SuperWeight(reduced)
        self.expand_weight, self.expand_bias = SuperWeight(channels, reduced, wide), SuperWeight(channels)

    def weights(self, level: int, width: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """(weight, bias) of the reducing and of the expanding 1x1 convolution, at a channel and a width level."""
        reduce, expand = self.reduce_weight(width, level), self.expand_weight(level, width)
        return (reduce[:, :, None, None], self.reduce_bias(width)), (expand[:, :, None, None], self.expand_bias(level))

    def forward(self, images: Tensor, level: int, width: int) -> Tensor:
        reduce, expand = (partial(functional.conv2d, weight=w, bias=b) for w, b in self.weights(level, width))
        return squeeze_excite(images, reduce, expand)


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
        self.conv_pw = SuperWeight(self.hidden, [shape.inputs], [[math.sqrt(2 / size)] for size in self.hidden])
        self.conv_dw = SuperWeight(
            self.hidden,
            [kernel**2 for kernel in self.kernels],
            [[math.sqrt(2) / kernel for kernel in self.kernels] for _ in levels],
        )
        self.conv_pwl = SuperWeight([shape.outputs], self.hidden, project)
        self.bn1, self.bn2 = SuperBatchNorm(self.hidden), SuperBatchNorm(self.hidden)
        self.bn3 = nn.BatchNorm2d(shape.outputs)
        self.reduced = sorted({self._reduced(operation) for operation in operations.values()} - {0})
        if self.reduced:
            self.se = SuperSqueezeExcite(self.hidden, self.reduced)
        for kernel in self.kernels:
            self.register_buffer(_order_name(kernel), _ring_order(kernel, self.kernels), persistent=False)

    def _reduced(self, operation: Operation) -> int:
        return reduced_channels(operation, hidden_channels(operation, self.shape))

    def depthwise_weight(self, level: int, kernel: int) -> Tensor:
        """The depthwise kernel (hidden, 1, kernel, kernel): the shells of all kernels up to this one."""
        rings = self.conv_dw(level, self.kernels.index(kernel))
        return rings.index_select(1, getattr(self, _order_name(kernel))).view(-1, 1, kernel, kernel)

    def forward(self, images: Tensor, operation: int) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride), through one operation."""
        chosen = self.operations[operation]
        level = self.hidden.index(hidden_channels(chosen, self.shape))
        activate = _INPLACE[chosen.activation]
        hidden = activate(self.bn1(functional.conv2d(images, self.conv_pw(level)[:, :, None, None]), level))
        weight = self.depthwise_weight(level, chosen.kernel)
        hidden = functional.conv2d(hidden, weight, None, self.shape.stride, chosen.kernel // 2, 1, self.hidden[level])
        hidden = activate(self.bn2(hidden, level))
        if chosen.squeeze_excite:
            hidden = self.se(hidden, level, self.reduced.index(self._reduced(chosen)))
        outputs = self.bn3(functional.conv2d(hidden, self.conv_pwl(0, level)[:, :, None, None]))
        return images + outputs if self.shape.keeps_shape else outputs

    @torch.no_grad()
    def plain_state(self, operation: int) -> dict[str, Tensor]:
        """State of the plain InvertedResidual that this is on one operation."""
        chosen = self.operations[operation]
        level = self.hidden.index(hidden_channels(chosen, self.shape))
        state = {
            "conv_pw.weight": self.conv_pw(level)[:, :, None, None],
            "conv_dw.weight": self.depthwise_weight(level, chosen.kernel),
            "conv_pwl.weight": self.conv_pwl(0, level)[:, :, None, None],
        }
        norms = {"bn1": self.bn1.plain_state(level), "bn2": self.bn2.plain_state(level), "bn3": self.bn3.state_dict()}
        state |= {f"{name}.{key}": value for name, norm in norms.items() for key, value in norm.items()}
        if chosen.squeeze_excite:
            weights = self.se.weights(level, self.reduced.index(self._reduced(chosen)))
            for name, (weight, bias) in zip(("conv_reduce", "conv_expand"), weights):
                state |= {f"se.{name}.weight": weight, f"se.{name}.bias": bias}
        return state


_INPLACE = {name: layer(inplace=True) for name, layer in ACTIVATIONS.items()}  # stateless, shared by all layers


def _increments(sizes: Sequence[int]) -> list[int]:
    return [size - smaller for smaller, size in zip((0, *sizes), sizes)]


def _order_name(kernel: int) -> str:
    return f"ring_order_{kernel}"


def _ring_order(kernel: int, kernels: Sequence[int]) -> Tensor:
    """Where each pixel of a kernel, row by row, stands in the ring order: the smallest kernel's pixels come first."""

    def pixels(size: int) -> list[tuple[int, int]]:
        reach = range(-(size // 2), size // 2 + 1)
        return [(y, x) for y in reach for x in reach]

    ordered = list(dict.fromkeys(pixel for size in kernels for pixel in pixels(size)))
    return torch.tensor([ordered.index(pixel) for pixel in pixels(kernel)])
