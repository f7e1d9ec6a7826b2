"""The best architectures of a FLOPs window under an additive score: best-first search with an exact bound.

`after[k][b]` is the best score that the stages from k on can add to a prefix that costs b (in the units of
`window_table`) so that the whole lies inside the window: dynamic programming backwards over the stages. Inside a stage,
the few costs that its remaining blocks may add, each with its best score, meet that array. So the bound of a partial
path is the score of its best completion, the search never leaves the way to a solution, and k solutions cost k paths.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import accumulate
from math import frexp, isfinite, ldexp

import numpy as np

from supernet.window_stage import StageChoices, StageSums
from supernet.window_steps import STAGE_END
from supernet.window_table import Stages, window_bins

SCORE_BITS = 60  # totals of scores stay within 2**60,
IMPOSSIBLE = -(2**62)  # so that what lies below -2**61 is IMPOSSIBLE plus scores
BLOCK = 2**16  # bins handled at once, so that intermediate results stay in the processor's cache

Scores = Sequence[Sequence[Mapping[int, float]]]
Node = tuple[int, tuple[int, ...], int, int, int, int]  # (-bound, path, stage, depth in it, cost, score)


def best_first(
    stages: Sequence[StageSums], fixed: int, minimum: int, maximum: int, scores: Scores
) -> Iterator[tuple[float, Stages]]:
    """Yield the members of a window, best total score first, equal ones in architecture order.

    Scores are added in fixed point, with 60 bits for the largest total, so that the order of addition is irrelevant.

    Raises:
        ValueError: a score is not finite.
    """
    exponent = score_exponent(stages, scores)
    _, low, high = bins = window_bins(stages, fixed, minimum, maximum)
    if low > high:
        return
    for total, path in _Search(stages, *bins, scores, exponent).run():
        yield score_of(total, exponent), path


class _StageScores:
    """One stage's costs, in units above its cheapest blocks, with its scores as integers.

    `moves[d]` maps each operation of block d to (cost, score); `ends[d]` is what the stage's cost gains when it ends
    after d blocks (None: it must not); `rest[d]` holds the distinct costs that may follow d blocks up to the stage's
    end, and the best score with each.
    """

    def __init__(self, stage: StageSums, unit: int, scores: Sequence[Mapping[int, float]], exponent: int):
        steps = list(stage.steps(unit))
        self.ends = [end for _, end in steps]
        self.moves = [
            {name: (cost, round(ldexp(values[name], exponent))) for name, cost in zip(layer, costs)}
            for layer, (costs, _), values in zip(stage.layers, steps[1:], scores)
        ]
        self.span = stage.span // unit
        rest = (np.zeros(0, np.int64), np.zeros(0, np.int64))
        self.rest = [rest := self._extend_rest(depth, *rest) for depth in reversed(range(len(steps)))][::-1]

    def _extend_rest(self, depth: int, costs: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What may follow `depth` blocks, from what may follow one more."""
        moves = list(self.moves[depth].values()) if depth < len(self.moves) else []
        pairs = [(costs + cost, scores + score) for cost, score in moves]
        end = self.ends[depth]
        if end is not None:
            pairs.append((np.array([end]), np.array([0])))
        costs, scores = map(np.concatenate, zip(*pairs))
        order = np.argsort(costs, kind="stable")
        costs, scores = costs[order], scores[order]
        starts = np.flatnonzero(np.concatenate(([True], costs[1:] != costs[:-1])))
        return costs[starts], np.maximum.reduceat(scores, starts)

    def before(self, after: np.ndarray, size: int) -> np.ndarray:
        """The array `after` of this stage, of `size` bins, from the next stage's."""
        spans = [max(cost for cost, _ in layer.values()) for layer in self.moves]
        sizes = [min(len(after), size + span) for span in accumulate(spans, initial=0)]
        following = after[:0]
        for depth in reversed(range(len(sizes))):
            bound = np.full(sizes[depth], IMPOSSIBLE)
            end = self.ends[depth]
            if end is not None:
                _raise_bound(bound, after, end, 0)
            for cost, score in self.moves[depth].values() if depth < len(self.moves) else ():
                _raise_bound(bound, following, cost, score)
            following = bound
        following[-1] = IMPOSSIBLE
        return following


class _Search:
    """Paths are tuples of operations with STAGE_END after each stage."""

    def __init__(self, stages: Sequence[StageSums], unit: int, low: int, high: int, scores: Scores, exponent: int):
        self._stages = [_StageScores(stage, unit, values, exponent) for stage, values in zip(stages, scores)]
        spans = accumulate((stage.span for stage in self._stages), initial=0)
        sizes = [min(high, span) + 2 for span in spans]
        after = np.full(sizes[-1], IMPOSSIBLE)
        after[low:-1] = 0
        self._after = [after]
        for stage, size in zip(self._stages[:0:-1], sizes[-2::-1]):
            self._after.insert(0, stage.before(self._after[0], size))

    def run(self) -> Iterator[tuple[int, Stages]]:
        heap: list[Node] = []
        self._push(heap, (), 0, 0, 0, 0)
        while heap:
            _, path, stage, depth, cost, score = heappop(heap)
            if stage == len(self._stages):
                yield score, split_path(path)
                continue
            here = self._stages[stage]
            end = here.ends[depth]
            if end is not None:
                self._push(heap, (*path, STAGE_END), stage + 1, 0, cost + end, score)
            for name, (more, gain) in here.moves[depth].items() if depth < len(here.moves) else ():
                self._push(heap, (*path, name), stage, depth + 1, cost + more, score + gain)

    def _push(self, heap: list[Node], path: tuple[int, ...], stage: int, depth: int, cost: int, score: int) -> None:
        """Add a partial path, unless no completion of it is inside the window."""
        bound = self._bound(stage, depth, cost)
        if bound > IMPOSSIBLE // 2:
            heappush(heap, (-(score + bound), path, stage, depth, cost, score))

    def _bound(self, stage: int, depth: int, cost: int) -> int:
        if depth == 0 and stage > 0:
            return _at(self._after[stage - 1], cost)
        costs, scores = self._stages[stage].rest[depth]
        after = self._after[stage]
        return int((scores + after[np.minimum(cost + costs, len(after) - 1)]).max())


def _at(after: np.ndarray, cost: int) -> int:
    return int(after[min(cost, len(after) - 1)])


def _raise_bound(bound: np.ndarray, following: np.ndarray, cost: int, score: int) -> None:
    """From each bin, allow the step that leads `cost` further and adds `score`."""
    size = min(len(bound), len(following) - cost)
    for start in range(0, size, BLOCK):
        part = bound[start : min(start + BLOCK, size)]
        np.maximum(part, following[start + cost : start + cost + len(part)] + score, out=part)


def score_exponent(stages: Sequence[StageSums | StageChoices], scores: Scores) -> int:
    """The power of two by which scores are multiplied, so that the largest total stays within 2**SCORE_BITS."""
    largest = 0.0
    for stage, values in zip(stages, scores):
        for macs, layer in zip(stage.layers, values):
            largest += max(abs(layer[operation]) for operation in macs)
    if not isfinite(largest):
        raise ValueError("the scores of operations must be finite numbers")
    return SCORE_BITS - frexp(largest)[1] if largest else 0


def score_of(total: int, exponent: int) -> float:
    """A total in fixed point as the number that it stands for."""
    return total / 2**exponent if exponent >= 0 else float(total * 2**-exponent)


def split_path(path: tuple[int, ...]) -> Stages:
    """The stages of a path of operations with STAGE_END after each."""
    stages: list[tuple[int, ...]] = []
    stage: list[int] = []
    for step in path:
        if step == STAGE_END:
            stages.append(tuple(stage))
            stage = []
        else:
            stage.append(step)
    return tuple(stages)
