"""One cell of NAS-Bench-201 as a value, its text form, and the official order of all 15,625.

Dong and Yang 2020, https://arxiv.org/abs/2001.00326, sec. 2.1: four nodes, each fed by all before it through an edge
that carries one of five operations; what reaches a node is summed.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import Any

from configs.errors import SpaceError

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")  # the official order
NODES = 4
EDGES = tuple((source, target) for target in range(1, NODES) for source in range(target))  # in the order of the text
COUNT = len(OPERATIONS) ** len(EDGES)
ORDER_SEED = 88  # of the shuffle that made the official indices


class CellError(SpaceError, ValueError):
    """What was given is no cell of NAS-Bench-201; a ValueError too, as in the official package."""


@dataclass(frozen=True, order=True)
class Cell:
    """A cell; the text form is the official one: `|op~0|+|op~0|op~1|+|op~0|op~1|op~2|`.

    Attributes:
        operations: for each of EDGES the place of its operation in OPERATIONS.
    """

    operations: tuple[int, ...]

    def __str__(self) -> str:
        nodes = self.to_nodes()
        return "+".join("|" + "".join(f"{name}~{source}|" for name, source in node) for node in nodes)

    @property
    def index(self) -> int:
        """The official index, 0 to 15,624."""
        return _indices()[self]

    @property
    def stages(self) -> tuple[tuple[int, ...], ...]:
        """The edges as the layers of one stage: what a search sees of an architecture of any space."""
        return (self.operations,)

    def to_nodes(self) -> list[list[tuple[str, int]]]:
        """For each node but the input: the operation's name and the source of every edge into it."""
        named = [(OPERATIONS[place], *edge) for place, edge in zip(self.operations, EDGES)]
        return [[(name, source) for name, source, end in named if end == target] for target in range(1, NODES)]

    def to_list(self) -> list[str]:
        """The operations' names in the order of EDGES."""
        return [OPERATIONS[place] for place in self.operations]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"operations": self.to_list()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Cell:
        """Inverse of `to_json`.

        Raises:
            CellError: no cell.
        """
        return cell_from_names(value["operations"])


def parse_cell(text: str) -> Cell:
    """The cell of an official architecture string.

    Raises:
        CellError: no such string.
    """
    nodes = [re.findall(r"([^|~+]+)~(\d+)", node) for node in text.split("+")]
    names = {(int(source), target): name for target, node in enumerate(nodes, 1) for name, source in node}
    cell = cell_from_names([names.get(edge, "") for edge in EDGES], text)
    if str(cell) != text:
        raise _no_cell(text)
    return cell


def cell_from_names(names: Sequence[str], text: object = None) -> Cell:
    """The cell of six operations' names, in the order of EDGES.

    Raises:
        CellError: another number of names, or an unknown one.
    """
    if len(names) != len(EDGES) or not set(names) <= set(OPERATIONS):
        raise _no_cell(names if text is None else text)
    return Cell(tuple(OPERATIONS.index(name) for name in names))


@cache
def all_cells() -> tuple[Cell, ...]:
    """All cells; the place of one is its official index."""
    cells = [Cell(operations) for operations in product(range(len(OPERATIONS)), repeat=len(EDGES))]
    random.Random(ORDER_SEED).shuffle(cells)
    return tuple(cells)


@cache
def _indices() -> dict[Cell, int]:
    return {cell: index for index, cell in enumerate(all_cells())}


def _no_cell(value: object) -> CellError:
    return CellError(
        f"{value!r} is no cell of NAS-Bench-201: write |op~0|+|op~0|op~1|+|op~0|op~1|op~2| with operations of "
        f"{', '.join(OPERATIONS)}"
    )
