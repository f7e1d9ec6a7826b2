"""Genomes and windows over listed architectures: what varies stays inside, and draws follow their weights."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import SpaceError
from runtime.seeds import make_generator
from supernet.catalog import build_shared_space
from supernet.genomes import LayersGenome, NasBench101Genome, NasBench201Genome
from supernet.spaces.nasbench101.cell import INPUT, OPERATIONS, OUTPUT, Cell, OutOfDomainError
from supernet.spaces.nasbench101.enumeration import all_orders, canonical_cell
from supernet.spaces.nasbench101.model_spec import ModelSpec
from supernet.spaces.nasbench201.cell import Cell as Cell201
from supernet.spaces.nasbench201.cell import all_cells
from supernet.window_listed import ListedWindow

laws = settings(max_examples=20, deadline=None)
genes_101 = st.tuples(*(st.sampled_from(values) for values in NasBench101Genome.values))


@pytest.fixture(scope="module")
def everything() -> ListedWindow:
    return ListedWindow(all_cells(), NasBench201Genome())


def some_cells(seed: int, count: int = 40) -> list[Cell201]:
    """Cells of few operations, so that many are neighbours."""
    near = [cell for cell in all_cells() if max(cell.operations) < 3]
    return [near[place] for place in np.random.default_rng(seed).permutation(len(near))[:count]]


@laws
@given(genes_101)
def test_nasbench101_genes_are_read_as_the_benchmark_reads_a_matrix(genes: tuple[int, ...]) -> None:
    matrix = np.zeros((7, 7), int)
    for edge, present in zip([(x, y) for y in range(7) for x in range(y)], genes):
        matrix[edge] = present
    decoded = NasBench101Genome().decode(genes)
    try:
        expected = ModelSpec(matrix, [INPUT, *(OPERATIONS[label] for label in genes[21:]), OUTPUT]).cell
    except OutOfDomainError:
        assert decoded is None
        return
    assert decoded == canonical_cell(expected)


@laws
@given(st.integers(0, 423_623))
def test_every_nasbench101_cell_has_genes(place: int) -> None:
    cell, genome = Cell(int(all_orders().cells[place])), NasBench101Genome()
    assert genome.decode(genome.encode(cell)) == cell


def test_layers_are_genes_where_depths_are_fixed() -> None:
    space = build_shared_space("nasbench_macro")
    genome, architecture = LayersGenome(space), space.parse("01212021")
    assert genome.encode(architecture) == (0, 1, 2, 1, 2, 0, 2, 1)
    assert genome.decode(genome.encode(architecture)) == architecture
    with pytest.raises(SpaceError, match="depths of cream vary"):
        LayersGenome(build_shared_space("cream"))


def test_neighbours_of_all_cells_differ_in_one_edge(everything: ListedWindow) -> None:
    cell = all_cells()[7]
    around = everything.neighbours(cell)
    assert len(set(around)) == 24
    assert all(sum(a != b for a, b in zip(cell.operations, other.operations)) == 1 for other in around)


@laws
@given(st.integers(0, 5), st.integers(0, 39), st.integers(0, 39), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 99))
def test_varying_stays_inside(seed: int, first: int, second: int, probability: float, draw: int) -> None:
    cells = some_cells(seed)
    window, generator = ListedWindow(cells, NasBench201Genome()), make_generator(draw)
    one, other = cells[first], cells[second]
    child = window.mutate(one, probability, generator)
    assert child in window
    assert child != one
    if probability == 0.0 and (around := window.neighbours(one)):
        assert child in around
    mixed = window.crossover(one, other, generator)
    assert mixed in window
    assert all(gene in pair for gene, *pair in zip(mixed.operations, one.operations, other.operations))
    assert all(one in window.neighbours(near) for near in window.neighbours(one))


def test_one_architecture_is_its_own_child() -> None:
    cell = all_cells()[0]
    assert ListedWindow([cell], NasBench201Genome()).mutate(cell, 0.5, make_generator(0)) == cell


@pytest.mark.parametrize("few", [0, 10**6])
def test_draws_follow_a_prior(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """By proposals and by weighing all members alike: in proportion to the product of the genes' weights."""
    monkeypatch.setattr("supernet.window_listed.FEW", few)
    window = ListedWindow(some_cells(1), NasBench201Genome())
    prior = [[dict(enumerate((1.0, 2.0, 0.5, 0.1, 0.1)))] * 6]
    weights = np.array([np.prod([prior[0][0][op] for op in cell.operations]) for cell in window])
    drawn = Counter(window.sample(make_generator(3), 4000, prior))
    expected = 4000 * weights / weights.sum()
    statistic = sum((drawn[cell] - mean) ** 2 / mean for cell, mean in zip(window, expected))
    assert statistic < 39 + 5 * (2 * 39) ** 0.5
