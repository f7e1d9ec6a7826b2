"""How often each operation and each depth occurs among the members of a window, as exact fractions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from supernet.window_stage import StageChoices, StageSums
from supernet.window_table import WindowTable

Shares = dict[int, Fraction]


@dataclass(frozen=True)
class Marginals:
    """Exact probabilities under the uniform distribution over a window.

    `operations[stage][layer]` maps each operation to the share of members that have it there; over the operations they
    add up to the share of members deep enough to have that layer. `depths[stage]` maps each depth to its share.
    """

    operations: tuple[tuple[Shares, ...], ...]
    depths: tuple[Shares, ...]

    def to_json(self) -> dict[str, Any]:
        """{operations: lists of stages of layers of {operation: share}, depths: list of {depth: share}}, as floats."""
        return {
            "operations": [[_floats(layer) for layer in stage] for stage in self.operations],
            "depths": [_floats(stage) for stage in self.depths],
        }


def window_marginals(choices: Sequence[StageChoices], fixed: int, minimum: int, maximum: int) -> Marginals:
    """The marginals of a window that is not empty (bounds in MACs, inclusive)."""
    sums = [StageSums(stage) for stage in choices]
    counted = []
    for index, (stage, costs) in enumerate(zip(choices, sums)):
        table = WindowTable(sums, fixed, minimum, maximum, last=index)
        counted.append(_stage_shares(stage, costs.costs, np.array(table.completions, object), table.count))
    operations, depths = zip(*counted)
    return Marginals(operations, depths)


def _stage_shares(
    stage: StageChoices, costs: np.ndarray, completions: np.ndarray, count: int
) -> tuple[tuple[Shares, ...], Shares]:
    """Shares of one stage, from how many choices of all other stages complete each of its costs."""

    def share(depths: Sequence[int], layers: Sequence[Mapping[int, int]] = stage.layers) -> Fraction:
        having = StageSums(StageChoices(tuple(depths), tuple(layers)))
        ways = having.ways.astype(object)
        return Fraction(int((ways * completions[np.searchsorted(costs, having.costs)]).sum()), count)

    def operation_share(layer: int, operation: int) -> Fraction:
        only = {operation: stage.layers[layer][operation]}
        deep = [depth for depth in stage.depths if depth > layer]
        return share(deep, [*stage.layers[:layer], only, *stage.layers[layer + 1 :]])

    operations = tuple({name: operation_share(layer, name) for name in macs} for layer, macs in enumerate(stage.layers))
    return operations, {depth: share([depth]) for depth in stage.depths}


def _floats(shares: Shares) -> dict[int, float]:
    return {name: float(share) for name, share in shares.items()}
