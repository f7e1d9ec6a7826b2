"""NASNet's cells as values, and their text form.

Zoph et al. 2017, https://arxiv.org/abs/1707.07012, sec. 3.1 and 3.2: a normal and a reduction cell, each of five pairs;
a pair chooses two earlier nodes and an operation for each, and adds the results. (The paper may concatenate them
instead; no published cell does.)
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from configs.errors import SpaceError

OPERATIONS = (  # in the paper's order
    "identity",
    "conv_1x7_7x1",
    "avg_pool_3x3",
    "max_pool_5x5",
    "conv_1x1",
    "sep_conv_3x3",
    "sep_conv_7x7",
    "conv_1x3_3x1",
    "dil_conv_3x3",
    "max_pool_3x3",
    "max_pool_7x7",
    "conv_3x3",
    "sep_conv_5x5",
)
INPUTS = ("previous", "current")  # nodes 0 and 1: the output of the last cell but one, and of the last
PAIRS = 5
NODES = len(INPUTS) + PAIRS


class GenotypeError(SpaceError):
    """What was given is no genotype; the message names the cell and the pair."""


class Edge(NamedTuple):
    """The node that is read, and what is done with it; as text `sep_conv_5x5~1`."""

    node: int
    operation: str


Pair: TypeAlias = tuple[Edge, Edge]


@dataclass(frozen=True, order=True)
class Cell:
    """One cell: node 2 is made by the first pair, node 6 by the last.

    Attributes:
        pairs: the two edges of each pair, whose results are added.
        joined: nodes whose channels are concatenated into the cell's output, ascending.
    """

    pairs: tuple[Pair, ...]
    joined: tuple[int, ...]

    def __str__(self) -> str:
        pairs = "|".join("+".join(f"{edge.operation}~{edge.node}" for edge in pair) for pair in self.pairs)
        return pairs if self.joined == unread_nodes(self.pairs) else f"{pairs}>{','.join(map(str, self.joined))}"


@dataclass(frozen=True, order=True)
class Genotype:
    """The two cells that a network repeats; the text form is `<normal>/<reduction>`."""

    normal: Cell
    reduction: Cell

    def __str__(self) -> str:
        return f"{self.normal}/{self.reduction}"

    def to_list(self) -> dict[str, Any]:
        """Plain values: `{normal: [[[node, operation], …], …], normal_joined: […], …}`, as INPUT_ARCH takes them."""
        values: dict[str, Any] = {}
        for name, cell in (("normal", self.normal), ("reduction", self.reduction)):
            values[name] = [[list(edge) for edge in pair] for pair in cell.pairs]
            values[f"{name}_joined"] = list(cell.joined)
        return values


def unread_nodes(pairs: Sequence[Pair]) -> tuple[int, ...]:
    """The nodes that no pair reads: what the paper joins. Of a published cell, what it joins is data of its own."""
    read = {edge.node for pair in pairs for edge in pair}
    return tuple(node for node in range(len(INPUTS) + len(pairs)) if node not in read)


def make_cell(name: str, pairs: Any, joined: Any = None) -> Cell:
    """A cell from `[[[node, operation], [node, operation]], …]`.

    Args:
        name: `normal` or `reduction`, for messages.
        joined: None: `unread_nodes`.

    Raises:
        GenotypeError: another number of pairs, an unknown operation, a node that is not made before its pair, or
            nodes to join that are not there.
    """
    if not isinstance(pairs, Sequence) or len(pairs) != PAIRS:
        raise GenotypeError(f"the {name} cell {pairs!r} is no list of {PAIRS} pairs")
    checked = tuple(_make_pair(f"the {name} cell's pair {number}", number, pair) for number, pair in enumerate(pairs))
    nodes = unread_nodes(checked) if joined is None else joined
    if not isinstance(nodes, Sequence) or not nodes or [node for node in range(NODES) if node in nodes] != [*nodes]:
        raise GenotypeError(f"the {name} cell joins {nodes!r}; list nodes of 0 to {NODES - 1}, ascending, at least one")
    return Cell(checked, tuple(nodes))


def _make_pair(place: str, number: int, pair: Any) -> Pair:
    if not isinstance(pair, Sequence) or len(pair) != 2 or not all(_is_edge(edge) for edge in pair):
        raise GenotypeError(f"{place} is {pair!r}; write [[node, operation], [node, operation]]")
    for node, operation in pair:
        if operation not in OPERATIONS:
            raise GenotypeError(f"{place} has the operation {operation!r}; known are {', '.join(OPERATIONS)}")
        if not 0 <= node < len(INPUTS) + number:
            raise GenotypeError(
                f"{place} makes node {len(INPUTS) + number} and reads node {node}; it may read those before it, 0 to "
                f"{len(INPUTS) + number - 1}"
            )
    left, right = (Edge(*edge) for edge in pair)
    return left, right


def _is_edge(value: Any) -> bool:
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    return is_pair and type(value[0]) is int and isinstance(value[1], str)


def make_genotype(value: Mapping[str, Any]) -> Genotype:
    """The genotype of `Genotype.to_list()`; `normal_joined` and `reduction_joined` may be left out.

    Raises:
        GenotypeError: it is none.
    """
    names = ("normal", "reduction")
    allowed = {*names, *(f"{name}_joined" for name in names)}
    if not set(names) <= value.keys() <= allowed:
        raise GenotypeError(f"a genotype has normal, reduction, and maybe {', '.join(sorted(allowed - set(names)))}")
    return Genotype(*(make_cell(name, value[name], value.get(f"{name}_joined")) for name in names))


def parse_genotype(text: str) -> Genotype:
    """The genotype of a text form, `str(genotype)`.

    Raises:
        GenotypeError: it is none.
    """
    cells = [re.fullmatch(r"([^>]*)(?:>(\d+(?:,\d+)*))?", cell) for cell in text.split("/")]
    if len(cells) != 2 or not all(cells):
        raise GenotypeError(
            f"{text!r} is no genotype: write <normal>/<reduction>, cells of {PAIRS} pairs such as "
            "sep_conv_5x5~1+sep_conv_3x3~0 between bars, and after > the joined nodes where not all unread ones are"
        )
    value: dict[str, Any] = {}
    for name, cell in zip(("normal", "reduction"), cells):
        if cell:
            value[name] = [[_parse_edge(edge) for edge in pair.split("+")] for pair in cell[1].split("|")]
            value[f"{name}_joined"] = [int(node) for node in cell[2].split(",")] if cell[2] else None
    return make_genotype(value)


def _parse_edge(text: str) -> tuple[int, str]:
    operation, _, node = text.partition("~")
    if not node.isdecimal():
        raise GenotypeError(f"{text!r} is no operation with the node that it reads, such as sep_conv_5x5~1")
    return int(node), operation


NASNET_A = make_genotype(
    {
        "normal": [
            [[1, "sep_conv_5x5"], [0, "sep_conv_3x3"]],
            [[0, "sep_conv_5x5"], [0, "sep_conv_3x3"]],
            [[1, "avg_pool_3x3"], [0, "identity"]],
            [[0, "avg_pool_3x3"], [0, "avg_pool_3x3"]],
            [[1, "sep_conv_3x3"], [1, "identity"]],
        ],
        "normal_joined": [0, 2, 3, 4, 5, 6],
        "reduction": [
            [[1, "sep_conv_5x5"], [0, "sep_conv_7x7"]],
            [[1, "max_pool_3x3"], [0, "sep_conv_7x7"]],
            [[1, "avg_pool_3x3"], [0, "sep_conv_5x5"]],
            [[3, "identity"], [2, "avg_pool_3x3"]],
            [[2, "sep_conv_3x3"], [1, "max_pool_3x3"]],
        ],
        "reduction_joined": [3, 4, 5, 6],
    }
)
"""The paper's figure 4, in the order of the public implementations' branches."""
