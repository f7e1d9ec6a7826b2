"""NAS-Bench-101's results as one memory-mapped table with named axes."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from runtime.tables import open_table, write_table
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench101.index import key_prefixes

KIND = "nasbench101-results"
METRICS = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")  # seconds, then fractions of 1
MOMENTS = ("halfway", "final")
NONE = -1  # the row of a cell that the table does not hold


@dataclass(frozen=True)
class ResultsTable:
    """Trainings of cells; axes (cell, budget, repeat, moment, metric). A training that was not made is NaN.

    Attributes:
        budgets: epochs of a training, ascending.
        metrics: (cells, budgets, repeats, 2, 4), as MOMENTS and METRICS name the last two axes.
        repeats: (cells, budgets) how many trainings were made; they come first.
        params: (cells,) trainable parameters.
        codes: (cells,) `Cell.code` in the order of vertices that was trained.
        hashes: (cells, 16) the published keys.
        prefixes, prefix_rows: (cells,) the keys' first 8 bytes, ascending, and the row of each.
        orders, order_rows: every order of every cell's vertices, ascending, and the row of each.
    """

    budgets: tuple[int, ...]
    metrics: NDArray[np.float64]
    repeats: NDArray[np.uint8]
    params: NDArray[np.int64]
    codes: NDArray[np.uint32]
    hashes: NDArray[np.uint8]
    prefixes: NDArray[np.uint64]
    prefix_rows: NDArray[np.int32]
    orders: NDArray[np.uint32]
    order_rows: NDArray[np.int32]

    @classmethod
    def build(
        cls,
        budgets: Sequence[int],
        metrics: NDArray[np.float64],
        repeats: NDArray[np.uint8],
        params: NDArray[np.int64],
        codes: NDArray[np.uint32],
        hashes: NDArray[np.uint8],
    ) -> ResultsTable:
        """The table with what finds its rows.

        Raises:
            DataError: two rows are the same cell, or a code is no cell.
        """
        orders, order_rows = _find_orders(codes)
        prefixes = key_prefixes(hashes)
        by_key = np.argsort(prefixes, kind="stable").astype(np.int32)
        return cls(
            tuple(budgets), metrics, repeats, params, codes, hashes, prefixes[by_key], by_key, orders, order_rows
        )

    @classmethod
    def open(cls, path: Path) -> ResultsTable:
        """Map a table that `write` wrote.

        Raises:
            DataError: the file is not there or no such table.
        """
        table = open_table(path)
        if table.metadata.get("kind") != KIND or {*table.tensors, "budgets"} != {field.name for field in fields(cls)}:
            raise DataError(f"{path} is no table of NAS-Bench-101 results: make one with tools.nasbench101 import")
        return cls(tuple(map(int, table.metadata["budgets"].split(","))), **table.tensors)

    def write(self, path: Path) -> None:
        """Write one safetensors file; raises as `runtime.tables.write_table`."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        axes = f"cell, budget (epochs {', '.join(map(str, self.budgets))}), repeat, {MOMENTS}, {METRICS}"
        write_table(path, tensors, {"kind": KIND, "budgets": ",".join(map(str, self.budgets)), "metrics": axes})

    def __len__(self) -> int:
        return len(self.codes)

    def rows_of_cells(self, codes: NDArray[np.uint32]) -> NDArray[np.int32]:
        """The row of each cell, given by the code of any order of its vertices; NONE where there is none."""
        places = np.searchsorted(self.orders, codes)
        found = self.orders.take(places, mode="clip") == codes
        return np.where(found, self.order_rows.take(places, mode="clip"), NONE)

    def rows_of_hashes(self, hashes: Sequence[str]) -> NDArray[np.int32]:
        """The row of each published key; NONE where there is none, or the text is no key."""
        keys = np.frombuffer(b"".join(map(_read_key, hashes)), np.uint8).reshape(-1, 16)
        places = np.searchsorted(self.prefixes, key_prefixes(keys))
        rows = self.prefix_rows.take(places, mode="clip")
        return np.where((self.hashes[rows] == keys).all(1), rows, NONE)

    def row_of_cell(self, cell: Cell) -> int:
        """`rows_of_cells` of one."""
        place = bisect_left(self._orders, cell.code)
        found = place < len(self._orders) and self._orders[place] == cell.code
        return self.order_rows.item(place) if found else NONE

    @cached_property
    def _orders(self) -> memoryview:
        """`orders` as Python integers, without numpy's cost of a single look-up."""
        return self.orders.data

    @cached_property
    def places(self) -> dict[int, int]:
        """The place of each budget on its axis."""
        return {budget: place for place, budget in enumerate(self.budgets)}


def _read_key(text: str) -> bytes:
    """A key's 16 bytes; zeros, which is no cell's key, where it is not one."""
    try:
        return bytes.fromhex(text) if len(text) == 32 else bytes(16)
    except ValueError:
        return bytes(16)


def _find_orders(codes: NDArray[np.uint32]) -> tuple[NDArray[np.uint32], NDArray[np.int32]]:
    everything = all_orders()
    places = np.searchsorted(everything.codes, codes)
    strangers = np.flatnonzero(everything.codes.take(places, mode="clip") != codes)
    if len(strangers):
        raise DataError(f"row {strangers[0]} is no cell of NAS-Bench-101")
    canonical = everything.canonical[places]
    by_cell = np.argsort(canonical, kind="stable").astype(np.int32)
    ordered = canonical[by_cell]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        raise DataError(f"rows {by_cell[twice[0]]} and {by_cell[twice[0] + 1]} are one cell under two hashes")
    found = np.searchsorted(ordered, everything.canonical)
    held = ordered.take(found, mode="clip") == everything.canonical
    return everything.codes[held], by_cell[found[held]]
