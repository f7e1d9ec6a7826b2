"""The best architectures of a FLOPs window under an additive score: best-first search with an admissible bound.

`bounds[stage][depth][q]` is at least the best score that can still be added by a path which has `depth` blocks of
`stage` and costs that fall in bucket q, and which ends inside the window; it is exact while buckets are one unit wide.
Wider buckets lose no path (a sum of rounded costs is followed into both buckets it may fall in), so the search is exact
either way: a path counts only if its exact cost is inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from math import frexp, gcd, isfinite, ldexp

import numpy as np

from supernet.window_stage import StageChoices

BUCKETS = 2**18
SCORE_BITS = 60  # totals of scores stay within 2**60,
IMPOSSIBLE = -(2**62)  # so that what lies below -2**61 is IMPOSSIBLE plus scores

Scores = Sequence[Sequence[Mapping[int, float]]]
Stages = tuple[tuple[int, ...], ...]
Layers = list[list[dict[int, int]]]
State = tuple[int, int, int, int]  # stage, depth in it, cost and score so far
STAGE_END = -1  # below every operation index: with it, partial paths sort as their architectures do


def best_first(stages: Sequence[StageChoices], low: int, high: int, scores: Scores) -> Iterator[tuple[float, Stages]]:
    """Yield the paths whose MACs lie in [low, high], best total score first, equal ones in architecture order.

    Scores are added in fixed point, with 60 bits for the largest total, so that the order of addition is irrelevant.

    Raises:
        ValueError: a score is not finite.
    """
    exponent = _exponent(stages, scores)
    values = [
        [{operation: round(ldexp(layer[operation], exponent)) for operation in macs} for macs, layer in zip(*pair)]
        for pair in zip((stage.layers for stage in stages), scores)
    ]
    search = _Search(stages, low, high, values)
    for total, path in search.run():
        yield (total / 2**exponent if exponent >= 0 else float(total * 2**-exponent)), path


class _Search:
    """Costs in units of their greatest common divisor, scores as integers."""

    def __init__(self, stages: Sequence[StageChoices], low: int, high: int, values: Layers):
        self._depths = [stage.depths for stage in stages]
        self._values = values
        unit = gcd(*(macs for stage in stages for layer in stage.layers for macs in layer.values())) or 1
        self._layers = [
            [{operation: macs // unit for operation, macs in layer.items()} for layer in stage.layers]
            for stage in stages
        ]
        costliest = sum(max(layer.values()) for stage in self._layers for layer in stage)
        self._low, self._high = max(0, -(-low // unit)), min(high // unit, costliest)
        self._width = max(1, -(-(self._high + 1) // BUCKETS))
        self._bounds = self._build_bounds() if self._low <= self._high else []

    def _build_bounds(self) -> list[list[np.ndarray]]:
        """Backwards over stages and blocks; the last bucket of each array lies beyond the window."""
        after = np.full(self._high // self._width + 2, IMPOSSIBLE)
        after[self._low // self._width : -1] = 0
        bounds: list[list[np.ndarray]] = []
        for depths, layers, values in reversed(list(zip(self._depths, self._layers, self._values))):
            stage = [after] if len(layers) in depths else [np.full_like(after, IMPOSSIBLE)]
            for depth in reversed(range(len(layers))):
                bound = after.copy() if depth in depths else np.full_like(after, IMPOSSIBLE)
                for operation, cost in layers[depth].items():
                    self._raise_bound(bound, stage[0], cost, values[depth][operation])
                stage.insert(0, bound)
            bounds.insert(0, stage)
            after = stage[0]
        return bounds

    def _raise_bound(self, bound: np.ndarray, following: np.ndarray, cost: int, value: int) -> None:
        """Allow one operation: from each bucket it leads `cost` further, or to the next bucket."""
        for buckets in {cost // self._width, -(-cost // self._width)}:
            size = len(bound) - buckets
            if size > 0:
                np.maximum(bound[:size], following[buckets:] + value, out=bound[:size])

    def run(self) -> Iterator[tuple[int, Stages]]:
        """Paths are tuples of operations with STAGE_END after each stage; the heap holds (-bound, path, state)."""
        heap: list[tuple[int, tuple[int, ...], State]] = []
        if self._bounds:
            heap.append((0, (), (0, 0, 0, 0)))
        while heap:
            _, path, (stage, depth, cost, value) = heappop(heap)
            if stage == len(self._depths):
                yield value, _split(path)
                continue
            for step, following in self._following(stage, depth, cost, value):
                bound = self._remaining(*following[:3])
                if bound is not None:
                    heappush(heap, (-(following[3] + bound), (*path, step), following))

    def _remaining(self, stage: int, depth: int, cost: int) -> int | None:
        """Bound on the score to come, None where nothing inside the window follows."""
        if stage == len(self._depths):
            return 0 if self._low <= cost <= self._high else None
        bounds = self._bounds[stage][depth]
        bound = int(bounds[min(cost // self._width, len(bounds) - 1)])
        return bound if bound > IMPOSSIBLE // 2 else None

    def _following(self, stage: int, depth: int, cost: int, value: int) -> Iterator[tuple[int, State]]:
        """Each step from a state and the state it leads to."""
        if depth in self._depths[stage]:
            yield STAGE_END, (stage + 1, 0, cost, value)
        if depth < len(self._layers[stage]):
            for operation, macs in self._layers[stage][depth].items():
                gain = self._values[stage][depth][operation]
                yield operation, (stage, depth + 1, cost + macs, value + gain)


def _exponent(stages: Sequence[StageChoices], scores: Scores) -> int:
    """The power of two by which scores are multiplied, so that the largest total stays within 2**SCORE_BITS."""
    largest = 0.0
    for stage, values in zip(stages, scores):
        for macs, layer in zip(stage.layers, values):
            largest += max(abs(layer[operation]) for operation in macs)
    if not isfinite(largest):
        raise ValueError("the scores of operations must be finite numbers")
    return SCORE_BITS - frexp(largest)[1] if largest else 0


def _split(path: tuple[int, ...]) -> Stages:
    stages: list[tuple[int, ...]] = []
    stage: list[int] = []
    for step in path:
        if step == STAGE_END:
            stages.append(tuple(stage))
            stage = []
        else:
            stage.append(step)
    return tuple(stages)
