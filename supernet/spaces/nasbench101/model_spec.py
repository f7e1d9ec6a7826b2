"""`ModelSpec` of the official package: a cell as a user writes it, validated, pruned and hashed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from supernet.spaces.nasbench101.cell import (
    INPUT,
    MAX_EDGES,
    MAX_VERTICES,
    OPERATIONS,
    OUTPUT,
    Cell,
    CellError,
    OutOfDomainError,
)
from supernet.spaces.nasbench101.hashing import hash_graph

_LABEL = {operation: label for label, operation in enumerate(OPERATIONS)}


class ModelSpec:
    """An adjacency matrix and its vertices' operations, without the vertices that no path uses.

    Attributes:
        original_matrix, original_ops: as given, as numpy integers and a list.
        matrix, ops: pruned to the vertices on a path from input to output; both None where there is no such path.
        valid_spec: whether there is one.
        data_format: kept for scripts that set it; the network's memory format is RUNTIME.CHANNELS_LAST.
    """

    def __init__(self, matrix: ArrayLike, ops: Sequence[str], data_format: str = "channels_last") -> None:
        """Validate and prune.

        Args:
            matrix: square, upper triangular, of zeros and ones; lists or numpy, of bool, int or float.
            ops: one for each vertex.

        Raises:
            CellError: a ValueError; the matrix is not of that form, or there is another number of operations.
        """
        rows = _read_rows(matrix)
        self.original_ops = list(map(str, ops))
        if len(rows) != len(self.original_ops):
            raise CellError(f"{len(rows)} vertices have {len(self.original_ops)} operations; give one for each")
        self.original_matrix = np.array(rows)
        self.data_format = data_format
        kept = _used_vertices(rows)
        self.valid_spec = bool(kept)
        self.matrix: np.ndarray | None = None
        self.ops: list[str] | None = None
        if kept:
            rows = rows if len(kept) == len(rows) else [[rows[x][y] for y in kept] for x in kept]
            self.matrix = np.array(rows)
            self.ops = [self.original_ops[vertex] for vertex in kept]
        self._cell = _find_cell(rows, self.ops)

    @property
    def cell(self) -> Cell:
        """The pruned cell, its vertices in the given order.

        Raises:
            OutOfDomainError: it is none of NAS-Bench-101; the message says why.
        """
        if isinstance(self._cell, str):
            raise OutOfDomainError(self._cell)
        return self._cell

    def hash_spec(self, canonical_ops: Sequence[str] = OPERATIONS) -> str:
        """The published key, bit-exact: 32 hexadecimal digits, equal for every order of the vertices.

        Args:
            canonical_ops: the operations in the order of their labels; the published keys use OPERATIONS.

        Raises:
            OutOfDomainError: no path leads from input to output, or an operation is not among the canonical ones.
        """
        if self.matrix is None or self.ops is None:
            return self.cell.hash  # which is refused
        places = {operation: place for place, operation in enumerate(canonical_ops)}
        unknown = [operation for operation in self.ops[1:-1] if operation not in places]
        if unknown:
            raise OutOfDomainError(f"operation {unknown[0]!r} is not one of {', '.join(canonical_ops)}")
        return hash_graph(self.matrix.tolist(), (-1, *(places[operation] for operation in self.ops[1:-1]), -2))


def _read_rows(matrix: ArrayLike) -> list[list[int]]:
    """Plain integers, whatever the entries' type: a key is made of their text."""
    given: Any = matrix.tolist() if isinstance(matrix, np.ndarray) else matrix
    try:
        rows = [[int(entry) for entry in row] for row in given]
        exact = all(list(row) == read for row, read in zip(given, rows))
    except (TypeError, ValueError):
        raise CellError("the matrix is no square of zeros and ones") from None
    if not rows or any(len(row) != len(rows) for row in rows):
        raise CellError("the matrix is not square")
    if not exact or any(max(row) > 1 or min(row) < 0 for row in rows):
        raise CellError("the matrix has entries other than 0 and 1")
    if any(any(row[: place + 1]) for place, row in enumerate(rows)):
        raise CellError("the matrix is not upper triangular: an edge leads from a vertex to a later one only")
    return rows


def _used_vertices(rows: list[list[int]]) -> list[int]:
    """The vertices on a path from the first to the last; none where there is no path."""
    last = len(rows) - 1
    reached, leading = {0}, {last}
    for vertex, row in enumerate(rows):
        if vertex in reached:
            reached.update(target for target, entry in enumerate(row) if entry)
    for vertex in range(last - 1, -1, -1):
        if any(rows[vertex][target] for target in leading):
            leading.add(vertex)
    return sorted(reached & leading) if last and 0 in leading else []


def _find_cell(rows: list[list[int]], ops: list[str] | None) -> Cell | str:
    """The cell of a pruned graph, or why it is none of NAS-Bench-101."""
    if ops is None:
        return "the cell has no path from input to output"
    if len(ops) > MAX_VERTICES:
        return f"the cell has {len(ops)} vertices after pruning; at most {MAX_VERTICES} are allowed"
    if (edges := sum(map(sum, rows))) > MAX_EDGES:
        return f"the cell has {edges} edges after pruning; at most {MAX_EDGES} are allowed"
    if (ops[0], ops[-1]) != (INPUT, OUTPUT):
        return f"the first and last operation are {ops[0]!r} and {ops[-1]!r}, not {INPUT!r} and {OUTPUT!r}"
    labels = [_LABEL.get(operation, -1) for operation in ops[1:-1]]
    if -1 in labels:
        return f"operation {ops[1 + labels.index(-1)]!r} is not one of {', '.join(OPERATIONS)}"
    sources = [sum(row[vertex] << source for source, row in enumerate(rows)) for vertex in range(len(rows))]
    return Cell.pack(sources, labels)
