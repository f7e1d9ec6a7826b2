"""Parameters and published FLOPs of NAS-Bench-201's networks: exact integers for any cell."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from supernet.cost import Cost
from supernet.spaces.nasbench201.cell import OPERATIONS, Cell

KERNELS = {"nor_conv_1x1": 1, "nor_conv_3x3": 3}  # of the operations that have weights
STAGES = 3


class NasBench201Description(BaseModel):
    """What surrounds the cells; the defaults are the published network's."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["nasbench201"] = "nasbench201"
    name: Literal["nasbench201"] = "nasbench201"
    resolution: int = Field(32, ge=8, le=8192, description="image height and width in pixels")
    channels: int = Field(3, ge=1, description="image channels")
    classes: int = Field(10, ge=1, description="classes")
    stem_channels: int = Field(16, ge=1, le=16384, description="output channels of the stem")
    num_cells: int = Field(5, ge=1, le=64, description="cells of each of the three stages")


class StageShape(NamedTuple):
    """Channels of a stage's cells, height and width of their images."""

    channels: int
    size: int


def stage_shapes(description: NasBench201Description) -> Iterator[StageShape]:
    """The three stages; each but the first doubles the channels and halves the images."""
    size = description.resolution
    for stage in range(STAGES):
        yield StageShape(description.stem_channels << stage, size)
        size = -(-size // 2)


def cell_cost(description: NasBench201Description, cell: Cell) -> Cost:
    """FLOPs for one image, as published, and parameters of the network of a cell.

    Published FLOPs are multiply-accumulates of convolutions and of the classifier, and the classifier's biases.
    Operations count wherever they stand, also where `none` cuts them off.
    """
    total, costs = _surroundings_cost(description), _operation_costs(description)
    for place in cell.operations:
        total += costs[place]
    return total


@cache
def _operation_costs(description: NasBench201Description) -> list[Cost]:
    """What each of OPERATIONS costs on an edge, in all cells of the network."""
    costs = [Cost(0, 0)] * len(OPERATIONS)
    for place, name in enumerate(OPERATIONS):
        for shape in [*stage_shapes(description)] * description.num_cells:
            if kernel := KERNELS.get(name):
                costs[place] += _conv_cost(shape.channels, shape, kernel)
    return costs


@cache
def _surroundings_cost(description: NasBench201Description) -> Cost:
    """Stem, the residual blocks between the stages, last norm and classifier."""
    first, *later = stage_shapes(description)
    total = _conv_cost(description.channels, first, 3)
    for shape in later:
        inputs = shape.channels // 2
        shortcut = inputs * shape.channels  # a 1x1 convolution without batch norm
        total += _conv_cost(inputs, shape, 3) + _conv_cost(shape.channels, shape, 3)
        total += Cost(shortcut * shape.size**2, shortcut)
    linear = (shape.channels + 1) * description.classes
    return total + Cost(linear, linear + 2 * shape.channels)


def _conv_cost(inputs: int, shape: StageShape, kernel: int) -> Cost:
    """A convolution without bias onto a stage's images, and its batch norm's two parameters a channel."""
    weights = inputs * shape.channels * kernel**2
    return Cost(weights * shape.size**2, weights + 2 * shape.channels)
