"""Shapes, MACs and parameters of the networks around NASNet's cells: exact integers, never a forward pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from supernet.cost import Cost
from supernet.spaces.nasnet.genotype import INPUTS, Cell, Edge, Genotype

STACKS = 3
FREE = Cost(0, 0)


class NasNetDescription(BaseModel):
    """What surrounds the cells; the defaults are NASNet-A mobile's (4 @ 1056: 1056 is 44 x 4 filters x 6 nodes)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["nasnet"] = "nasnet"
    name: Literal["nasnet"] = "nasnet"
    resolution: int = Field(224, ge=8, le=8192, description="image height and width in pixels")
    channels: int = Field(3, ge=1, description="image channels")
    classes: int = Field(1000, ge=1, description="classes")
    stem: Literal["imagenet", "cifar"] = "imagenet"
    stem_filters: int = Field(32, ge=1, le=16384)
    filters: int = Field(44, ge=8, le=16384)
    cells: int = Field(4, ge=1, le=64)


@dataclass(frozen=True)
class Features:
    """Channels, and height and width of the images."""

    channels: int
    size: int


@dataclass(frozen=True)
class CellShape:
    """One cell's place in the network.

    Attributes:
        previous, current: what it is given.
        filters: channels of each of its nodes; node 0 of the first cell is `previous` as it is.
        reduces: whether it halves the images.
        adjusts: whether `previous` is brought to `filters` and the size of `current`; the first cell, which has no
            earlier one, is given the stem twice.
    """

    cell: Cell
    previous: Features
    current: Features
    filters: int
    reduces: bool
    adjusts: bool

    @property
    def size(self) -> int:
        """Height and width of its output's images."""
        return halved(self.current.size) if self.reduces else self.current.size

    @property
    def output(self) -> Features:
        """What the cell gives."""
        return Features(len(self.cell.joined) * self.filters, self.size)

    def node(self, number: int) -> Features:
        """Shape of a node, before it is joined."""
        if number >= len(INPUTS):
            return Features(self.filters, self.size)
        return Features(self.filters if self.adjusts or number else self.previous.channels, self.current.size)

    def stride(self, node: int) -> int:
        """Of an operation that reads a node: only those that read the cell's inputs reduce."""
        return 2 if node < len(INPUTS) and self.reduces else 1

    def fits(self, node: int) -> bool:
        """Whether a node has the output's size, and the filters of all others, as it is."""
        return self.stride(node) == 1 and self.node(node).channels == self.filters

    @property
    def margin(self) -> int:
        """Rows and columns that a separable convolution of a reduction cell computes and cuts off (`Separable`)."""
        return int(self.reduces and self.current.size % 2 == 0)


def halved(size: int) -> int:
    """Pixels after an operation of stride 2."""
    return -(-size // 2)


def stem_features(description: NasNetDescription) -> Features:
    """A 3x3 convolution: of stride 2 and without padding before ImageNet's two reduction cells."""
    size = description.resolution
    return Features(description.stem_filters, (size - 1) // 2 if description.stem == "imagenet" else size)


def cell_shapes(description: NasNetDescription, genotype: Genotype) -> list[CellShape]:
    """All cells of the network, in order."""
    shapes: list[CellShape] = []
    previous = current = stem_features(description)
    for reduces, filters in _plan(description):
        cell = genotype.reduction if reduces else genotype.normal
        shapes.append(CellShape(cell, previous, current, filters, reduces, bool(shapes)))
        previous, current = current, shapes[-1].output
    return shapes


def _plan(description: NasNetDescription) -> Iterator[tuple[bool, int]]:
    """Of each cell whether it reduces, and its filters, which double where the size halves."""
    if description.stem == "imagenet":
        yield True, description.filters // 4
        yield True, description.filters // 2
    for stack in range(STACKS):
        filters = description.filters << stack
        if stack:
            yield True, filters
        for _ in range(description.cells):
            yield False, filters


def auxiliary_place(description: NasNetDescription) -> int:
    """The cell after which the auxiliary head stands: the last one before the last reduction."""
    stem = 2 if description.stem == "imagenet" else 0
    return stem + (STACKS - 1) * (description.cells + 1) - 2


def network_cost(description: NasNetDescription, genotype: Genotype) -> Cost:
    """MACs for one image and parameters of the network of a genotype, without the auxiliary head."""
    stem = stem_features(description)
    total = _conv(description.channels, stem.channels, 9, stem.size**2)
    shapes = cell_shapes(description, genotype)
    for shape in shapes:
        total += cell_cost(shape)
    linear = shapes[-1].output.channels * description.classes
    return total + Cost(linear, linear + description.classes)


def cell_cost(shape: CellShape) -> Cost:
    """Of one cell: both inputs brought to shape, its pairs, and joined inputs that a reduction cell has to halve."""
    pixels = shape.current.size**2
    total = _conv(shape.current.channels, shape.filters, 1, pixels)
    if shape.adjusts:
        total += _conv(shape.previous.channels, shape.filters, 1, pixels)
    for pair in shape.cell.pairs:
        for edge in pair:
            total += operation_cost(edge, shape)
    for node in shape.cell.joined:
        if not shape.fits(node):
            total += _conv(shape.node(node).channels, shape.filters, 1, shape.size**2)
    return total


def operation_cost(edge: Edge, shape: CellShape) -> Cost:
    """Of the operation of an edge, which `supernet.blocks.nasnet.build_operation` makes."""
    read, filters, size = shape.node(edge.node), shape.filters, shape.size
    match edge.operation.split("_"):
        case ["identity"] if shape.fits(edge.node):
            return FREE
        case ["avg" | "max", *_] if read.channels == filters:
            return FREE
        case ["identity"] | ["avg" | "max", *_]:
            return _conv(read.channels, filters, 1, size**2)
        case ["sep", _, kernel]:
            return _separable(read.channels, filters, int(kernel[0]) ** 2, size, shape.margin)
        case ["conv", row, _]:
            length = int(row[-1])
            weights = read.channels * filters * length
            return Cost(weights * read.size * size, weights) + _conv(filters, filters, length, size**2)
        case [*_, kernel]:
            return _conv(read.channels, filters, int(kernel[0]) ** 2, size**2)
    raise ValueError(edge.operation)


def _separable(inputs: int, filters: int, area: int, size: int, margin: int) -> Cost:
    """Two depthwise convolutions, each with a pointwise one and batch norm."""
    total = Cost(0, 0)
    for channels, pixels in ((inputs, (size + margin) ** 2), (filters, size**2)):
        total += Cost(channels * area * pixels, channels * area) + _conv(channels, filters, 1, pixels)
    return total


def _conv(inputs: int, outputs: int, area: int, pixels: int) -> Cost:
    """A convolution without bias, and its batch norm's two parameters a channel."""
    weights = inputs * outputs * area
    return Cost(weights * pixels, weights + 2 * outputs)
