"""Searching a table: many runs of a picker, what they find by number of queries, and what pure chance would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError
from configs.schema import Picker as PickerConfig
from nasbench.tabular import Floats, TabularBenchmark
from runtime.seeds import derive_seed
from search.pickers import build_picker, score_all
from search.scores import Scored


class TabularObjective:
    """Architectures -> their validation scores in the table."""

    def __init__(self, benchmark: TabularBenchmark) -> None:
        self.places, self.accuracies = benchmark.window.places, benchmark.validation.tolist()

    def __call__(self, architectures: Sequence[Any]) -> list[Scored]:
        """Scores in the order of the architectures; costs are none of a table's."""
        return [Scored(one, self.accuracies[self.places[one]]) for one in architectures]


def search_table(
    benchmark: TabularBenchmark, config: PickerConfig, seed: int, runs: Iterable[int]
) -> Iterator[list[int]]:
    """For each numbered run, the rows of the architectures in the order of the queries: a function of (seed, run).

    Raises:
        ConfigError: more queries than architectures.
        PickerError: the picker cannot work on a table.
    """
    if config.evaluations > len(benchmark):
        raise ConfigError(
            f"{config.evaluations:,} queries are more than the {len(benchmark):,} architectures of {benchmark.name}"
        )
    objective, places = TabularObjective(benchmark), benchmark.window.places
    for run in runs:
        picker = build_picker(config, benchmark.window, derive_seed(seed, "tabular", run))
        yield [places[scored.architecture] for scored in score_all(picker, objective, lambda picker: None)]


@dataclass(frozen=True)
class Curve:
    """The best validation pick after each number of queries, over runs.

    Attributes:
        validation: (runs, queries) its validation accuracy in percent.
        test: (runs, queries) its test accuracy in percent.
        seconds: (runs, queries) that the queries until then would have taken by training, or None.
    """

    validation: Floats
    test: Floats
    seconds: Floats | None

    @classmethod
    def follow(cls, benchmark: TabularBenchmark, rows: NDArray[np.int64]) -> Curve:
        """Of what `search_table` gave, (runs, queries)."""
        best = benchmark.order[np.minimum.accumulate(benchmark.ranks[rows], axis=1)]
        seconds = None if benchmark.seconds is None else np.cumsum(benchmark.seconds[rows], axis=1)
        return cls(benchmark.validation[best], benchmark.test[best], seconds)


def summarize(values: Floats) -> tuple[Floats, Floats, Floats]:
    """(runs, queries) -> mean, standard deviation over runs and standard error of the mean, each (queries,)."""
    runs = len(values)
    deviation = values.std(0, ddof=1) if runs > 1 else np.full(values.shape[1], np.nan)
    return values.mean(0), deviation, deviation / np.sqrt(runs)


def expect_random(benchmark: TabularBenchmark, queries: int) -> tuple[float, float]:
    """Exact mean and standard deviation of random search's test accuracy: no run, but order statistics.

    Of N architectures, n queries without repetition find the one of rank k as their best with probability
    C(N - 1 - k, n - 1) / C(N, n), which is n / N at rank 0 and (N - k - n) / (N - 1 - k) times as much at the next.
    """
    size = len(benchmark)
    ranks = np.arange(size - 1)
    ratios = np.maximum(size - ranks - queries, 0) / (size - 1 - ranks)
    chances = queries / size * np.cumprod([1.0, *ratios])
    test = benchmark.test[benchmark.order]
    mean = float(chances @ test)
    return mean, float(np.sqrt(chances @ (test - mean) ** 2))
