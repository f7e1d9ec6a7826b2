"""Channels, MACs and parameters of NAS-Bench-101's networks: exact integers, for one cell or for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from supernet.cost import Cost
from supernet.spaces.nasbench101.cell import LABELS, OPERATIONS, Cell

KERNELS = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}  # of the operations that have weights
Matrix = Sequence[Sequence[int]]


class NasBench101Description(BaseModel):
    """What surrounds the cells; the defaults are the published network's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["nasbench101"] = "nasbench101"
    name: Literal["nasbench101"] = "nasbench101"
    resolution: int = Field(32, ge=8, le=8192, description="image height and width in pixels")
    channels: int = Field(3, ge=1, description="image channels")
    classes: int = Field(10, ge=1, description="classes")
    stem_filter_size: int = Field(128, ge=1, le=16384, description="output channels of the stem")
    num_stacks: int = Field(3, ge=1, le=16, description="stacks; each but the first halves the size, doubles channels")
    num_modules_per_stack: int = Field(3, ge=1, le=64, description="cells of a stack")


@dataclass(frozen=True)
class ModuleShape:
    """One cell's place in the network: input and output channels, height and width of its images."""

    inputs: int
    outputs: int
    size: int


def module_shapes(description: NasBench101Description) -> Iterator[ModuleShape]:
    """All cells of the network, in order."""
    inputs, size = description.stem_filter_size, description.resolution
    for stack in range(description.num_stacks):
        outputs = description.stem_filter_size << stack
        size = -(-size // 2) if stack else size
        for _ in range(description.num_modules_per_stack):
            yield ModuleShape(inputs, outputs, size)
            inputs = outputs


def vertex_channels(inputs: int, outputs: int, matrix: Matrix) -> list[int]:
    """Output channels of each vertex, as the official `compute_vertex_channels`.

    The output's channels are divided over the vertices that feed it, a remainder going to the first of them; the others
    have as many as the widest vertex that they feed.
    """
    last = len(matrix) - 1
    feeding = [vertex for vertex in range(1, last) if matrix[vertex][last]]
    channels = [inputs, *[0] * (last - 1), outputs]
    for place, vertex in enumerate(feeding):
        channels[vertex] = outputs // len(feeding) + (place < outputs % len(feeding))
    for vertex in range(last - 1, 0, -1):
        if not matrix[vertex][last]:
            channels[vertex] = max(channels[later] for later in range(vertex + 1, last) if matrix[vertex][later])
    return channels


def cell_cost(description: NasBench101Description, cell: Cell) -> Cost:
    """MACs for one image and parameters of the network of a cell, in the order of its vertices."""
    macs, params = cell_costs(description, np.array([cell.code], np.uint32))
    return Cost(int(macs[0]), int(params[0]))


def cell_costs(
    description: NasBench101Description, codes: NDArray[np.uint32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """MACs for one image and parameters of many cells' networks, (N,) each.

    Args:
        codes: (N,) of `Cell.code`; fastest where equal masks stand together.
    """
    macs, params = np.empty((2, len(codes)), np.int64)
    starts = np.flatnonzero(np.diff(codes | np.uint32(LABELS), prepend=np.uint32(0)))
    for start, end in zip(starts, [*starts[1:], len(codes)]):
        fixed, choices = _graph_costs(description, Cell(int(codes[start])))
        total = np.array([[fixed.macs], [fixed.params]]).repeat(end - start, 1)
        for place, layers in enumerate(reversed(choices)):
            labels = (codes[start:end] & LABELS) // 3**place % 3
            total += np.array([(cost.macs, cost.params) for cost in layers]).T[:, labels]
        macs[start:end], params[start:end] = total
    return macs, params


def _graph_costs(description: NasBench101Description, cell: Cell) -> tuple[Cost, list[list[Cost]]]:
    """What a graph costs without its operations, and for each vertex between input and output each operation's cost."""
    matrix, interior = cell.matrix, range(1, cell.vertices - 1)
    fixed = _conv_cost(description.channels, description.stem_filter_size, 3, description.resolution)
    choices = [[Cost(0, 0)] * len(OPERATIONS) for _ in interior]
    for shape in module_shapes(description):
        channels = vertex_channels(shape.inputs, shape.outputs, matrix)
        for target in range(1, cell.vertices):
            if matrix[0][target]:
                fixed += _conv_cost(shape.inputs, channels[target], 1, shape.size)
        for vertex in interior:
            for label, name in enumerate(OPERATIONS):
                if kernel := KERNELS.get(name):
                    choices[vertex - 1][label] += _conv_cost(channels[vertex], channels[vertex], kernel, shape.size)
    linear = shape.outputs * description.classes
    return fixed + Cost(linear, linear + description.classes), choices


def _conv_cost(inputs: int, outputs: int, kernel: int, size: int) -> Cost:
    """A convolution without bias, and its batch norm's two parameters a channel."""
    weights = inputs * outputs * kernel**2
    return Cost(weights * size**2, weights + 2 * outputs)
