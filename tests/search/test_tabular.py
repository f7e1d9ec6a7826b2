"""Searching a table: pickers on listed cells, and pure chance by order statistics."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Callable
from itertools import combinations, islice, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import ConfigError
from nasbench.tabular import TabularBenchmark
from search.pickers import build_picker
from search.tabular import Curve, TabularObjective, expect_random, search_table, summarize
from supernet.genomes import NasBench201Genome
from supernet.spaces.nasbench201.cell import all_cells
from tools.tabular import ALGORITHMS, configure

DATASETS = {"cifar10": "cifar10", "cifar100": "cifar100", "ImageNet16-120": "imagenet16-120"}


def make_benchmark(validation: list[float], test: list[float] | None = None) -> TabularBenchmark:
    scores = np.array(validation, float), np.array(test or validation, float), None
    return TabularBenchmark.build("made", all_cells()[: len(validation)], NasBench201Genome(), scores, len(validation))


@pytest.fixture(scope="module")
def published(shared_file: Callable[[str], Path]) -> dict[str, TabularBenchmark]:
    """NAS-Bench-201 after 12 epochs."""
    with gzip.open(shared_file("data/nasbench201-12epoch.csv.gz"), "rt") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: int(row["index"]))
    columns = {
        name: [np.array([float(row[f"{column}-{split}"]) for row in rows]) for split in ("val", "test")]
        for name, column in DATASETS.items()
    }
    cells, genome = all_cells(), NasBench201Genome()
    return {
        name: TabularBenchmark.build(name, cells, genome, (*both, None), len(cells)) for name, both in columns.items()
    }


def final(benchmark: TabularBenchmark, algorithm: str, runs: int) -> tuple[float, float]:
    """Mean test accuracy after 300 queries, and its standard error."""
    rows = np.array(list(search_table(benchmark, configure(algorithm, 300), 0, range(runs))))
    mean, _, error = summarize(Curve.follow(benchmark, rows).test)
    return float(mean[-1]), float(error[-1])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 9)), min_size=1, max_size=9), st.data())
def test_chance_is_exactly_the_mean_over_all_draws(scores: list[tuple[int, int]], data: st.DataObject) -> None:
    benchmark = make_benchmark(*map(list, zip(*scores)))
    queries = data.draw(st.integers(1, len(scores)))
    draws = np.array(list(combinations(range(len(scores)), queries)))
    found = Curve.follow(benchmark, draws).test[:, -1]
    assert expect_random(benchmark, queries) == pytest.approx((found.mean(), found.std()))


def test_random_search_is_what_chance_expects(published: dict[str, TabularBenchmark]) -> None:
    expected = {name: expect_random(benchmark, 300)[0] for name, benchmark in published.items()}
    assert expected == pytest.approx({"cifar10": 88.391, "cifar100": 59.725, "ImageNet16-120": 35.820}, abs=1e-3)
    mean, error = final(published["cifar100"], "random", 60)
    assert abs(mean - expected["cifar100"]) < 4 * error


def test_evolution_and_local_search_beat_chance(published: dict[str, TabularBenchmark]) -> None:
    evolution, error = final(published["cifar10"], "evolution", 8)
    assert evolution > 88.77 - 3 * error
    assert final(published["cifar10"], "local_search", 8)[0] > 88.9


@pytest.mark.slow
@pytest.mark.parametrize(("name", "target"), [("cifar10", 88.77), ("cifar100", 60.76), ("ImageNet16-120", 37.42)])
def test_evolution_reaches_what_was_published_and_local_search_more(
    published: dict[str, TabularBenchmark], name: str, target: float
) -> None:
    """Means of 100 runs; docs/tabular.md has those of 500."""
    evolution, evolution_error = final(published[name], "evolution", 100)
    climbing, climbing_error = final(published[name], "local_search", 100)
    assert evolution > target - 2 * evolution_error
    assert climbing > evolution + np.hypot(evolution_error, climbing_error)


def test_reinforce_learns(published: dict[str, TabularBenchmark]) -> None:
    mean, error = final(published["cifar10"], "reinforce", 4)
    assert mean > expect_random(published["cifar10"], 300)[0] + 2 * error


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_run_depends_on_seed_and_number_alone_and_asks_nothing_twice(algorithm: str) -> None:
    benchmark = make_benchmark([float(number * 7 % 60) for number in range(60)])
    config = configure(algorithm, 40)
    runs = list(search_table(benchmark, config, 5, range(4)))
    assert list(search_table(benchmark, config, 5, [3])) == [runs[3]]
    assert next(search_table(benchmark, config, 6, [3])) != runs[3]
    assert all(len(set(rows)) == 40 for rows in runs)
    whole = next(search_table(benchmark, configure(algorithm, 60), 5, [0]))
    assert sorted(whole) == list(range(60))


def test_ageing_evolution_follows_the_newest() -> None:
    """With a population of one, each child is a neighbour of the cell before it, however bad that is."""
    benchmark = make_benchmark([float(index * 7919 % 15_625) for index in range(15_625)])
    config = configure("evolution", 30, ["PICKER.POPULATION=1"])
    chain = [all_cells()[row] for row in next(search_table(benchmark, config, 0, [0]))]
    assert all(child in benchmark.window.neighbours(parent) for parent, child in pairwise(chain))


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_cells_return_through_json(algorithm: str) -> None:
    benchmark = make_benchmark([float(number * 7 % 60) for number in range(60)])
    objective, config = TabularObjective(benchmark), configure(algorithm, 40)
    picker, restored = (build_picker(config, benchmark.window, 1) for _ in range(2))
    for asked in islice(iter(picker.ask, []), 15):
        picker.tell(objective(asked))
    restored.load_state_dict(json.loads(json.dumps(picker.state_dict())))
    assert restored.ask() == picker.ask()


def test_more_queries_than_architectures_are_refused() -> None:
    with pytest.raises(ConfigError, match="61 queries are more than the 60 architectures of made"):
        next(search_table(make_benchmark([1.0] * 60), configure("random", 61), 0, [0]))
