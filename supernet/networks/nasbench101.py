"""The network around a cell of NAS-Bench-101.

Ying et al. 2019, https://arxiv.org/abs/1902.09635, sec. 2.1 and 2.3, and the official `model_builder.py`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.errors import ConfigError
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.costs import KERNELS, NasBench101Description, module_shapes, vertex_channels

EPSILON, MOMENTUM = 1e-5, 0.003  # TensorFlow's momentum 0.997
TRUNCATION = 0.87962566103423978  # deviation of a standard normal cut off at two deviations


class ConvNormRelu(nn.Sequential):
    """Convolution without bias, batch norm, ReLU: (B, inputs, H, W) -> (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(outputs, eps=EPSILON, momentum=MOMENTUM),
            nn.ReLU(inplace=True),
        )


def build_operation(name: str, channels: int) -> nn.Module:
    """One of OPERATIONS, from and to `channels`."""
    if name in KERNELS:
        return ConvNormRelu(channels, channels, KERNELS[name])
    return nn.MaxPool2d(3, stride=1, padding=1)


class CellModule(nn.Module):
    """One cell: (B, inputs, H, W) -> (B, outputs, H, W).

    `operations` has one module for each vertex between input and output, `projections` a 1x1 convolution for each edge
    from the input, by its target. A vertex adds what feeds it, earlier vertices cut to its own channels; the output
    joins what feeds it and adds the projected input.
    """

    def __init__(self, cell: Cell, inputs: int, outputs: int) -> None:
        super().__init__()
        matrix, last = cell.matrix, cell.vertices - 1
        self.channels = vertex_channels(inputs, outputs, matrix)
        self.sources = [[source for source in range(1, last) if matrix[source][target]] for target in range(last + 1)]
        self.operations = nn.ModuleList(
            build_operation(name, channels) for name, channels in zip(cell.ops[1:-1], self.channels[1:])
        )
        targets = [target for target in range(1, last + 1) if matrix[0][target]]
        self.projections = nn.ModuleDict(
            {str(target): ConvNormRelu(inputs, self.channels[target], 1) for target in targets}
        )

    def forward(self, images: Tensor) -> Tensor:
        values = [images]
        for vertex, operation in enumerate(self.operations, 1):
            fed = [values[source][:, : self.channels[vertex]] for source in self.sources[vertex]]
            values.append(operation(self._add_input(fed, images, vertex)))
        joined = [values[source] for source in self.sources[-1]]
        return self._add_input([torch.cat(joined, 1)] if joined else [], images, len(self.sources) - 1)

    def _add_input(self, fed: list[Tensor], images: Tensor, vertex: int) -> Tensor:
        """The sum of what feeds a vertex, with the projected input where an edge leads from there."""
        if str(vertex) in self.projections:
            fed = [*fed, self.projections[str(vertex)](images)]
        total = fed[0]
        for value in fed[1:]:
            total = total + value
        return total


class CellNetwork(nn.Module):
    """The network of one cell: images (B, channels, H, W) -> logits (B, classes).

    A 3x3 convolution, stacks of cells with 2x2 max pooling between them, global average pool, linear.
    """

    def __init__(self, description: NasBench101Description, cell: Cell) -> None:
        super().__init__()
        self.stem = ConvNormRelu(description.channels, description.stem_filter_size, 3)
        modules = [CellModule(cell, shape.inputs, shape.outputs) for shape in module_shapes(description)]
        size = description.num_modules_per_stack
        self.stacks = nn.ModuleList(
            nn.Sequential(*modules[start : start + size]) for start in range(0, len(modules), size)
        )
        self.classifier = nn.Linear(modules[-1].channels[-1], description.classes)
        self.dropout_rate = 0.0

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for number, stack in enumerate(self.stacks):
            if number:
                features = functional.max_pool2d(features, 2, ceil_mode=True)
            features = stack(features)
        features = features.mean((2, 3))
        if self.dropout_rate:
            features = functional.dropout(features, self.dropout_rate, self.training)
        return self.classifier(features)

    def set_regularization(self, dropout: float, drop_path: float) -> None:
        """Dropout before the classifier; the published training has none.

        Raises:
            ConfigError: stochastic depth, which needs residual blocks.
        """
        if drop_path:
            raise ConfigError(f"TRAIN.DROP_PATH={drop_path}: NAS-Bench-101's cells have no residual blocks; set 0")
        self.dropout_rate = dropout

    @torch.no_grad()
    def initialize(self, generator: torch.Generator) -> None:
        """TensorFlow's defaults, in place: convolutions truncated normal with variance 1 / fan-in, linear Glorot."""
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                deviation = math.sqrt(1.0 / part.weight[0].numel()) / TRUNCATION
                nn.init.trunc_normal_(part.weight, 0.0, deviation, -2 * deviation, 2 * deviation, generator=generator)
            elif isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight, generator=generator)
                nn.init.zeros_(part.bias)
