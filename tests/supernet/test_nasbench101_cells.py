"""NAS-Bench-101's cells: validation, pruning, exact hashes, canonical orders."""

from __future__ import annotations

from itertools import product
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nasbench101_samples import GOLDEN, Golden, labelled_cells, orders_of

from configs.errors import SpaceError
from supernet.spaces.nasbench101.cell import OPERATIONS, Cell, OutOfDomainError, parse_rows
from supernet.spaces.nasbench101.enumeration import all_orders, canonical_cell
from supernet.spaces.nasbench101.hashing import hash_graph
from supernet.spaces.nasbench101.model_spec import ModelSpec


def chain(vertices: int) -> list[list[int]]:
    return np.eye(vertices, k=1, dtype=int).tolist()


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.key[:8])
@pytest.mark.parametrize("kind", [None, bool, int, np.int8, np.uint8, float, np.float32])
def test_hashes_are_the_published_ones_whatever_the_entries_type(golden: Golden, kind: type | None) -> None:
    matrix: Any = golden.matrix if kind is None else np.array(golden.matrix, kind)
    spec = ModelSpec(matrix, golden.ops)
    assert spec.valid_spec
    assert spec.hash_spec(list(OPERATIONS)) == spec.cell.hash == golden.key


@given(labelled_cells(), st.randoms(use_true_random=False))
def test_the_hash_does_not_change_under_relabelling(cell: Cell, source: Random) -> None:
    to: dict[int, int] = {}  # another order in which every edge leads forwards
    while len(to) < cell.vertices:
        ready = [
            v
            for v in range(cell.vertices)
            if v not in to and all(u in to for u, row in enumerate(cell.matrix) if row[v])
        ]
        to[source.choice(ready)] = len(to)
    matrix = np.zeros((cell.vertices, cell.vertices), bool)
    for x, y in zip(*np.nonzero(np.array(cell.matrix))):
        matrix[to[x], to[y]] = True
    ops = [""] * cell.vertices
    for vertex, name in enumerate(cell.ops):
        ops[to[vertex]] = name
    spec = ModelSpec(matrix, ops)
    assert spec.hash_spec() == cell.hash
    assert canonical_cell(spec.cell) == canonical_cell(cell) <= spec.cell


@given(labelled_cells())
def test_a_cell_is_read_back_from_all_its_forms(cell: Cell) -> None:
    assert parse_rows(str(cell)) == Cell.from_json(cell.to_json()) == ModelSpec(*cell.to_list()).cell == cell
    assert cell.edges == np.array(cell.matrix).sum() <= 9
    assert len({order.hash for order in orders_of(cell)[:5]} | {cell.hash}) == 1


def test_canonical_orders_are_the_first_in_the_official_generators_order() -> None:
    """The official script, on up to five vertices: masks ascending, labels by product, the first of each hash."""
    first: dict[str, tuple] = {}
    for vertices in range(2, 6):
        for mask in range(1 << vertices * (vertices - 1) // 2):
            matrix = [
                [mask >> x + y * (y - 1) // 2 & 1 if x < y else 0 for y in range(vertices)] for x in range(vertices)
            ]
            used = all(map(any, matrix[:-1])) and all(any(row[y] for row in matrix) for y in range(1, vertices))
            if not used or sum(map(sum, matrix)) > 9:
                continue
            for labels in product(range(3), repeat=vertices - 2):
                key = hash_graph(matrix, (-1, *labels, -2))
                first.setdefault(key, (matrix, labels))
    cells = [Cell(code) for code in all_orders().cells.tolist() if Cell(code).vertices < 6]
    assert [cell.hash for cell in cells] == list(first)
    for cell, (matrix, labels) in zip(cells, first.values()):
        assert ([list(row) for row in cell.matrix], cell.labels) == (matrix, labels)


@pytest.mark.parametrize(
    ("matrix", "ops", "message"),
    [
        ([[0, 1], [0]], ["input", "output"], "not square"),
        ([], [], "not square"),
        (7, ["input"], "no square"),
        ([[0, 1], [1, 0]], ["input", "output"], "not upper triangular"),
        ([[1, 1], [0, 0]], ["input", "output"], "not upper triangular"),
        ([[0, 2], [0, 0]], ["input", "output"], "other than 0 and 1"),
        ([[0, 0.5], [0, 0]], ["input", "output"], "other than 0 and 1"),
        ([[0, 1], [0, 0]], ["input", "conv3x3-bn-relu", "output"], "2 vertices have 3 operations"),
    ],
)
def test_what_is_no_matrix_is_a_value_error(matrix: Any, ops: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        ModelSpec(matrix, ops)
    assert isinstance(caught.value, SpaceError)


def test_vertices_without_a_path_are_pruned_and_the_domain_is_checked_afterwards() -> None:
    matrix = np.zeros((12, 12), int)
    matrix[0, 5:11] = 1  # eleven edges, of which two are on a path
    matrix[0, 1:4] = 1
    matrix[10, 11] = 1
    ops = ["input", *["maxpool3x3"] * 10, "output"]
    spec = ModelSpec(matrix, ops)
    assert spec.original_matrix.shape == (12, 12)
    assert spec.matrix is not None
    assert spec.matrix.tolist() == chain(3)
    assert spec.ops == ["input", "maxpool3x3", "output"]
    assert spec.hash_spec() == GOLDEN[3].key


def test_without_a_path_there_is_no_cell() -> None:
    for matrix in ([[0, 0], [0, 0]], [[0]]):
        spec = ModelSpec(matrix, ["input", "output"][: len(matrix)])
        assert (spec.valid_spec, spec.matrix, spec.ops) == (False, None, None)
        with pytest.raises(OutOfDomainError, match="no path from input to output"):
            spec.hash_spec()


@pytest.mark.parametrize(
    ("matrix", "ops", "message"),
    [
        (chain(8), ["input", *["maxpool3x3"] * 6, "output"], "8 vertices after pruning; at most 7"),
        (np.triu(np.ones((5, 5)), 1), ["input", *["maxpool3x3"] * 3, "output"], "10 edges after pruning; at most 9"),
        (chain(3), ["input", "conv5x5-bn-relu", "output"], "'conv5x5-bn-relu' is not one of"),
        (chain(3), ["output", "maxpool3x3", "input"], "not 'input' and 'output'"),
    ],
)
def test_cells_outside_of_the_benchmark_say_why(matrix: Any, ops: list[str], message: str) -> None:
    with pytest.raises(OutOfDomainError, match=message):
        _ = ModelSpec(matrix, ops).cell


def test_larger_cells_can_be_hashed_as_officially() -> None:
    large = ModelSpec(chain(8), ["input", *["maxpool3x3"] * 6, "output"])
    assert len(large.hash_spec()) == 32
    with pytest.raises(OutOfDomainError, match="'maxpool3x3' is not one of conv1x1"):
        large.hash_spec(["conv1x1"])


@pytest.mark.parametrize("text", ["", "0", "01:00", "01-00:", "010-001-000", "01-00 ", "0a-00"])
def test_texts_that_are_no_cell_are_refused(text: str) -> None:
    with pytest.raises(SpaceError):
        parse_rows(text)
