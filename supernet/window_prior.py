"""Draws from a window under a prior over operations: a coarse dynamic programme proposes, the exact costs decide.

An architecture's weight is the product of its blocks' weights. `mass[s][d][b]` is the total weight of all ways to go on
from d blocks of stage s, at a cost of b buckets, that may end inside the window; walking forward, each step is drawn in
proportion to the mass that it leads to. What is drawn is a superset of the window, since each block's cost is cut to
whole buckets; keeping what lies inside by its exact cost leaves each member a probability in proportion to its weight
(up to the rounding of float64, where `window_sampler` is exact).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch

from supernet.window_stage import StageChoices
from supernet.window_steps import STAGE_END, CoarseSteps, Step
from supernet.window_table import Stages

Prior = Sequence[Sequence[Mapping[int, float]]]
BLOCK = 2**15  # proposals drawn at once: their arrays stay in the processor's cache
FUTILE = 16  # ever larger blocks without a member, after which there is none


def even_prior(choices: Sequence[StageChoices]) -> Prior:
    """Weights of 1: each architecture is equally likely."""
    return [[dict.fromkeys(layer, 1.0) for layer in stage.layers] for stage in choices]


class PriorSampler:
    """Members of a window, each drawn in proportion to the product of its blocks' weights.

    Args:
        steps: the window.
        prior: `prior[stage][layer]` maps each operation to its weight, 0 or above.

    Attributes:
        mass: the total weight of what may be proposed; with weights of 1 their number.
    """

    def __init__(self, steps: CoarseSteps, prior: Prior) -> None:
        self._steps, self._prior = steps, prior
        self._mass = steps.backward(prior, (1.0, 1.0, 0.0), float, _add)
        self.mass = float(self._mass[0][0].flat[0]) if self._mass[0][0].size else 0.0

    def sample(self, count: int, generator: torch.Generator) -> list[Stages]:
        """`count` independent members; none where the weights leave nothing to draw, or next to nothing."""
        drawn: list[Stages] = []
        futile = 0
        while self.mass and len(drawn) < count and futile < FUTILE:
            found = list(self.propose(min(BLOCK, (2 * count + 64) << futile), generator))
            futile = 0 if found else futile + 1
            drawn += found
        return drawn[:count]

    def propose(self, count: int, generator: torch.Generator) -> Iterator[Stages]:
        """Those of `count` independent draws from the superset that lie in the window; none where it is empty."""
        if not self.mass:
            return iter(())
        kinds = len(self._steps.highs)
        buckets, costs = np.zeros((count, kinds), np.int64), np.zeros((count, kinds), np.int64)
        stages = []
        for stage, levels in enumerate(self._steps.stages):
            chosen = np.full((count, len(levels) - 1), STAGE_END)
            deeper = np.arange(count)
            for depth, steps in enumerate(levels):
                places = self._walk(stage, depth, buckets[deeper], generator)
                operations = np.array([step.operation for step in steps])[places]
                costs[deeper] += np.array([step.costs for step in steps])[places]
                buckets[deeper] += np.array([step.buckets for step in steps])[places]
                onward = operations != STAGE_END
                deeper, operations = deeper[onward], operations[onward]
                if not len(deeper):
                    break
                chosen[deeper, depth] = operations
            stages.append(chosen)
        inside = ((self._steps.lows <= costs) & (costs <= self._steps.highs)).all(1)
        rows = zip(*(chosen[inside].tolist() for chosen in stages))
        return (tuple(tuple(op for op in stage if op != STAGE_END) for stage in row) for row in rows)

    def _walk(self, stage: int, depth: int, buckets: np.ndarray, generator: torch.Generator) -> np.ndarray:
        """One step of each draw, as its place among the steps."""
        steps = self._steps.stages[stage][depth]
        if len(steps) == 1:
            return np.zeros(len(buckets), np.int64)
        ends = np.stack([self._leads_to(stage, depth, step, buckets) for step in steps]).cumsum(0)
        uniform = torch.rand(len(buckets), generator=generator, device=generator.device, dtype=torch.float64)
        return (ends <= uniform.cpu().numpy() * ends[-1]).sum(0)

    def _leads_to(self, stage: int, depth: int, step: Step, buckets: np.ndarray) -> np.ndarray:
        """(N,): the weight of each draw's ways on, if it takes this step."""
        ending = step.operation == STAGE_END
        onward = self._mass[stage + 1][0] if ending else self._mass[stage][depth + 1]
        weight = 1.0 if ending else self._prior[stage][depth][step.operation]
        reached, last = (buckets + step.buckets).T, np.array(onward.shape)[:, None] - 1
        return np.where((reached <= last).all(0), weight * onward[tuple(np.minimum(reached, last))], 0.0)


def _add(mass: np.ndarray, onward: np.ndarray, weight: float) -> None:
    mass += weight * onward
