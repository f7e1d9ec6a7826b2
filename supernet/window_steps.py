"""A window as a walk over buckets of its costs, block by block: what draws under a prior and bounded searches share.

A step takes one operation, or ends the stage. Its costs, one or two of them (MACs, latency), are cut to whole buckets,
so that walks which end inside the buckets of the window are a superset of it; exact costs decide in the end.
`backward` is dynamic programming over the walk in any semiring: sums of products to draw, largest sums to bound.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from supernet.window_stage import StageChoices

STAGE_END = -1  # below every operation index: with it, walks sort as their architectures do
Costs = tuple[int, ...]  # one of each kind
Values = Sequence[Sequence[Mapping[int, Any]]]  # [stage][layer]: operation -> weight or score


@dataclass(frozen=True)
class Step:
    """An operation, or STAGE_END, with what it costs exactly and in buckets."""

    operation: int
    costs: Costs
    buckets: Costs


class CoarseSteps:
    """The steps of a window; costs are counted above what no walk can do without, so that all are at least 0.

    Args:
        choices: the choices of each stage.
        split: the costs that a number of `choices` stands for.
        lows: smallest total of each cost, inclusive.
        highs: largest, inclusive.
        bins: into how many buckets each cost is cut at most.

    Attributes:
        stages: the steps after each number of blocks of each stage.
        lows, highs: the bounds, on the same count.
    """

    def __init__(
        self,
        choices: Sequence[StageChoices],
        split: Callable[[int], Costs],
        lows: Sequence[int],
        highs: Sequence[int],
        bins: Sequence[int],
    ) -> None:
        stages = [_exact_steps(stage, split, len(lows)) for stage in choices]
        base = np.sum([floor for _, floor in stages], axis=0)
        most = np.sum([_most(steps) for steps, _ in stages], axis=0)
        self.lows = np.array(lows) - base
        self.highs = np.minimum(np.array(highs) - base, most)
        widths = np.maximum(1, -(-self.highs // np.array(bins)))
        self.stages = [
            [[Step(one, costs, tuple((np.array(costs) // widths).tolist())) for one, costs in level] for level in steps]
            for steps, _ in stages
        ]
        lost = np.sum([_most(steps, widths) for steps, _ in stages], axis=0)
        self._first = np.maximum(0, -((lost - self.lows) // widths))
        self._shape = tuple((np.maximum(self.highs, -1) // widths + 1).tolist())

    def backward(
        self,
        values: Values,
        ends: tuple[Any, Any, Any],
        dtype: type,
        join: Callable[[np.ndarray, np.ndarray, Any], None],
    ) -> list[list[np.ndarray]]:
        """For each stage and number of blocks an array over buckets: what walks from there on may come to.

        Args:
            values: of each operation.
            ends: the value of STAGE_END, of a walk's end in buckets that the window may have, and of any other.
            join: takes a step into an array in place: (part of it, the part that the step leads to, the step's value).

        Returns:
            One list a stage, and a last one for the end of the walk.
        """
        stage_end, inside, outside = ends
        following = np.full(self._shape, outside, dtype)
        following[tuple(slice(first, None) for first in self._first.tolist())] = inside
        levels: list[list[np.ndarray]] = [[following]]
        for stage, layers in zip(reversed(self.stages), reversed(values)):
            here: list[np.ndarray] = []
            for depth in reversed(range(len(stage))):
                array = np.full(self._shape, outside, dtype)
                for step in stage[depth]:
                    ending = step.operation == STAGE_END
                    onward = following if ending else here[0]
                    kept = tuple(slice(max(0, size - shift)) for size, shift in zip(self._shape, step.buckets))
                    reached = onward[tuple(slice(shift, None) for shift in step.buckets)]
                    join(array[kept], reached, stage_end if ending else layers[depth][step.operation])
                here.insert(0, array)
            levels.insert(0, here)
            following = here[0]
        return levels


def _exact_steps(
    stage: StageChoices, split: Callable[[int], Costs], kinds: int
) -> tuple[list[list[tuple[int, Costs]]], np.ndarray]:
    """The steps of a stage with their costs above a floor, and the floor.

    A layer that all depths have gives the least of its operations to the floor; one that may be left out does so only
    where that is below 0, and leaving it out then costs as much.
    """
    deepest = max(stage.depths)
    layers = [{name: split(cost) for name, cost in layer.items()} for layer in stage.layers[:deepest]]
    floors = np.array([np.min(list(layer.values()), 0) for layer in layers]).reshape(deepest, kinds)
    optional = slice(min(stage.depths), None)
    floors[optional] = np.minimum(floors[optional], 0)
    steps: list[list[tuple[int, Costs]]] = []
    for depth in range(deepest + 1):
        more = layers[depth].items() if depth < deepest else ()
        level = [(name, tuple((np.array(costs) - floors[depth]).tolist())) for name, costs in more]
        if depth in stage.depths:
            level.append((STAGE_END, tuple((-floors[depth:].sum(0)).tolist())))
        steps.append(level)
    return steps, floors.sum(0)


def _most(steps: list[list[tuple[int, Costs]]], modulo: np.ndarray | None = None) -> np.ndarray:
    """The largest costs (or what cutting them to buckets may lose) of a stage's steps, summed up over its blocks."""
    rows = [np.array([costs for _, costs in level]) for level in steps]
    return np.sum([(row if modulo is None else row % modulo).max(0) for row in rows], axis=0)
