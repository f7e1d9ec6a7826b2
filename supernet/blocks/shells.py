"""Nested weights, cut into one parameter for each shell, and put together for a path.

A path has gradients exactly for the shells it uses: the others keep `grad is None`, and no optimizer decays or moves
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn


class Part(NamedTuple):
    """The shells of one weight that a path uses, row by row, and how they lie in it.

    Attributes:
        heights: of the rows of shells.
        widths: of the columns of shells; () for a vector.
        order: from where each column of the weight comes, None: from its own place; `places` is the inverse.
    """

    shells: list[Tensor]
    heights: list[int]
    widths: list[int]
    order: Tensor | None = None
    places: Tensor | None = None

    def join(self, shells: list[Tensor]) -> Tensor:
        """Shells -> the weight. Weights of 1x1 convolutions are joined as matrices: that is many times faster."""
        first, step = shells[0], len(self.widths)
        if first.ndim > 2:
            shells = [shell.flatten(1) for shell in shells]
        if step > 1:
            shells = [torch.cat(shells[row : row + step], 1) for row in range(0, len(shells), step)]
        whole = torch.cat(shells) if len(shells) > 1 else shells[0]
        if first.ndim > 2:
            channels_last = first.stride(3) > 1
            whole = whole[:, None, None].permute(0, 3, 1, 2) if channels_last else whole[:, :, None, None]
        return whole if self.order is None else whole.index_select(1, self.order)

    def split(self, weight: Tensor) -> Sequence[Tensor]:
        """The weight (or its gradient) -> shells."""
        if self.places is not None:
            weight = weight.index_select(1, self.places)
        pixels = weight.ndim > 2
        if pixels:
            weight = weight.flatten(1)
        rows: Sequence[Tensor] = weight.split_with_sizes(self.heights) if len(self.heights) > 1 else (weight,)
        if len(self.widths) > 1:
            rows = [shell.contiguous() for row in rows for shell in row.split_with_sizes(self.widths, 1)]
        return [row[:, :, None, None] for row in rows] if pixels else rows


class _Assembly(torch.autograd.Function):
    """All weights of a layer in one node: a node for each would take longer than copying the shells does."""

    @staticmethod
    def forward(ctx: Any, parts: Sequence[Part], *shells: Tensor) -> tuple[Tensor, ...]:
        ctx.parts = parts
        left = iter(shells)
        return tuple(part.join(list(islice(left, len(part.shells)))) for part in parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        return None, *(shell for part, gradient in zip(ctx.parts, gradients) for shell in part.split(gradient))


def assemble(parts: dict[str, Part]) -> dict[str, Tensor]:
    """The weights of these parts, by their names; one that is a single shell is that parameter itself."""
    several = [part for part in parts.values() if len(part.shells) > 1]
    joined = iter(_Assembly.apply(several, *(shell for part in several for shell in part.shells)) if several else ())
    return {name: next(joined) if len(part.shells) > 1 else part.shells[0] for name, part in parts.items()}


class SuperWeight(nn.Module):
    """A matrix that holds smaller ones in its top-left corner, cut into one parameter for each shell.

    Args:
        rows: nested heights, ascending.
        columns: nested widths, ascending; () for a vector.
        deviations: initial standard deviation for each (row level, column level); None: filled with `constant`.
        constant: initial value without deviations.
        pixels: trailing sizes, (1, 1) for the weight of a 1x1 convolution.
    """

    def __init__(
        self,
        rows: Sequence[int],
        columns: Sequence[int] = (),
        deviations: Sequence[Sequence[float]] | None = None,
        constant: float = 0.0,
        pixels: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.deviations, self.constant = deviations, constant
        self.heights, self.widths = _increments(rows), _increments(columns)
        self.names: list[list[str]] = []
        for row, height in enumerate(self.heights):
            shapes = [(height, width, *pixels) for width in self.widths] or [(height,)]
            self.names.append([f"shell_{row}_{column}" for column in range(len(shapes))])
            for name, shape in zip(self.names[row], shapes):
                self.register_parameter(name, nn.Parameter(torch.empty(shape)))

    def part(
        self, row_level: int, column_level: int = 0, order: Tensor | None = None, places: Tensor | None = None
    ) -> Part:
        """The matrix (rows[row_level], columns[column_level], *pixels), or the vector (rows[row_level],)."""
        names = [name for row in self.names[: row_level + 1] for name in row[: column_level + 1]]
        widths = self.widths[: column_level + 1]
        return Part([self._shell(name) for name in names], self.heights[: row_level + 1], widths, order, places)

    def _shell(self, name: str) -> Tensor:
        return cast(Tensor, self._parameters[name])  # what getattr finds, in a tenth of the time

    @torch.no_grad()
    def initialize_weights(self, generator: torch.Generator) -> None:
        """Fill every shell."""
        for row_level, names in enumerate(self.names):
            for column_level, name in enumerate(names):
                shell = self._shell(name)
                if self.deviations is None:
                    shell.fill_(self.constant)
                else:
                    shell.normal_(0.0, self.deviations[row_level][column_level], generator=generator)


def _increments(sizes: Sequence[int]) -> list[int]:
    return [size - smaller for smaller, size in zip((0, *sizes), sizes)]
