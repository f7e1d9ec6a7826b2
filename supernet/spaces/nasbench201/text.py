"""Architecture strings of NAS-Bench-201 of any number of nodes, as the official packages read and compare them.

`|op~0|+|op~0|op~1|` is a list of nodes, each a tuple of (operation, source) for every edge into it; node 0, the cell's
input, is left out. Sources: `nas_201_api` and `nats_bench.genotype_utils`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from supernet.spaces.nasbench201.cell import OPERATIONS, CellError

Edge = tuple[str, int]
Node = tuple[Edge, ...]


def str2lists(arch_str: str) -> list[Node]:
    """The nodes of an architecture string, as the official `str2lists`.

    Raises:
        CellError: an edge is not `operation~source`.
    """
    nodes = [[edge for edge in node.split("|") if edge] for node in arch_str.split("+")]
    return [tuple(_read_edge(edge, arch_str) for edge in node) for node in nodes]


def str2matrix(arch_str: str, search_space: Sequence[str] = OPERATIONS) -> NDArray[np.float64]:
    """(nodes, nodes): the place in `search_space` of the operation from column to row, as the official `str2matrix`.

    Raises:
        CellError: an edge is not `operation~source`, or an operation is not in `search_space`.
    """
    nodes = str2lists(arch_str)
    matrix = np.zeros((len(nodes) + 1, len(nodes) + 1))
    for target, node in enumerate(nodes, 1):
        for name, source in node:
            if name not in search_space:
                raise CellError(f"the operation {name!r} of {arch_str!r} is none of {', '.join(search_space)}")
            if source >= target:
                raise CellError(f"{arch_str!r}: node {target} is fed by node {source}, which does not come before it")
            matrix[target, source] = search_space.index(name)
    return matrix


def lists2str(nodes: Sequence[Sequence[Edge]]) -> str:
    """The inverse of `str2lists`."""
    return "+".join(f"|{'|'.join(f'{name}~{source}' for name, source in node)}|" for node in nodes)


def unique_text(nodes: Sequence[Sequence[Edge]], consider_zero: bool | None = False) -> str:
    """A text that is the same for cells that compute the same, as the official `to_unique_str`.

    Args:
        nodes: of the cell.
        consider_zero: True: `none` and what follows from it is a zero (6,466 texts of all cells); False: `none` is an
            operation as others are, `skip_connect` is not (12,751); None: both are.
    """
    texts = ["0"]
    for node in nodes:
        texts.append("+".join(sorted(_edge_text(name, texts[source], consider_zero) for name, source in node)))
    return texts[-1]


def _edge_text(name: str, source: str, consider_zero: bool | None) -> str:
    if consider_zero and (name == "none" or source == "#"):
        return "#"
    if consider_zero is not None and name == "skip_connect":
        return source
    return f"({source})@{name}"


def _read_edge(edge: str, text: str) -> Edge:
    name, tilde, source = edge.partition("~")
    if not tilde or not source.isdecimal():
        raise CellError(f"{edge!r} of {text!r} is no edge of a cell: write operation~source, such as skip_connect~0")
    return name, int(source)
