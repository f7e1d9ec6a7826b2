"""The best architectures inside bounds on several costs: best-first search with a bound that is never too low.

`best[s][d][b]` is the largest score that walks from d blocks of stage s on, at a cost of b buckets, may still add and
end inside the window (`window_steps`). A bucket holds more than one cost, so that the bound may be too high near the
window's edge, never too low: what the search yields is in order, and exact costs decide about each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from math import ldexp

import numpy as np

from supernet.window_best import IMPOSSIBLE, Scores, score_exponent, score_of, split_path
from supernet.window_stage import StageChoices
from supernet.window_steps import STAGE_END, CoarseSteps, Costs
from supernet.window_table import Stages

Node = tuple[int, tuple[int, ...], int, int, Costs, Costs, int]  # (-bound, path, stage, depth, costs, buckets, score)


class BoundedSearch:
    """Members of a window, best total score first, equal ones in architecture order.

    Args:
        choices: what the steps were made of.
        steps: the window.
        scores: `scores[stage][layer]` maps each operation to its score; totals are added in fixed point, as
            `window_best` adds them.

    Raises:
        ValueError: a score is not finite.
    """

    def __init__(self, choices: Sequence[StageChoices], steps: CoarseSteps, scores: Scores) -> None:
        self._exponent = score_exponent(choices, scores)
        self._steps = steps
        self._scores = [
            [{name: round(ldexp(value, self._exponent)) for name, value in layer.items()} for layer in stage]
            for stage in scores
        ]
        self._best = steps.backward(self._scores, (0, 0, IMPOSSIBLE), np.int64, _raise)

    def run(self) -> Iterator[tuple[float, Stages]]:
        """The members, one by one."""
        heap: list[Node] = []
        none = (0,) * len(self._steps.highs)
        self._push(heap, (), 0, 0, none, none, 0)
        while heap:
            _, path, stage, depth, costs, buckets, score = heappop(heap)
            if stage == len(self._steps.stages):
                if all(low <= cost <= high for low, cost, high in zip(self._steps.lows, costs, self._steps.highs)):
                    yield score_of(score, self._exponent), split_path(path)
                continue
            for step in self._steps.stages[stage][depth]:
                ending = step.operation == STAGE_END
                place = (stage + 1, 0) if ending else (stage, depth + 1)
                gain = 0 if ending else self._scores[stage][depth][step.operation]
                reached = _sum(costs, step.costs), _sum(buckets, step.buckets)
                self._push(heap, (*path, step.operation), *place, *reached, score + gain)

    def _push(
        self, heap: list[Node], path: tuple[int, ...], stage: int, depth: int, costs: Costs, buckets: Costs, score: int
    ) -> None:
        """Add a partial path, unless no completion of it is inside the window."""
        best = self._best[stage][depth]
        if any(bucket >= size for bucket, size in zip(buckets, best.shape)):
            return
        bound = int(best[buckets])
        if bound > IMPOSSIBLE // 2:
            heappush(heap, (-(score + bound), path, stage, depth, costs, buckets, score))


def _sum(first: Costs, second: Costs) -> Costs:
    return tuple(map(sum, zip(first, second)))


def _raise(best: np.ndarray, onward: np.ndarray, score: int) -> None:
    np.maximum(best, onward + score, out=best)
