"""The network around NASNet's cells.

Zoph et al. 2017, https://arxiv.org/abs/1707.07012, sec. 3.1 and appendix A, and the public TensorFlow and PyTorch
implementations. Cells give their output after ReLU, since all that read it apply that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.blocks.layers import drop_path, initialize
from supernet.blocks.nasnet import AuxiliaryHead, ConvNorm, Pool, build_operation, build_reduction
from supernet.spaces.nasnet.costs import CellShape, NasNetDescription, auxiliary_place, cell_shapes, stem_features
from supernet.spaces.nasnet.genotype import Edge, Genotype


class NasNetCell(nn.Module):
    """One cell: the outputs of the last two cells, after ReLU -> (B, joined nodes x filters, H / stride, W / stride).

    Node 0 of the first cell is the stem's output as it is. A node's ReLU, and an operation without weights that two
    edges share, are computed once.
    """

    def __init__(self, shape: CellShape) -> None:
        super().__init__()
        self.joined = shape.cell.joined
        self.edges = shape.cell.pairs
        stride = 2 if shape.previous.size > shape.current.size else 1
        self.previous = (
            build_reduction(shape.previous.channels, shape.filters, stride) if shape.adjusts else nn.Identity()
        )
        self.current = ConvNorm(shape.current.channels, shape.filters)
        self.pairs = nn.ModuleList(
            nn.ModuleList(build_operation(edge, shape) for edge in pair) for pair in shape.cell.pairs
        )
        self.reductions = nn.ModuleDict(
            {
                str(node): build_reduction(shape.node(node).channels, shape.filters, shape.stride(node))
                for node in self.joined
                if not shape.fits(node)
            }
        )

    def forward(self, previous: Tensor, current: Tensor, drop_rate: Tensor | None = None) -> Tensor:
        nodes = _Nodes([self.previous(previous), self.current(current)], drop_rate)
        for edges, operations in zip(self.edges, self.pairs):
            left, right = (nodes.follow(edge, operation) for edge, operation in zip(edges, operations.children()))
            nodes.values.append(left + right)
        joined = [
            self.reductions[str(node)](nodes.activated(node)) if str(node) in self.reductions else nodes.values[node]
            for node in self.joined
        ]
        return functional.relu(torch.cat(joined, 1), inplace=True)


class _Nodes:
    """What a cell has computed so far: its nodes, their ReLU, and results of operations without weights.

    Args:
        drop_rate: with which an edge's result is dropped, but for the identity's; None: never.
    """

    def __init__(self, values: list[Tensor], drop_rate: Tensor | None) -> None:
        self.values, self.drop_rate = values, drop_rate
        self._activated: dict[int, Tensor] = {}
        self._pooled: dict[Edge, Tensor] = {}

    def activated(self, node: int) -> Tensor:
        """A node after ReLU."""
        if node not in self._activated:
            self._activated[node] = functional.relu(self.values[node])
        return self._activated[node]

    def follow(self, edge: Edge, operation: nn.Module) -> Tensor:
        """What an edge adds to its pair."""
        if isinstance(operation, nn.Identity):
            return self.values[edge.node]
        result = self._pool(edge, operation) if isinstance(operation, Pool) else operation(self.activated(edge.node))
        return result if self.drop_rate is None else drop_path(result, self.drop_rate, training=True)

    def _pool(self, edge: Edge, pool: Pool) -> Tensor:
        if edge not in self._pooled or pool.has_weights:
            self._pooled[edge] = pool(self.values[edge.node])
        return self._pooled[edge]


class NasNetwork(nn.Module):
    """The network of a genotype: images (B, channels, H, W) -> logits (B, classes).

    A stem, stacks of cells with a reduction cell between them, ReLU, global average pool, linear. In training mode it
    gives (logits, the auxiliary head's logits) where there is an auxiliary head.
    """

    progress: Tensor

    def __init__(self, description: NasNetDescription, genotype: Genotype) -> None:
        super().__init__()
        strided = description.stem == "imagenet"
        self.stem = ConvNorm(description.channels, stem_features(description).channels, 3, 1 + strided, 1 - strided)
        shapes = cell_shapes(description, genotype)
        self.cells = nn.ModuleList(NasNetCell(shape) for shape in shapes)
        self.classifier = nn.Linear(shapes[-1].output.channels, description.classes)
        self.auxiliary: AuxiliaryHead | None = None
        self.auxiliary_place = auxiliary_place(description)
        self._auxiliary_features = shapes[self.auxiliary_place].output
        self.dropout_rate = self.drop_path_rate = 0.0
        self.register_buffer("progress", torch.zeros(()), persistent=False)

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        previous = current = functional.relu(self.stem(images), inplace=True)
        auxiliary = None
        for place, cell in enumerate(self.cells):
            previous, current = current, cell(previous, current, self._drop_rate(place))
            if place == self.auxiliary_place and self.training and self.auxiliary:
                auxiliary = self.auxiliary(current)
        logits = self.classifier(functional.dropout(current.mean((2, 3)), self.dropout_rate, self.training))
        return logits if auxiliary is None else (logits, auxiliary)

    def _drop_rate(self, place: int) -> Tensor | None:
        """ScheduledDropPath (sec. 4.1 and the TensorFlow implementation): linear in the depth and in the training."""
        if not self.drop_path_rate or not self.training:
            return None
        return self.progress * (self.drop_path_rate * (place + 1) / len(self.cells))

    def set_regularization(self, dropout: float, drop_path: float) -> None:
        """Dropout before the classifier; the rate at which the last cell's edges are dropped when training ends."""
        self.dropout_rate, self.drop_path_rate = dropout, drop_path

    def set_progress(self, share: float) -> None:
        """How much of the training is done, 0 to 1; a tensor, so that a compiled network is not compiled anew."""
        self.progress.fill_(share)

    def add_auxiliary_head(self, generator: torch.Generator) -> None:
        """A second classifier after the last cell before the last reduction, for training only."""
        self.auxiliary = AuxiliaryHead(self._auxiliary_features, self.classifier.out_features)
        initialize(self.auxiliary, generator)
