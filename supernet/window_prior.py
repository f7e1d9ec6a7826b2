"""Draws from a FLOPs window under a prior over operations: a coarse dynamic programme proposes, the exact cost decides.

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
from supernet.window_table import Stages

Prior = Sequence[Sequence[Mapping[int, float]]]
STAGE_END = -1
BLOCK = 2**15  # proposals drawn at once: their arrays stay in the processor's cache
FUTILE = 64  # blocks without a member, after which there is none
Step = tuple[int, int, float]  # (operation or STAGE_END, MACs, weight)


class PriorSampler:
    """Members of a window, each drawn in proportion to the product of its blocks' weights.

    Args:
        choices: the choices of each stage.
        fixed: MACs outside the stages.
        minimum: smallest cost of a member, in MACs, inclusive.
        maximum: largest cost of a member, in MACs, inclusive.
        prior: `prior[stage][layer]` maps each operation to its weight, 0 or above.
        bins: into how many buckets the costs up to `maximum` are cut at most.
    """

    def __init__(
        self, choices: Sequence[StageChoices], fixed: int, minimum: int, maximum: int, prior: Prior, bins: int = 2**14
    ):
        self._choices = choices
        self._bounds = minimum - fixed, maximum - fixed
        self._width = max(1, -(-(maximum - fixed) // bins))
        self._steps = [_stage_steps(stage, weights) for stage, weights in zip(choices, prior)]
        self._mass = self._masses()

    def sample(self, count: int, generator: torch.Generator) -> list[Stages]:
        """`count` independent members; none where the weights leave nothing to draw."""
        drawn: list[Stages] = []
        futile = 0
        while len(drawn) < count and self._mass[0][0][0] > 0 and futile < FUTILE:
            found = list(self.propose(min(BLOCK, 2 * count + 64), generator))
            futile = 0 if found else futile + 1
            drawn += found
        return drawn[:count]

    def propose(self, count: int, generator: torch.Generator) -> Iterator[Stages]:
        """Those of `count` independent draws from the superset that lie in the window."""
        buckets, macs = np.zeros(count, np.int64), np.zeros(count, np.int64)
        stages = []
        for stage, steps in enumerate(self._steps):
            chosen = np.full((count, len(steps) - 1), STAGE_END)
            deeper = np.arange(count)
            for depth in range(len(steps)):
                operations, costs = self._walk(stage, depth, buckets[deeper], generator)
                deeper, operations, costs = (part[operations != STAGE_END] for part in (deeper, operations, costs))
                if not len(deeper):
                    break
                chosen[deeper, depth] = operations
                macs[deeper] += costs
                buckets[deeper] += costs // self._width
            stages.append(chosen)
        low, high = self._bounds
        inside = (low <= macs) & (macs <= high)
        rows = zip(*(chosen[inside].tolist() for chosen in stages))
        return (tuple(tuple(op for op in stage if op != STAGE_END) for stage in row) for row in rows)

    def _masses(self) -> list[list[np.ndarray]]:
        low, high = self._bounds
        last, blocks = high // self._width, sum(len(steps) for steps in self._steps)
        following = np.zeros(last + 1)
        following[max(0, low // self._width - blocks) :] = 1.0
        masses: list[list[np.ndarray]] = [[following]]
        for steps in reversed(self._steps):
            levels: list[np.ndarray] = []
            for options in reversed(steps):
                mass = np.zeros(last + 1)
                for operation, macs, weight in options:
                    onward, shift = following if operation == STAGE_END else levels[0], macs // self._width
                    mass[: max(0, last + 1 - shift)] += weight * onward[shift:]
                levels.insert(0, mass)
            masses.insert(0, levels)
            following = levels[0]
        return masses

    def _walk(
        self, stage: int, depth: int, buckets: np.ndarray, generator: torch.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """One step of each draw: the operation (or the stage's end) and its MACs."""
        options = self._steps[stage][depth]
        operations, macs = np.array([option[:2] for option in options]).T
        if len(options) == 1:
            return np.repeat(operations, len(buckets)), np.repeat(macs, len(buckets))
        weights = np.stack([self._leads_to(stage, depth, option, buckets) for option in options])
        ends = weights.cumsum(0)
        uniform = torch.rand(len(buckets), generator=generator, device=generator.device, dtype=torch.float64)
        targets = uniform.cpu().numpy() * ends[-1]
        chosen = (ends <= targets).sum(0)
        return operations[chosen], macs[chosen]

    def _leads_to(self, stage: int, depth: int, option: Step, buckets: np.ndarray) -> np.ndarray:
        operation, macs, weight = option
        onward = self._mass[stage + 1][0] if operation == STAGE_END else self._mass[stage][depth + 1]
        reached = buckets + macs // self._width
        return np.where(reached < len(onward), weight * onward[np.minimum(reached, len(onward) - 1)], 0.0)


def _stage_steps(stage: StageChoices, weights: Sequence[Mapping[int, float]]) -> list[list[Step]]:
    """For each number of blocks so far, what may come next."""
    steps: list[list[Step]] = []
    for depth in range(max(stage.depths) + 1):
        more = stage.layers[depth].items() if depth < max(stage.depths) else ()
        options: list[Step] = [(operation, macs, weights[depth][operation]) for operation, macs in more]
        steps.append(options + [(STAGE_END, 0, 1.0)] * (depth in stage.depths))
    return steps
