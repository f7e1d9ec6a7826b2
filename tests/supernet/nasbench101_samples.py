"""Cells for tests: the reference's table, and random ones."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st

from supernet.spaces.nasbench101.cell import OPERATIONS, Cell
from supernet.spaces.nasbench101.enumeration import all_orders

SHORT = {"3x3": OPERATIONS[0], "1x1": OPERATIONS[1], "mp": OPERATIONS[2]}


class Golden(NamedTuple):
    """A cell with its published key and its number of parameters."""

    rows: str
    interior: str
    key: str
    params: int

    @property
    def matrix(self) -> list[list[int]]:
        return [[int(entry) for entry in row] for row in self.rows.split()]

    @property
    def ops(self) -> list[str]:
        return ["input", *(SHORT[name] for name in self.interior.split()), "output"]


GOLDEN = [
    Golden(
        "0100000 0010100 0001100 0000100 0000010 0000001 0000000",
        "1x1 mp 3x3 1x1 3x3",
        "048eda1b87d274d0a3edd77f6974f7c4",
        21_547_914,
    ),
    Golden("01 00", "", "043721b9c7fe8c5fad811d47d83132ec", 882_570),
    Golden("010 001 000", "3x3", "b49ac8c578b4561d79ac7087988f1c61", 10_177_674),
    Golden("010 001 000", "mp", "53cee42601ad14d661bb6878031d6acb", 882_570),
    Golden("0101 0010 0001 0000", "3x3 3x3", "b5fb4f6193360330b6ff6a52cbf0cad7", 20_346_506),
    Golden(
        "0111010 0000001 0000001 0000100 0000001 0000001 0000000",
        "1x1 3x3 3x3 3x3 mp",
        "28cfc7874f6d200472e1a9dcd8650aa0",
        2_694_282,
    ),
    Golden("01100 00001 00010 00000 00000", "1x1 3x3 3x3", "d1269d9156ddc027c40473008192958a", 1_920_138),
]


def labelled_cells() -> st.SearchStrategy[Cell]:
    """Any order of any cell."""
    codes = all_orders().codes
    return st.integers(0, len(codes) - 1).map(lambda place: Cell(int(codes[place])))


def orders_of(cell: Cell) -> list[Cell]:
    """All orders of a cell's vertices."""
    orders = all_orders()
    canonical = orders.canonical[np.searchsorted(orders.codes, cell.code)]
    return [Cell(int(code)) for code in orders.codes[orders.canonical == canonical]]
