"""One cell of NAS-Bench-101 as a value: a small labelled graph, packed into one integer.

Ying et al. 2019, https://arxiv.org/abs/1902.09635, sec. 2.2: at most 7 vertices and 9 edges; vertex 0 is the input, the
last the output, and each vertex between them has one of three operations.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from configs.errors import SpaceError
from supernet.spaces.nasbench101.hashing import hash_graph

INPUT, OUTPUT = "input", "output"
OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")  # a label is the place in this order
MAX_VERTICES, MAX_EDGES = 7, 9

MASK_SHIFT, VERTICES_SHIFT = 8, 29  # a code: 3 bits of vertices, 21 of edges, 8 of labels
LABELS, MASK = (1 << MASK_SHIFT) - 1, (1 << VERTICES_SHIFT - MASK_SHIFT) - 1

SUFFIX = "-bn-relu"  # left out of the text form


class CellError(SpaceError, ValueError):
    """What was given is no cell; a ValueError too, as in the official package."""


class OutOfDomainError(SpaceError):
    """A cell outside of NAS-Bench-101, or one that a table does not hold."""


def edge_bit(source: int, target: int) -> int:
    """The place of an edge in a mask; the official generator counts masks up in this order."""
    return source + target * (target - 1) // 2


@dataclass(frozen=True, order=True)
class Cell:
    """A pruned cell in one order of its vertices; cells are ordered as the official generator makes them.

    Attributes:
        code: vertices, then the mask of edges (`edge_bit`), then the labels as digits of base 3, the first vertex's
            foremost, in 32 bits.
    """

    code: int

    @classmethod
    def pack(cls, sources: Sequence[int], labels: Sequence[int]) -> Cell:
        """The cell of a pruned graph inside the domain.

        Args:
            sources: for each vertex a mask of those that feed it, bit v for vertex v.
            labels: of the vertices between input and output.
        """
        mask = digits = 0
        for vertex, feeding in enumerate(sources):
            mask |= feeding << edge_bit(0, vertex)
        for label in labels:
            digits = 3 * digits + label
        return cls(len(sources) << VERTICES_SHIFT | mask << MASK_SHIFT | digits)

    @property
    def vertices(self) -> int:
        """Number of vertices, 2 to 7."""
        return self.code >> VERTICES_SHIFT

    @property
    def mask(self) -> int:
        """The edges, bit `edge_bit(x, y)` for x -> y."""
        return self.code >> MASK_SHIFT & MASK

    @property
    def edges(self) -> int:
        """Number of edges, 1 to 9."""
        return self.mask.bit_count()

    @property
    def labels(self) -> tuple[int, ...]:
        """Places in OPERATIONS of the vertices between input and output."""
        interior = self.vertices - 2
        return tuple((self.code & LABELS) // 3 ** (interior - 1 - place) % 3 for place in range(interior))

    @property
    def matrix(self) -> tuple[tuple[int, ...], ...]:
        """Upper-triangular adjacency: row x, column y for the edge x -> y."""
        mask, everything = self.mask, range(self.vertices)
        return tuple(tuple(int(x < y and mask >> edge_bit(x, y) & 1) for y in everything) for x in everything)

    @property
    def ops(self) -> tuple[str, ...]:
        """`input`, the operations' official names, `output`."""
        return (INPUT, *(OPERATIONS[label] for label in self.labels), OUTPUT)

    @cached_property
    def hash(self) -> str:
        """The published key: 32 hexadecimal digits, equal for all orders of the vertices."""
        return hash_graph(self.matrix, (-1, *self.labels, -2))

    def to_list(self) -> list[Any]:
        """`[matrix, ops]`, the arguments of `ModelSpec`."""
        return [[list(row) for row in self.matrix], list(self.ops)]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return dict(zip(("matrix", "ops"), self.to_list()))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Inverse of `to_json`; what is not on a path from input to output is pruned.

        Raises:
            CellError: no cell; OutOfDomainError: none of NAS-Bench-101.
        """
        from supernet.spaces.nasbench101.model_spec import ModelSpec  # which is made of cells

        return ModelSpec(value["matrix"], value["ops"]).cell

    def __str__(self) -> str:
        """The order of the vertices written out, `011-001-000:conv3x3`; `parse_rows` reads it."""
        rows = "-".join("".join(map(str, row)) for row in self.matrix)
        return ":".join([rows, *filter(None, [",".join(name.removesuffix(SUFFIX) for name in self.ops[1:-1])])])


def parse_rows(text: str) -> Cell:
    """The cell that `str(cell)` wrote, its vertices in that order.

    Raises:
        CellError: no cell; OutOfDomainError: none of NAS-Bench-101.
    """
    found = re.fullmatch(r"([01]+(?:-[01]+)*)(?::([\w-]+(?:,[\w-]+)*))?", text)
    if not found:
        raise CellError(
            f"{text!r} is no cell: write its hash (32 hexadecimal digits), or rows and operations such as "
            "0101-0010-0001-0000:conv3x3,maxpool3x3"
        )
    names = {name.removesuffix(SUFFIX): name for name in OPERATIONS}
    chosen = [names.get(name, name) for name in (found[2] or "").split(",") if name]
    matrix = [[int(entry) for entry in row] for row in found[1].split("-")]
    return Cell.from_json({"matrix": matrix, "ops": [INPUT, *chosen, OUTPUT]})
