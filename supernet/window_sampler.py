"""Fast and exactly uniform draws from a FLOPs window: a coarse dynamic programme proposes, the exact cost decides.

The costs of all stages but the one with most variants are cut to buckets of one width. For each total of the first k
stages' buckets, the ways to reach it are counted by the bucket of the k-th. For each total of them all, the variants of
the stage left out, sorted by exact cost, have one range in which the whole may lie inside the window. Prefixes and
ranges make up a superset of the window, slightly wider than it.

Why draws are exactly uniform: all counts are integers, never rounded, and each choice is made by an integer drawn
uniformly below the count of what it leads to, so that the counts cancel and each member of the superset has the
probability 1 / size of the superset. Keeping those whose exact cost lies in the window leaves its members equally
likely. Only the first choice, of the total, may have weights beyond int64: it is made in units of 2**shift, rounded up;
a draw that falls in what the rounding added is dropped, as one outside the window is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from math import prod

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view

from supernet.window_random import WORD_BITS, uniform_below, uniform_words
from supernet.window_stage import StageChoices, StageVariants
from supernet.window_table import Stages, window_bins

LARGEST_STAGE = 2**17  # variants of a stage that are listed one by one
TRIAL = 2**12  # proposals by which the acceptance is told


class _Rows:
    """One stage's choice of a bucket, for each total of the buckets of the stages up to it.

    `ends` is the running sum, from 0 and row after row, of the counts (totals, buckets) described above.

    Args:
        before: (totals before this stage,) how many ways reach each.
        offsets: the buckets of the stage's variants, ascending.
        highest: the largest total that matters.
    """

    def __init__(self, before: np.ndarray, offsets: np.ndarray, highest: int):
        ways = np.bincount(offsets[: np.searchsorted(offsets, highest, side="right")])
        self._before, self._buckets = before, len(ways)
        self._starts = np.cumsum(ways) - ways
        totals = min(highest + 1, len(before) + len(ways) - 1)
        padded = np.zeros(totals + len(ways) - 1, np.int64)
        padded[len(ways) - 1 :][: len(before)] = before[:totals]
        counts = sliding_window_view(padded, len(ways))[:, ::-1] * ways
        self.ways = counts.sum(axis=1)
        self._ends = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts, out=self._ends[1:])

    def choose(self, totals: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Split numbers below the ways of each total: the variant, the total before it, the number among its ways."""
        rows = totals * self._buckets
        targets = numbers + self._ends[rows]
        entries = np.searchsorted(self._ends, targets, side="right") - 1
        buckets = entries - rows
        totals = totals - buckets
        places, numbers = np.divmod(targets - self._ends[entries], self._before[totals])
        return self._starts[buckets] + places, totals, numbers


class WindowSampler:
    """Uniform members of a window.

    Args:
        choices: the choices of each stage, in the architecture's order, which `supports` allows.
        fixed: MACs outside the stages.
        minimum: smallest cost of a member, in MACs, inclusive.
        maximum: largest cost of a member, in MACs, inclusive.
        bins: into how many buckets the costs up to `maximum` are cut at most; more take longer to build, and lose fewer
            proposals in a narrow window.
    """

    def __init__(self, choices: Sequence[StageChoices], fixed: int, minimum: int, maximum: int, bins: int):
        self._stages = [StageVariants(stage) for stage in choices]
        unit, self._low, self._high = window_bins(self._stages, fixed, minimum, maximum)
        self._offsets = [(stage.costs - stage.costs[0]) // unit for stage in self._stages]
        free = [index for index, stage in enumerate(self._stages) if len(stage.costs) > 1]
        *self._order, self._last = sorted(free, key=lambda index: len(self._stages[index].costs)) or [0]
        self._order.sort(key=lambda index: self._stages[index].span)
        self._total = 0
        if self._low <= self._high:
            self._build(max(1, (self._high - self._low) // 1000, -(-self._high // bins)))

    @staticmethod
    def supports(choices: Sequence[StageChoices]) -> bool:
        """Whether each stage's variants can be listed, and all stages but the richest counted in int64."""
        variants = sorted(stage.variants for stage in choices)
        return variants[-1] <= LARGEST_STAGE and prod(variants[:-1]) <= 2**WORD_BITS

    @cached_property
    def acceptance(self) -> float:
        """The share of proposals that lie in the window, from a trial that disturbs no generator."""
        return len(self._propose(TRIAL, torch.Generator().manual_seed(0))[0]) / TRIAL

    def propose(self, count: int, generator: torch.Generator) -> Iterator[Stages]:
        """Those of `count` independent uniform draws from the superset that lie in the window."""
        chosen = self._propose(count, generator)
        columns = (stage.at(places) for stage, places in zip(self._stages, chosen))
        return islice(zip(*columns), chosen.shape[1])

    def _build(self, width: int) -> None:
        highest = self._high // width
        ways = np.ones(1, np.int64)
        self._rows: list[_Rows] = []
        for index in self._order:
            self._rows.append(_Rows(ways, self._offsets[index] // width, highest))
            ways = self._rows[-1].ways
        prefix, last = np.arange(len(ways)) * width, self._offsets[self._last]
        self._first = np.searchsorted(last, self._low - prefix - len(self._order) * (width - 1))
        self._range = np.searchsorted(last, self._high - prefix, side="right") - self._first
        self._ways = ways
        self._weigh_totals()

    def _weigh_totals(self) -> None:
        """The counts of the prefixes' totals in units of 2**shift, rounded up, and what the rounding left over."""
        weights = [ways * choices for ways, choices in zip(self._ways.tolist(), self._range.tolist())]
        self._shift = max(0, sum(weights).bit_length() - WORD_BITS + 2)
        unit = 1 << self._shift
        whole = np.array([weight // unit for weight in weights])
        self._rest = np.array([weight % unit for weight in weights])
        self._ends = np.cumsum(np.append(0, whole + (self._rest > 0)))
        self._partial = self._ends[:-1] + whole
        self._total = int(self._ends[-1])

    def _choose_totals(self, count: int, generator: torch.Generator) -> np.ndarray:
        """(at most count,) totals of the prefix stages' buckets, in proportion to their exact weights."""
        numbers = uniform_below(np.full(count, self._total), generator)
        totals = np.searchsorted(self._ends, numbers, side="right") - 1
        if self._shift:
            low = uniform_words(count, generator, self._shift)
            totals = totals[(numbers < self._partial[totals]) | (low < self._rest[totals])]
        return totals

    def _propose(self, count: int, generator: torch.Generator) -> np.ndarray:
        """(stages, at most count): variants of uniform draws from the superset whose exact costs lie in the window."""
        if not self._total:
            return np.zeros((len(self._stages), 0), np.int64)
        totals = self._choose_totals(count, generator)
        chosen = np.zeros((len(self._stages), len(totals)), np.int64)
        chosen[self._last] = self._first[totals] + uniform_below(self._range[totals], generator)
        costs = self._offsets[self._last][chosen[self._last]]
        numbers = uniform_below(self._ways[totals], generator)
        for index, rows in zip(reversed(self._order), reversed(self._rows)):
            chosen[index], totals, numbers = rows.choose(totals, numbers)
            costs += self._offsets[index][chosen[index]]
        return chosen[:, (self._low <= costs) & (costs <= self._high)]
