"""How many architectures keep bounds on two costs, exactly, where a table of all pairs of costs would be too large.

Both costs of a stage's variants are one integer, `first * base + second` (`PairCode`), so that equal pairs merge as
equal costs do (`window_stage`). The stages are put into three groups: two whose sums meet in a histogram over the first
cost, filled in order of the second; and one whose distinct pairs ask that histogram, each when it holds what leaves
room for its own second cost. Cream's five stages have 1,260, 1,260, 1,260, 2,772 and 2,772 distinct pairs where layers
of one shape cost alike: two thousand million meetings and seven million questions, which take about a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from configs.errors import WindowError
from supernet.window_stage import INT64_LIMIT, StageChoices, StageSums, merge_costs, ways_dtype

QUESTIONS, MEETINGS, BINS = 2**24, 2**33, 2**26  # at most: beyond them memory or time run out


@dataclass(frozen=True)
class PairCode:
    """Two costs as one integer; the second one, and each sum of them, is smaller than base / 2 in size."""

    base: int

    def join(self, first: int, second: int) -> int:
        """The integer of a pair; sums of integers stand for sums of pairs."""
        return first * self.base + second

    def split(self, cost: Any) -> tuple[Any, Any]:
        """Inverse of `join`, for one integer or an array of them."""
        first = (cost + self.base // 2) // self.base
        return first, cost - first * self.base


class _Pairs(NamedTuple):
    """Distinct sums of some stages, (P,) each, less the smallest of each cost; ordered by the second; ways of each."""

    first: np.ndarray
    second: np.ndarray
    ways: np.ndarray


def count_pairs(choices: Sequence[StageChoices], code: PairCode, low: int, high: int, limit: int) -> int:
    """The number of architectures with low <= first cost <= high and second cost <= limit.

    Raises:
        WindowError: the stages have too many distinct pairs.
    """
    groups, (smallest, least) = _read_groups([StageSums(stage) for stage in choices], code)
    units = [int(np.gcd.reduce(np.concatenate([group[kind] for group in groups]))) or 1 for kind in (0, 1)]
    asking, one, other = (
        group._replace(first=group.first // units[0], second=group.second // units[1]) for group in groups
    )
    bins = int(one.first.max() + other.first.max()) + 1
    if bins > BINS:
        raise WindowError(_explain_size(f"{bins:,} distinct first costs"))
    first = -((smallest - low) // units[0]), (high - smallest) // units[0]
    room = (limit - least) // units[1] - asking.second
    return _Meeting(one, other, bins).answer(asking, first, room)


def _read_groups(sums: list[StageSums], code: PairCode) -> tuple[list[_Pairs], tuple[int, int]]:
    """The asking stages, the two that meet, and the smallest of each cost of them all."""
    left = sorted(sums, key=lambda stage: len(stage.costs))
    asking: list[StageSums] = []
    while left and prod(len(stage.costs) for stage in [*asking, left[-1]]) <= QUESTIONS:
        asking.append(left.pop())
    if prod(len(stage.costs) for stage in left) > MEETINGS or prod(stage.variants for stage in left) >= INT64_LIMIT:
        raise WindowError(_explain_size(f"{prod(len(stage.costs) for stage in sums):,} sums of distinct pairs"))
    groups, floors = zip(*(_merge(stages, code) for stages in (asking, left[:-1], left[-1:])))
    first, second = map(sum, zip(*floors))
    return list(groups), (first, second)


def _merge(stages: Sequence[StageSums], code: PairCode) -> tuple[_Pairs, tuple[int, int]]:
    """The distinct pairs of some stages together, and the smallest of each cost."""
    costs = np.zeros(1, np.int64)
    ways: np.ndarray = np.ones(1, ways_dtype(prod(stage.variants for stage in stages)))
    for stage in stages:
        costs, ways = merge_costs(np.add.outer(costs, stage.costs).ravel(), np.multiply.outer(ways, stage.ways).ravel())
    first, second = code.split(costs)
    order = np.argsort(second, kind="stable")
    floors = int(first.min()), int(second.min())
    return _Pairs(first[order] - floors[0], second[order] - floors[1], ways[order]), floors


class _Meeting:
    """Sums of two groups, in order of the second cost: a histogram of ways over the first cost."""

    def __init__(self, one: _Pairs, other: _Pairs, bins: int) -> None:
        self._one, self._other = one, other
        self._rows = int(one.second[-1] + other.second[-1]) + 1
        self._starts = np.searchsorted(one.second, np.arange(int(one.second[-1]) + 2))
        self._histogram = np.zeros(bins, np.int64)

    def answer(self, asking: _Pairs, bounds: tuple[int, int], room: np.ndarray) -> int:
        """The ways of all that meet with first costs in `bounds`, and second costs within each question's `room`."""
        low, high = bounds
        last = np.minimum(room, self._rows - 1)
        order = np.argsort(last, kind="stable")
        ends = np.searchsorted(last[order], np.arange(self._rows + 1))
        total = 0
        for row in range(int(last.max()) + 1):
            self._fill(row)
            now = order[ends[row] : ends[row + 1]]
            if len(now):
                below = np.concatenate(([0], self._histogram.cumsum()))
                first, size = asking.first[now], len(self._histogram)
                found = below[np.clip(high - first + 1, 0, size)] - below[np.clip(low - first, 0, size)]
                total += int((found.astype(object) * asking.ways[now]).sum())
        return total

    def _fill(self, row: int) -> None:
        """Add the sums with this second cost."""
        rows = row - self._other.second
        partners = np.flatnonzero((rows >= 0) & (rows < len(self._starts) - 1))
        first, ways = self._one.first, self._one.ways
        starts, ends = (self._starts[rows[partners] + step].tolist() for step in (0, 1))
        shifts, factors = (part[partners].tolist() for part in (self._other.first, self._other.ways))
        for start, end, shift, factor in zip(starts, ends, shifts, factors):
            self._histogram[first[start:end] + shift] += ways[start:end] * factor  # distinct places: pairs are


def _explain_size(size: str) -> str:
    return (
        f"the window with a latency bound cannot be counted: its stages have {size}, too many to go through. Layers of "
        "one shape that take alike (as `tools.latency build` writes them) keep that small"
    )
