"""From a published hash to its cell: 12 bytes a cell, built on first use into the user's cache folder."""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from runtime.console import logger
from runtime.tables import cache_folder, open_table, write_table
from supernet.spaces.nasbench101.cell import Cell, OutOfDomainError
from supernet.spaces.nasbench101.enumeration import Codes, all_orders
from supernet.spaces.nasbench101.keys import hash_cells

FILE = "nasbench101-index.safetensors"


def key_prefixes(hashes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The first 8 bytes of each key (N, 16) as numbers in the keys' order; those of all cells differ."""
    return np.ascontiguousarray(hashes[:, :8]).view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True)
class CellIndex:
    """Cells by the beginning of their keys; what is found is hashed again, so that a wrong answer is impossible."""

    prefixes: NDArray[np.uint64]  # ascending
    codes: Codes

    @classmethod
    def build(cls, codes: Codes, hashes: NDArray[np.uint8]) -> CellIndex:
        """The index of cells (N,) and their keys (N, 16)."""
        prefixes = key_prefixes(hashes)
        order = np.argsort(prefixes)
        return cls(prefixes[order], codes[order])

    def find(self, key: str) -> Cell:
        """The canonical cell of a key of 32 hexadecimal digits.

        Raises:
            OutOfDomainError: it is no cell's key.
        """
        prefix = np.uint64(int(key[:16], 16))
        place = int(np.searchsorted(self.prefixes, prefix))
        if place < len(self.prefixes) and self.prefixes[place] == prefix:
            cell = Cell(int(self.codes[place]))
            if cell.hash == key:
                return cell
        raise OutOfDomainError(f"{key} is the hash of no cell of NAS-Bench-101")


def open_index() -> CellIndex:
    """The index of all cells, from the cache folder or built into it; processes that start together build it once.

    Raises:
        StorageError: the cache folder cannot be written.
    """
    path = cache_folder() / FILE
    if not path.is_file():
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not path.is_file():
                _build(path)
    return _open(path)


@lru_cache(maxsize=1)
def _open(path: Path) -> CellIndex:
    table = open_table(path)
    return CellIndex(table.tensors["prefixes"], table.tensors["codes"])


def _build(path: Path) -> None:
    logger.info("building the index of NAS-Bench-101's cells, once: %s", path)
    codes = all_orders().cells
    index = CellIndex.build(codes, hash_cells(codes, announce=True))
    write_table(path, {"prefixes": index.prefixes, "codes": index.codes}, {"kind": "nasbench101-index"})
