"""Architectures as a fixed number of genes, which is what varying and learning about listed ones takes."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from itertools import pairwise
from typing import Any, Protocol, TypeVar

import numpy as np

from configs.errors import SpaceError
from supernet.architecture import Architecture
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.nasbench101.cell import MAX_EDGES, MAX_VERTICES
from supernet.spaces.nasbench101.cell import OPERATIONS as OPERATIONS_101
from supernet.spaces.nasbench101.cell import Cell as Cell101
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench201.cell import EDGES
from supernet.spaces.nasbench201.cell import OPERATIONS as OPERATIONS_201
from supernet.spaces.nasbench201.cell import Cell as Cell201

A = TypeVar("A", bound=Hashable)
Genes = tuple[int, ...]


class Genome(Protocol[A]):
    """A space's architectures as genes; several genes may stand for one architecture, or for none."""

    values: tuple[tuple[int, ...], ...]
    """What each gene may be."""

    def encode(self, architecture: A) -> Genes:
        """The genes of an architecture."""

    def decode(self, genes: Genes) -> A | None:
        """The architecture of some genes: the inverse of `encode`; None where they stand for none."""


class NasBench201Genome:
    """A gene for each edge: the operation it carries."""

    values = (tuple(range(len(OPERATIONS_201))),) * len(EDGES)

    def encode(self, cell: Cell201) -> Genes:
        """The cell's operations."""
        return cell.operations

    def decode(self, genes: Genes) -> Cell201:
        """Any genes are a cell."""
        return Cell201(genes)


class NasBench101Genome:
    """The published encoding: 21 genes for the edges between 7 vertices, 5 for the vertices' operations.

    Cells are meant in canonical order. One of fewer vertices leaves the last ones before the output unused; genes are
    read as the benchmark reads a matrix, without the vertices that no path uses (Ying et al. 2019, sec. 2.2).
    """

    values = ((0, 1),) * (MAX_VERTICES * (MAX_VERTICES - 1) // 2) + (tuple(range(len(OPERATIONS_101))),) * (
        MAX_VERTICES - 2
    )

    def encode(self, cell: Cell101) -> Genes:
        """Its edges in the order of `edge_bit`, then its labels, 0 for unused vertices."""
        output, matrix = cell.vertices - 1, cell.matrix
        place = [*range(output), *[-1] * (MAX_VERTICES - cell.vertices), output]  # of each of the 7 in the cell
        sources_of = [(source, target) for target in range(MAX_VERTICES) for source in range(target)]
        used = (-1 not in (place[source], place[target]) for source, target in sources_of)
        edges = (int(known and matrix[place[x]][place[y]]) for known, (x, y) in zip(used, sources_of))
        return (*edges, *cell.labels, *[0] * (MAX_VERTICES - cell.vertices))

    def decode(self, genes: Genes) -> Cell101 | None:
        """The cell in canonical order; None without a path from input to output, or beyond 9 edges."""
        edges, labels = genes[: -(MAX_VERTICES - 2)], genes[-(MAX_VERTICES - 2) :]
        starts = [target * (target - 1) // 2 for target in range(MAX_VERTICES + 1)]
        sources = [sum(edge << bit for bit, edge in enumerate(edges[a:b])) for a, b in pairwise(starts)]
        kept = _used_vertices(sources)
        fed = [sum((sources[target] >> source & 1) << place for place, source in enumerate(kept)) for target in kept]
        if not kept or sum(map(int.bit_count, fed)) > MAX_EDGES:
            return None
        code = Cell101.pack(fed, [labels[vertex - 1] for vertex in kept[1:-1]]).code
        orders = all_orders()
        return Cell101(int(orders.canonical[np.searchsorted(orders.codes, np.uint32(code))]))


class LayersGenome:
    """Architectures of an MBConv space whose depths are fixed: a gene for each layer, its operation.

    Raises:
        SpaceError: a stage's depth may vary.
    """

    def __init__(self, space: MBConvSpace) -> None:
        if any(low < high for low, high in (stage.depths for stage in space.description.stages)):
            raise SpaceError(f"depths of {space.name} vary, so its architectures have no fixed number of genes")
        self.space = space.name
        self.depths = [len(shapes) for shapes in space.shapes]
        layers = [(stage, layer) for stage, depth in enumerate(self.depths) for layer in range(depth)]
        self.values = tuple(tuple(space.choices(stage, layer)) for stage, layer in layers)

    def encode(self, architecture: Architecture) -> Genes:
        """The operations of all layers."""
        return tuple(operation for stage in architecture.stages for operation in stage)

    def decode(self, genes: Genes) -> Architecture:
        """Any genes are an architecture."""
        return Architecture(self.space, tuple(genes[start:end] for start, end in pairwise(self._borders)))

    @cached_property
    def _borders(self) -> list[int]:
        return np.cumsum([0, *self.depths]).tolist()


AnyGenome = Genome[Any]


def _used_vertices(sources: list[int]) -> list[int]:
    """The vertices on a path from the first to the last, each given by a mask of those that feed it."""
    reached, leading = 1, 1 << len(sources) - 1
    for vertex, feeding in enumerate(sources):
        reached |= bool(feeding & reached) << vertex
    for vertex in reversed(range(len(sources))):
        leading |= sources[vertex] * (leading >> vertex & 1)
    used = [vertex for vertex in range(len(sources)) if reached & leading & 1 << vertex]
    return used if len(used) > 1 else []
