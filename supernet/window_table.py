"""The dynamic programme behind a FLOPs window: exact counts of architectures by cost, and a number for each of them.

Costs are measured from the cheapest architecture in units of the greatest common divisor of all differences, so that
dense arrays over them are short. With the stages put in a row, `prefix[k][b]` is the number of ways in which the first
k stages cost exactly b; block by block it is a sum of a few shifted copies of its predecessor. The last stage (the
widest) needs no array: its few distinct costs meet the running sum of the last prefix. An architecture's number is read
off backwards: the last stage's cost, then each earlier stage's, then the variants inside the stages.

Nothing is ever rounded: counts beyond int64 are held as limbs of 32 bits, lowest first, in int64 arrays (limbs, bins).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from functools import reduce
from itertools import accumulate, pairwise
from operator import mul, or_, sub

import numpy as np

from supernet.window_stage import StageSums, StageVariants, choose, ways_dtype

LIMB_BITS = 32
SCATTER = 4  # pairs of a prefix and a stage cost for each bin, up to which adding pairs beats adding arrays
BLOCK = 512  # architectures unranked at once: bounds the (block, distinct stage costs) arrays to some 10 MB

PIECE = 2**15  # bins added up at once

Stages = tuple[tuple[int, ...], ...]


def cost_unit(stages: Iterable[StageSums | StageVariants]) -> int:
    """The greatest common divisor of all cost differences, in MACs (1 where all costs are equal)."""
    return int(np.gcd.reduce(np.concatenate([stage.costs - stage.costs[0] for stage in stages]))) or 1


def window_bins(
    stages: Sequence[StageSums | StageVariants], fixed: int, minimum: int, maximum: int
) -> tuple[int, int, int]:
    """The cost unit, and the first and last unit above the cheapest architecture that lie in a window of MACs."""
    unit = cost_unit(stages)
    cheapest = fixed + sum(int(stage.costs[0]) for stage in stages)
    span = sum(stage.span for stage in stages)
    return unit, max(0, -((cheapest - minimum) // unit)), min(maximum - cheapest, span) // unit


class WindowTable:
    """The members of a window, numbered from 0 to `count` - 1.

    Args:
        stages: the choices of each stage, in the architecture's order.
        fixed: MACs outside the stages.
        minimum: smallest cost of a member, in MACs, inclusive.
        maximum: largest cost of a member, in MACs, inclusive.
        last: the stage to put last (None: the widest).
    """

    def __init__(self, stages: Sequence[StageSums], fixed: int, minimum: int, maximum: int, last: int | None = None):
        self._stages = stages
        self._unit, self._low, self._high = window_bins(stages, fixed, minimum, maximum)
        free = [index for index, stage in enumerate(stages) if stage.variants > 1]
        self._order = sorted(free, key=lambda index: stages[index].span) or [0]
        if last is not None:
            self._order = [index for index in self._order if index != last] + [last]
        self._offsets = [(stage.costs - stage.costs[0]) // self._unit for stage in stages]
        self._starts = [0]
        if self._low <= self._high:
            self._build()
        self.count = self._starts[-1]

    @property
    def completions(self) -> list[int]:
        """For each cost of the last stage, how many choices of the others bring it into the window (not empty)."""
        return self._last_ways

    def unrank_many(self, numbers: Sequence[int]) -> list[Stages]:
        """The members with these numbers, each below `count`."""
        blocks = (numbers[start : start + BLOCK] for start in range(0, len(numbers), BLOCK))
        return [stages for block in blocks for stages in self._unrank_block(block)]

    def rank(self, stages: Stages) -> int:
        """Inverse of `unrank_many` for one member."""
        places = [self._place(index, stages[index]) for index in self._order]
        bins = [0, *accumulate(int(self._offsets[index][chosen]) for index, (chosen, _) in zip(self._order, places))]
        last, number = places[-1]
        rank = self._starts[last] + number * self._last_ways[last] - self._last_below[last]
        rank += int(_gather(self._below, bins[-2]))
        for position, (chosen, number) in enumerate(places[:-1]):
            weights = self._weights(position, np.array([bins[position + 1]]))[0]
            rank += int(weights[:chosen].sum()) + number * int(_gather(self._prefixes[position], bins[position]))
        return rank

    def _build(self) -> None:
        """Fill the prefixes and their running sum, and count the members by the last stage's cost."""
        variants = [self._stages[index].variants for index in self._order]
        self._totals = list(accumulate(variants[:-1], mul, initial=1))
        self._prefixes = [np.array([[1, 0]])]
        for index, total in zip(self._order, self._totals[1:]):
            self._prefixes.append(self._extend(self._prefixes[-1], index, total))
        complete = self._prefixes.pop()
        self._below = np.zeros_like(complete)
        np.cumsum(complete[:, :-1], axis=1, out=self._below[:, 1:])
        _carry(self._below)
        offsets, bound = self._offsets[self._order[-1]], complete.shape[1] - 1
        self._last_below = _gather(self._below, np.clip(self._low - offsets, 0, bound)).tolist()
        ends = _gather(self._below, np.clip(self._high + 1 - offsets, 0, bound)).tolist()
        self._last_ways = list(map(sub, ends, self._last_below))
        self._starts = list(
            accumulate(map(mul, self._last_ways, self._stages[self._order[-1]].ways.tolist()), initial=0)
        )

    def _extend(self, prefix: np.ndarray, index: int, total: int) -> np.ndarray:
        """One stage more: (limbs, bins) -> (limbs, bins); the last bin is kept at 0 for costs that do not occur."""
        span = prefix.shape[1] - 2 + self._stages[index].span // self._unit
        size = min(span, self._high) + 2
        limbs = 1 + max(0, -(-(total.bit_length() - 63) // LIMB_BITS))
        extended = np.zeros((limbs, size), np.int64)
        if limbs == 1 and np.count_nonzero(prefix) * len(self._offsets[index]) <= SCATTER * size:
            self._scatter(extended[0], prefix[0], index)
        else:
            self._convolve(extended, prefix, index)
        extended[:, -1] = 0
        return extended

    def _scatter(self, extended: np.ndarray, prefix: np.ndarray, index: int) -> None:
        """Add up the pairs of an occurring prefix cost and a stage cost: for prefixes with few costs."""
        used = np.flatnonzero(prefix)
        pairs = [(used, prefix[used]), (self._offsets[index], self._stages[index].ways)]
        (few, few_ways), (many, many_ways) = sorted(pairs, key=lambda pair: len(pair[0]))
        for offset, ways in zip(few.tolist(), few_ways.tolist()):
            size = np.searchsorted(many, len(extended) - offset)
            extended[many[:size] + offset] += many_ways[:size] * ways

    def _convolve(self, extended: np.ndarray, prefix: np.ndarray, index: int) -> None:
        """Add up shifted arrays, layer by layer: for prefixes in which most costs occur."""
        leading = np.zeros((len(extended), prefix.shape[1]), np.int64)
        leading[: len(prefix)] = prefix
        _carry(leading)
        for offsets, shift in self._stages[index].steps(self._unit):
            if len(offsets) > 1:
                longer = np.zeros((len(extended), min(leading.shape[1] + max(offsets), extended.shape[1])), np.int64)
                _add(longer, leading, offsets)
                _carry(longer)
                leading = longer
            if shift is not None:
                _add(extended, leading, [shift])
        _carry(extended)

    def _weights(self, position: int, bins: np.ndarray) -> np.ndarray:
        """(N, J): how many ways reach each of N bins with each of the J costs of the stage at this position."""
        index, prefix = self._order[position], self._prefixes[position]
        earlier = np.clip(bins[:, None] - self._offsets[index], -1, prefix.shape[1] - 1)
        ways: np.ndarray = _gather(prefix, earlier).astype(ways_dtype(self._totals[position + 1]), copy=False)
        return ways * self._stages[index].ways

    def _unrank_block(self, numbers: Sequence[int]) -> list[Stages]:
        variants = [[stage.first] * len(numbers) for stage in self._stages]
        chosen, within, left = self._split_last(numbers)
        variants[self._order[-1]] = self._variants(self._order[-1], chosen, within)
        bins = self._search(left)
        left = left - _gather(self._below, bins)
        for position in reversed(range(len(self._order) - 1)):
            index = self._order[position]
            chosen, left = choose(self._weights(position, bins), left)
            bins = bins - self._offsets[index][chosen]
            ways = _gather(self._prefixes[position], bins)
            variants[index] = self._variants(index, chosen, left // ways)
            left = (left % ways).astype(ways.dtype)
        return list(zip(*variants))

    def _split_last(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Each number as the last stage's cost, the variant's number at that cost, and the number of the prefix."""
        chosen = [bisect_right(self._starts, number) - 1 for number in numbers]
        pairs = [divmod(number - self._starts[j], self._last_ways[j]) for number, j in zip(numbers, chosen)]
        within = np.array([number for number, _ in pairs], self._stages[self._order[-1]].ways.dtype)
        left = [number + self._last_below[j] for (_, number), j in zip(pairs, chosen)]
        return np.array(chosen), within, np.array(left, ways_dtype(self._totals[-1]))

    def _variants(self, index: int, chosen: np.ndarray, within: np.ndarray) -> list[tuple[int, ...]]:
        stage = self._stages[index]
        return stage.unrank(stage.costs[chosen], within.astype(stage.ways.dtype, copy=False))

    def _search(self, numbers: np.ndarray) -> np.ndarray:
        """The bin of each number among all prefixes ordered by cost."""
        if len(self._below) == 1:
            return np.searchsorted(self._below[0], numbers, side="right") - 1
        low = np.zeros(len(numbers), np.int64)
        high = np.full(len(numbers), self._below.shape[1])
        while (high - low > 1).any():
            middle = (low + high) // 2
            right = _gather(self._below, middle) <= numbers
            low, high = np.where(right, middle, low), np.where(right, high, middle)
        return low

    def _place(self, index: int, variant: tuple[int, ...]) -> tuple[int, int]:
        """A stage's variant as the index of its cost and its number at that cost."""
        cost, number = self._stages[index].rank(variant)
        return int(np.searchsorted(self._stages[index].costs, cost)), number


def reachable(stages: Sequence[StageSums], unit: int) -> int:
    """The costs that architectures have, as a bit set: bit b stands for b units above the cheapest."""
    reached = 1
    for stage in stages:
        leading, reached_next = reached, 0
        for offsets, shift in stage.steps(unit):
            leading = reduce(or_, (leading << offset for offset in set(offsets)))
            if shift is not None:
                reached_next |= leading << shift
        reached = reached_next
    return reached


def nearest_costs(stages: Sequence[StageSums], fixed: int, minimum: int, maximum: int) -> tuple[int, int]:
    """For a window inside the feasible range: the largest cost below `minimum`, and the smallest from it on."""
    unit, low, _ = window_bins(stages, fixed, minimum, maximum)
    reached = reachable(stages, unit)
    beyond = reached >> low
    above = low + (beyond & -beyond).bit_length() - 1
    below = (reached & ((1 << low) - 1)).bit_length() - 1
    cheapest = fixed + sum(int(stage.costs[0]) for stage in stages)
    return cheapest + below * unit, cheapest + above * unit


def _add(target: np.ndarray, source: np.ndarray, offsets: Sequence[int]) -> None:
    """Add copies of (limbs, bins) to a target, each by its offset further; what lies beyond its end is dropped.

    The target is gone through piece by piece, so that a piece stays in the processor's cache for all copies.
    """
    for start in range(0, target.shape[1], PIECE):
        for offset in offsets:
            first, stop = max(start, offset), min(start + PIECE, target.shape[1], offset + source.shape[1])
            if first < stop:
                target[:, first:stop] += source[:, first - offset : stop - offset]


def _carry(limbs: np.ndarray) -> None:
    """Bring all limbs but the highest below 2**32."""
    for low, high in pairwise(limbs):
        high += low >> LIMB_BITS
        low &= (1 << LIMB_BITS) - 1


def _gather(limbs: np.ndarray, index: np.ndarray | int) -> np.ndarray:
    """Entries of (limbs, bins) as whole numbers: int64 where one limb holds everything, else Python integers."""
    if len(limbs) == 1:
        return limbs[0][index]
    return sum(limb[index].astype(object) << (LIMB_BITS * place) for place, limb in enumerate(limbs))
