"""All cells: counts, keys, costs, and the index from keys to cells."""

from __future__ import annotations

from collections import Counter
from hashlib import md5
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nasbench101_samples import GOLDEN

from runtime.tables import open_table
from supernet.spaces.nasbench101.cell import Cell, OutOfDomainError
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_cost, cell_costs
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench101.index import FILE, open_index
from supernet.spaces.nasbench101.keys import hash_cells
from supernet.spaces.nasbench101.md5 import md5_texts

VERTICES = {2: 1, 3: 6, 4: 84, 5: 2_441, 6: 62_010, 7: 359_082}
EDGES = {1: 1, 2: 3, 3: 12, 4: 60, 5: 339, 6: 2_134, 7: 13_984, 8: 78_822, 9: 328_269}
DESCRIPTION = NasBench101Description()


def test_the_space_has_the_published_size() -> None:
    orders = all_orders()
    assert (len(orders.codes), len(orders.cells)) == (1_293_208, 423_624)
    assert Counter((orders.cells >> 29).tolist()) == VERTICES
    assert Counter(np.bitwise_count(orders.cells >> 8 & 0x1FFFFF).tolist()) == EDGES
    assert (np.diff(orders.codes.astype(np.int64)) > 0).all()


def test_parameters_have_the_published_range() -> None:
    cells = all_orders().cells
    macs, params = cell_costs(DESCRIPTION, cells)
    assert (params.min(), params.max()) == (227_274, 49_979_274)
    for place in range(0, len(cells), 50_000):
        cost = cell_cost(DESCRIPTION, Cell(int(cells[place])))
        assert (cost.macs, cost.params) == (macs[place], params[place])


@given(st.integers(0, 300), st.integers(1, 5), st.integers(0, 2**32))
def test_md5_of_many_texts(length: int, count: int, seed: int) -> None:
    texts = np.random.default_rng(seed).integers(0, 256, (count, length), np.uint8)
    expected = [md5(text.tobytes()).digest() for text in texts]
    assert [digest.tobytes() for digest in md5_texts(texts)] == expected


def test_keys_of_many_cells_are_those_of_each() -> None:
    cells = all_orders().cells
    chosen = np.concatenate([cells[:100], cells[100::2000]])
    keys = hash_cells(chosen, threads=2)
    assert [key.tobytes().hex() for key in keys] == [Cell(code).hash for code in chosen.tolist()]
    assert hash_cells(chosen[:0]).shape == (0, 16)


@pytest.fixture
def small_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder, while the space is only its cells of up to five vertices."""
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path))
    orders = all_orders()
    small = type(orders)(orders.codes[orders.codes < 6 << 29], orders.canonical[orders.codes < 6 << 29])
    monkeypatch.setattr("supernet.spaces.nasbench101.index.all_orders", lambda: small)
    return tmp_path


def test_a_hash_finds_its_cell_through_an_index_of_12_bytes_a_cell(small_cache: Path) -> None:
    for golden in GOLDEN[1:5]:
        cell = open_index().find(golden.key)
        assert (cell.hash, cell_cost(DESCRIPTION, cell).params) == (golden.key, golden.params)
    tensors = open_table(small_cache / FILE).tensors
    assert sum(tensor.nbytes for tensor in tensors.values()) == 12 * 2_532
    built = (small_cache / FILE).stat().st_mtime_ns
    open_index().find(GOLDEN[1].key)
    assert (small_cache / FILE).stat().st_mtime_ns == built


def test_what_is_no_key_is_not_found(small_cache: Path) -> None:
    key = GOLDEN[1].key
    for wrong in ("0" * 32, "f" * 32, key[:31] + ("0" if key[31] != "0" else "1")):
        with pytest.raises(OutOfDomainError, match="is the hash of no cell"):
            open_index().find(wrong)


@pytest.mark.slow
def test_every_cell_has_a_key_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path))
    index = open_index()
    assert len(np.unique(index.prefixes)) == 423_624
    for golden in GOLDEN:
        assert index.find(golden.key).hash == golden.key


@pytest.mark.slow
def test_in_one_cell_of_eight_the_parameters_depend_on_the_order() -> None:
    orders = all_orders()
    by_cell = np.argsort(orders.canonical, kind="stable")
    params = cell_costs(DESCRIPTION, orders.codes)[1][by_cell]
    starts = np.flatnonzero(np.diff(orders.canonical[by_cell].astype(np.int64), prepend=-1))
    lowest, highest = np.minimum.reduceat(params, starts), np.maximum.reduceat(params, starts)
    assert (lowest < highest).sum() == 53_908
    assert round(float((highest / lowest - 1).max()) * 100, 2) == 1.37
    (place,) = np.flatnonzero((lowest == 2_024_094) & (highest == 2_040_231) & (np.diff([*starts, len(params)]) == 6))
    cell = Cell(int(orders.canonical[by_cell][starts[place]]))
    assert cell.hash.startswith("ce9bc276")
    assert cell_cost(DESCRIPTION, cell).params == 2_040_231
