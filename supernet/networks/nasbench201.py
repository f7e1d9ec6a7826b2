"""The network around a cell of NAS-Bench-201, with the names of the published weights.

Dong and Yang 2020, https://arxiv.org/abs/2001.00326, sec. 2.1 and fig. 1; names as `TinyNetwork` of AutoDL-Projects.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.errors import ConfigError
from supernet.spaces.nasbench201.cell import OPERATIONS, CellError
from supernet.spaces.nasbench201.costs import KERNELS, NasBench201Description, stage_shapes
from supernet.spaces.nasbench201.text import Edge


class ReluConvNorm(nn.Module):
    """ReLU, convolution without bias, batch norm: (B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)
        self.op = nn.Sequential(nn.ReLU(), convolution, nn.BatchNorm2d(outputs))

    def forward(self, images: Tensor) -> Tensor:
        return self.op(images)


class Zero(nn.Module):
    """The operation `none`: zeros, through which gradients are zeros too, so that all weights decay as published."""

    def forward(self, images: Tensor) -> Tensor:
        return images * 0.0


def build_operation(name: str, channels: int) -> nn.Module:
    """One of OPERATIONS, from and to `channels`.

    Raises:
        CellError: another operation.
    """
    if name in KERNELS:
        return ReluConvNorm(channels, channels, KERNELS[name])
    if name == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
    if name not in OPERATIONS:
        raise CellError(f"there is no operation {name!r} in NAS-Bench-201; there are {', '.join(OPERATIONS)}")
    return nn.Identity() if name == "skip_connect" else Zero()


class CellModule(nn.Module):
    """One cell: images to images of the same shape; a node is the sum of what reaches it.

    `layers` has one module for each edge, in the order of the nodes.
    """

    def __init__(self, nodes: Sequence[Sequence[Edge]], channels: int) -> None:
        super().__init__()
        self.sources = [[source for _, source in node] for node in nodes]
        self.layers = nn.ModuleList(build_operation(name, channels) for node in nodes for name, _ in node)

    def forward(self, images: Tensor) -> Tensor:
        return sum_nodes(images, self.sources, self.layers)


def sum_nodes(images: Tensor, nodes: Iterable[Sequence[int]], edges: Iterable[Callable[[Tensor], Tensor]]) -> Tensor:
    """What the last node of a cell holds: each is the sum of what edges make of the nodes that it names."""
    values, layers = [images], iter(edges)
    for sources in nodes:
        first, *others = (next(layers)(values[source]) for source in sources)
        for other in others:
            first = first + other
        values.append(first)
    return values[-1]


class ReductionBlock(nn.Module):
    """The residual block between two stages: (B, inputs, H, W) -> (B, outputs, H / 2, W / 2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv_a = ReluConvNorm(inputs, outputs, 3, stride=2)
        self.conv_b = ReluConvNorm(outputs, outputs, 3)
        pool = nn.AvgPool2d(2, stride=2, ceil_mode=True)  # halves an odd size as the convolutions do
        self.downsample = nn.Sequential(pool, nn.Conv2d(inputs, outputs, 1, bias=False))

    def forward(self, images: Tensor) -> Tensor:
        return self.downsample(images) + self.conv_b(self.conv_a(images))


class CellStack(nn.Module):
    """What surrounds cells: images (B, channels, H, W) -> stem -> cells -> logits (B, classes).

    The stem is a 3x3 convolution with batch norm; of the three stages of cells each but the first is led by a residual
    block; then batch norm, ReLU, global average pool, linear.

    Args:
        description: sizes.
        build_cell: makes a cell of so many channels.
    """

    def __init__(self, description: NasBench201Description, build_cell: Callable[[int], nn.Module]) -> None:
        super().__init__()
        channels = description.stem_channels
        stem = nn.Conv2d(description.channels, channels, 3, padding=1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(channels))
        self.cells = nn.ModuleList()
        for shape in stage_shapes(description):
            if shape.channels > channels:
                self.cells.append(ReductionBlock(channels, shape.channels))
                channels = shape.channels
            self.cells.extend(build_cell(channels) for _ in range(description.num_cells))
        self.lastact = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())
        self.classifier = nn.Linear(channels, description.classes)

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """torch's defaults, as the published training has, in place: uniform within 1 / sqrt(fan-in)."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                bound = 1.0 / math.sqrt(part.weight[0].numel())
                for parameter in part.parameters():
                    parameter.uniform_(-bound, bound, generator=generator)


class TinyNetwork(CellStack):
    """The network of one cell: images (B, channels, H, W) -> logits (B, classes)."""

    def __init__(self, description: NasBench201Description, nodes: Sequence[Sequence[Edge]]) -> None:
        super().__init__(description, partial(CellModule, nodes))
        self.dropout_rate = 0.0

    def features(self, images: Tensor) -> Tensor:
        """What the classifier reads: (B, 4 stem channels)."""
        values = self.stem(images)
        for cell in self.cells:
            values = cell(values)
        return self.lastact(values).mean((2, 3))

    def forward(self, images: Tensor) -> Tensor:
        features = self.features(images)
        if self.dropout_rate:
            features = functional.dropout(features, self.dropout_rate, self.training)
        return self.classifier(features)

    def set_regularization(self, dropout: float, drop_path: float) -> None:
        """Dropout before the classifier; the published training has none.

        Raises:
            ConfigError: stochastic depth, which the cells do not have.
        """
        if drop_path:
            raise ConfigError(f"TRAIN.DROP_PATH={drop_path}: NAS-Bench-201's cells have no stochastic depth; set 0")
        self.dropout_rate = dropout
