"""One stage of a FLOPs window: which costs its variants have, how many variants have each, and which they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate, product, repeat
from math import prod

import numpy as np

from supernet.cost import StageCosts

INT64_LIMIT = 2**63


def ways_dtype(total: int) -> type:
    """The dtype of exact counts that add up to `total`: int64, or Python integers where int64 might overflow."""
    return np.int64 if total < INT64_LIMIT else object


def choose(weights: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of K consecutive ranges of lengths `weights` (N, K) each number (N,) falls in, and its place there."""
    ends = np.cumsum(weights, axis=1)
    chosen = (ends <= numbers[:, None]).sum(axis=1)
    rows = np.arange(len(numbers))
    return chosen, numbers - (ends[rows, chosen] - weights[rows, chosen])


@dataclass(frozen=True)
class StageChoices:
    """What one stage may be: the allowed depths, ascending, and for each layer the MACs of the allowed operations.

    A whole stage of a space and a stage in which only some genes are free are both such values.
    """

    depths: tuple[int, ...]
    layers: tuple[Mapping[int, int], ...]

    @classmethod
    def from_costs(cls, stage: StageCosts) -> StageChoices:
        """Every choice that the space allows."""
        layers = tuple({operation: layer[operation].macs for operation in sorted(layer)} for layer in stage.layers)
        return cls(tuple(range(stage.minimum_depth, stage.maximum_depth + 1)), layers)

    @property
    def variants(self) -> int:
        """How many variants there are."""
        return sum(prod(len(layer) for layer in self.layers[:depth]) for depth in self.depths)

    @property
    def extremes(self) -> tuple[int, int]:
        """MACs of the cheapest and of the costliest variant."""
        layers = [layer.values() for layer in self.layers]
        cheapest, costliest = (list(accumulate(map(end, layers), initial=0)) for end in (min, max))
        return min(cheapest[depth] for depth in self.depths), max(costliest[depth] for depth in self.depths)

    def __contains__(self, variant: tuple[int, ...]) -> bool:
        return len(variant) in self.depths and all(map(lambda layer, index: index in layer, self.layers, variant))


class StageSums:
    """The costs of a stage's variants, sorted and distinct, and the number of variants of each cost.

    `costs` (J,) int64 in MACs, `ways` (J,). Blocks of a stage are mostly alike, so that J stays small (2,772 for 55,986
    variants in Cream's largest stage). The variants of one cost are numbered from 0 by `rank` and `unrank`, through
    the same table for each number of leading layers.
    """

    def __init__(self, choices: StageChoices):
        self.depths = choices.depths
        self.layers = choices.layers[: max(choices.depths)]
        self.variants = choices.variants
        self._leading: list[tuple[np.ndarray, np.ndarray]] = [
            (np.zeros(1, np.int64), np.ones(1, ways_dtype(self.variants)))
        ]
        for layer in self.layers:
            self._leading.append(_append_layer(*self._leading[-1], np.array(list(layer.values()), np.int64)))
        self.costs, self.ways = self._leading[-1]
        if len(self.depths) > 1:
            self.costs, self.ways = merge_costs(
                *map(np.concatenate, zip(*(self._leading[depth] for depth in self.depths)))
            )

    @property
    def span(self) -> int:
        """Largest less smallest cost."""
        return int(self.costs[-1] - self.costs[0])

    @property
    def first(self) -> tuple[int, ...]:
        """The first variant that the choices name: the only one of a fixed stage."""
        return tuple(next(iter(layer)) for layer in self.layers[: self.depths[0]])

    def steps(self, unit: int) -> Iterator[tuple[list[int], int | None]]:
        """The stage as a chain of convolutions over costs in units, the stage's smallest cost being 0.

        Yields for each depth from 0 the offsets of its last layer's operations over the cheapest of them, and the
        offset of the depth's cheapest variant (None where that depth is not allowed).
        """
        cheapest = 0
        for depth in range(len(self.layers) + 1):
            layer = list(self.layers[depth - 1].values()) if depth else [0]
            cheapest += min(layer)
            shift = (cheapest - int(self.costs[0])) // unit if depth in self.depths else None
            yield [(cost - min(layer)) // unit for cost in layer], shift

    def rank(self, variant: tuple[int, ...]) -> tuple[int, int]:
        """A variant's cost in MACs, and its number among the variants of that cost."""
        cost = left = sum(layer[operation] for layer, operation in zip(self.layers, variant))
        number = sum(self._ways(depth, cost) for depth in self.depths if depth < len(variant))
        for index, chosen in reversed(list(enumerate(variant))):
            for operation, macs in self.layers[index].items():
                if operation == chosen:
                    left -= macs
                    break
                number += self._ways(index, left - macs)
        return cost, number

    def unrank(self, costs: np.ndarray, numbers: np.ndarray) -> list[tuple[int, ...]]:
        """Inverse of `rank` for N costs and numbers at once."""
        left, numbers = costs.copy(), numbers.copy()
        depths = np.full(len(left), self.depths[0])
        if len(self.depths) > 1:
            weights = np.stack([_lookup(*self._leading[depth], left) for depth in self.depths], axis=1)
            chosen, numbers = choose(weights, numbers)
            depths = np.array(self.depths)[chosen]
        operations = np.zeros((len(left), len(self.layers)), np.int64)
        for index in reversed(range(len(self.layers))):
            names, macs = (np.array(list(part)) for part in (self.layers[index], self.layers[index].values()))
            deep = np.flatnonzero(depths > index) if index >= self.depths[0] else slice(None)
            chosen = np.zeros(1, np.int64)
            if len(names) > 1:
                weights = _lookup(*self._leading[index], left[deep, None] - macs)
                chosen, numbers[deep] = choose(weights, numbers[deep])
            operations[deep, index] = names[chosen]
            left[deep] -= macs[chosen]
        return [tuple(row[:depth]) for row, depth in zip(operations.tolist(), depths.tolist())]

    def _ways(self, depth: int, cost: int) -> int:
        return int(_lookup(*self._leading[depth], np.array([cost]))[0])


class StageVariants:
    """All variants of a stage one by one, for stages that have not too many: `costs` (V,) in MACs, ascending."""

    def __init__(self, choices: StageChoices):
        leading = [np.zeros(1, np.int64)]
        for layer in choices.layers[: max(choices.depths)]:
            leading.append(np.add.outer(leading[-1], np.array(list(layer.values()))).ravel())
        costs = np.concatenate([leading[depth] for depth in choices.depths])
        order = np.argsort(costs, kind="stable")
        self.costs = costs[order]
        listed = np.empty(len(costs), object)
        listed[:] = [variant for depth in choices.depths for variant in product(*choices.layers[:depth])]
        self._variants = listed[order]

    @property
    def span(self) -> int:
        """Largest less smallest cost."""
        return int(self.costs[-1] - self.costs[0])

    def at(self, places: np.ndarray) -> Iterable[tuple[int, ...]]:
        """The variants at these places of `costs`; without end for a fixed stage, which has but one."""
        return repeat(self._variants[0]) if len(self._variants) == 1 else self._variants[places].tolist()


def _append_layer(costs: np.ndarray, ways: np.ndarray, macs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(macs) == 1:
        return costs + macs, ways
    return merge_costs((costs + macs[:, None]).ravel(), np.tile(ways, len(macs)))


def merge_costs(costs: np.ndarray, ways: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sort the costs and add up the ways of equal ones."""
    order = np.argsort(costs, kind="stable")
    costs = costs[order]
    starts = np.flatnonzero(np.concatenate(([True], costs[1:] != costs[:-1])))
    return costs[starts], np.add.reduceat(ways[order], starts)


def _lookup(costs: np.ndarray, ways: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The ways of each queried cost, 0 where no variant has it."""
    index = np.minimum(np.searchsorted(costs, queries), len(costs) - 1)
    return np.where(costs[index] == queries, ways[index], 0)
