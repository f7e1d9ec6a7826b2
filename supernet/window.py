"""All architectures of a space whose MACs lie in a window: counted, numbered, drawn and varied exactly.

Block costs are additive integers, so dynamic programming over them answers in seconds what rejection cannot: Cream's
space has 2.5e21 architectures, of which 1.8e-8 lie in 285-287 M. `window_table` holds the algorithm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from operator import index

import torch

from configs.errors import SpaceError, WindowError
from supernet.architecture import Architecture
from supernet.cost import CostTable, format_millions
from supernet.window_best import Scores, best_first
from supernet.window_stage import StageChoices, StageSums
from supernet.window_table import WindowTable, cost_unit, reachable

Gene = tuple[int, int | None]  # (stage, layer), or (stage, None) for the stage's depth


class FlopsWindow:
    """The architectures of a cost table with `minimum` <= MACs <= `maximum`, numbered from 0 to `count` - 1.

    A stage's variants are all its depths and, for each, all operations of its blocks; each is one encoding. Everything
    random is a pure function of the generator's state.

    Args:
        table: the space's costs at one resolution.
        minimum: smallest cost, in MACs, inclusive.
        maximum: largest cost, in MACs, inclusive.

    Raises:
        WindowError: no architecture lies in the window; the message names the feasible range.
    """

    def __init__(self, table: CostTable, minimum: int, maximum: int):
        self.table, self.minimum, self.maximum = table, minimum, maximum
        self._choices = [StageChoices.from_costs(stage) for stage in table.stages]
        self._sums = [StageSums(stage) for stage in self._choices]
        self._refuse_empty(self._sums)
        self._table = WindowTable(self._sums, table.fixed.macs, minimum, maximum)
        self.count: int = self._table.count

    @staticmethod
    def feasible_range(table: CostTable) -> tuple[int, int]:
        """MACs of the space's cheapest and of its costliest architecture."""
        return _range([StageSums(StageChoices.from_costs(stage)) for stage in table.stages], table.fixed.macs)

    def __contains__(self, architecture: Architecture) -> bool:
        return self._in_space(architecture) and self.minimum <= self.macs(architecture) <= self.maximum

    def __iter__(self) -> Iterator[Architecture]:
        """All members, in the order of their ranks."""
        for start in range(0, self.count, 4096):
            yield from self.unrank_many(range(start, min(start + 4096, self.count)))

    def macs(self, architecture: Architecture) -> int:
        """Exact MACs of an architecture of the space, in the window or not (SpaceError: not in the space)."""
        self._validate(architecture)
        return self.table.cost(architecture).macs

    def rank(self, architecture: Architecture) -> int:
        """The architecture's number in [0, count). Raises WindowError outside the window."""
        if architecture not in self:
            raise WindowError(f"{architecture} is not in {self._describe()}")
        return self._table.rank(architecture.stages)

    def unrank(self, number: int) -> Architecture:
        """The architecture with this number; inverse of `rank`."""
        return self.unrank_many([number])[0]

    def unrank_many(self, numbers: Sequence[int]) -> list[Architecture]:
        """The architectures with these numbers. Raises IndexError for a number outside [0, count)."""
        numbers = list(map(index, numbers))
        for number in numbers:
            if not 0 <= number < self.count:
                raise IndexError(f"architecture number {number} of {self._describe()}, which holds {self.count}")
        return self._architectures(self._table, numbers)

    def sample(self, generator: torch.Generator, count: int) -> list[Architecture]:
        """`count` architectures, independent and exactly uniform over the window."""
        return self._architectures(self._table, uniform_integers(self.count, count, generator))

    def mutate(self, architecture: Architecture, probability: float, generator: torch.Generator) -> Architecture:
        """A random other member that agrees with the parent on all genes which are not set free.

        Genes are the depth of each stage and the operation of each of its blocks; each is set free with `probability`,
        blocks that a deeper stage gains are always free. The child is uniform over the members that qualify. While
        there is none, one more gene is set free, in random order. A window that holds only the parent returns it.
        A parent outside the window is brought into it. Raises SpaceError if the parent is not in the space.
        """
        self._validate(architecture)
        genes = self._genes(architecture)
        order = torch.randperm(len(genes), generator=generator, device=generator.device).tolist()
        chances = torch.rand(len(genes), generator=generator, device=generator.device, dtype=torch.float64)
        fewest = int((chances < probability).sum())
        parent = architecture if architecture in self else None
        for free in range(fewest, len(genes) + 1):
            everything = free == len(genes)
            table = self._table if everything else self._restricted(architecture, {genes[i] for i in order[:free]})
            if table.count > (parent is not None):
                return self._draw_other(table, parent, generator)
        return architecture

    def crossover(self, first: Architecture, second: Architecture, generator: torch.Generator) -> Architecture:
        """A member uniform among those in which each gene comes from one of the parents.

        Genes are as in `mutate`; a block that only one parent has comes from that one. Raises WindowError if no such
        member exists, which takes parents outside the window, and SpaceError for parents that are not in the space.
        """
        self._validate(first)
        self._validate(second)
        stages = [
            StageChoices(
                tuple(sorted({len(one), len(other)})),
                tuple(
                    {pair[depth]: layer[pair[depth]] for pair in (one, other) if depth < len(pair)}
                    for depth, layer in enumerate(stage.layers[: max(len(one), len(other))])
                ),
            )
            for stage, one, other in zip(self._choices, first.stages, second.stages)
        ]
        table = self._subtable(stages)
        if not table.count:
            raise WindowError(f"{first} and {second} have no common child in {self._describe()}")
        return self._architectures(table, uniform_integers(table.count, 1, generator))[0]

    def top_k(self, scores: Scores, k: int) -> list[tuple[float, Architecture]]:
        """The best `k` members under an additive score, best first, equal scores in the architectures' order.

        Args:
            scores: `scores[stage][layer]` maps each operation to its score; a total adds those of the used blocks,
                in fixed point with 60 bits, so it does not depend on the order of addition.
            k: how many; fewer come back if the window holds fewer.
        """
        best = best_first(self._sums, self.table.fixed.macs, self.minimum, self.maximum, scores)
        return [(score, Architecture(self.table.space, stages)) for score, stages in islice(best, k)]

    def _architectures(self, table: WindowTable, numbers: Sequence[int]) -> list[Architecture]:
        return [Architecture(self.table.space, stages) for stages in table.unrank_many(numbers)]

    def _draw_other(self, table: WindowTable, parent: Architecture | None, generator: torch.Generator) -> Architecture:
        """A uniform member of a (restricted) table, never the parent."""
        if parent is None:
            return self._architectures(table, uniform_integers(table.count, 1, generator))[0]
        number = uniform_integers(table.count - 1, 1, generator)[0]
        return self._architectures(table, [number + (number >= table.rank(parent.stages))])[0]

    def _subtable(self, stages: Sequence[StageChoices]) -> WindowTable:
        return WindowTable([StageSums(stage) for stage in stages], self.table.fixed.macs, self.minimum, self.maximum)

    def _genes(self, architecture: Architecture) -> list[Gene]:
        """Every gene of the architecture that has more than one value."""
        genes: list[Gene] = []
        for place, (stage, variant) in enumerate(zip(self._choices, architecture.stages)):
            genes += [(place, None)] if len(stage.depths) > 1 else []
            genes += [(place, depth) for depth in range(len(variant)) if len(stage.layers[depth]) > 1]
        return genes

    def _restricted(self, parent: Architecture, free: set[Gene]) -> WindowTable:
        """The members of the window that agree with the parent on all genes that are not free."""
        stages = [
            StageChoices(
                stage.depths if (place, None) in free else (len(variant),),
                tuple(
                    layer
                    if depth >= len(variant) or (place, depth) in free
                    else {variant[depth]: layer[variant[depth]]}
                    for depth, layer in enumerate(stage.layers)
                ),
            )
            for place, (stage, variant) in enumerate(zip(self._choices, parent.stages))
        ]
        return self._subtable(stages)

    def _in_space(self, architecture: Architecture) -> bool:
        stages = architecture.stages
        named = architecture.space == self.table.space and len(stages) == len(self._choices)
        return named and all(variant in stage for stage, variant in zip(self._choices, stages))

    def _validate(self, architecture: Architecture) -> None:
        if not self._in_space(architecture):
            raise SpaceError(f"{architecture} of space {architecture.space} is not in the space {self.table.space}")

    def _describe(self) -> str:
        bounds = f"[{format_millions(self.minimum)}, {format_millions(self.maximum)}]"
        return f"the window of {bounds} million MACs in {self.table.space} at resolution {self.table.resolution}"

    def _refuse_empty(self, stages: Sequence[StageSums]) -> None:
        """Raise WindowError if the window holds nothing, before any large array is built."""
        smallest, largest = _range(stages, self.table.fixed.macs)
        if any(self.minimum <= macs <= self.maximum for macs in (smallest, largest)):
            return
        message = f"no architecture lies in {self._describe()}: "
        if self.minimum > self.maximum:
            raise WindowError(f"{message}the minimum is above the maximum")
        feasible = f"feasible costs go from {format_millions(smallest)} to {format_millions(largest)} million MACs"
        if self.maximum < smallest or self.minimum > largest:
            raise WindowError(f"{message}{feasible}; choose a minimum and maximum within them")
        gap = _gap(stages, self.minimum - smallest, self.maximum - smallest)
        if gap is not None:
            below, above = (format_millions(smallest + macs) for macs in gap)
            raise WindowError(
                f"{message}{feasible}; the nearest are {below} below and {above} above, include one of them"
            )


def uniform_integers(bound: int, count: int, generator: torch.Generator) -> list[int]:
    """`count` independent integers, exactly uniform in [0, bound) for a bound of any size.

    Random words are cut to the bound's bits, and draws beyond the bound are rejected (fewer than half of them).
    """
    bits = (bound - 1).bit_length()
    words = -(-bits // 32)
    accepted: list[int] = []
    while len(accepted) < count:
        shape = (count - len(accepted), words)
        draws = torch.randint(2**32, shape, generator=generator, device=generator.device).cpu().numpy()
        numbers = [int.from_bytes(row.tobytes(), "little") >> (32 * words - bits) for row in draws.astype("<u4")]
        accepted += [number for number in numbers if number < bound]
    return accepted


def _range(stages: Sequence[StageSums], fixed: int) -> tuple[int, int]:
    smallest, largest = (fixed + sum(int(stage.costs[end]) for stage in stages) for end in (0, -1))
    return smallest, largest


def _gap(stages: Sequence[StageSums], low: int, high: int) -> tuple[int, int] | None:
    """The feasible costs on both sides of an empty window, counted from the cheapest; None if it is not empty."""
    unit = cost_unit(stages)
    reached, start = reachable(stages, unit), -(-low // unit)
    beyond = reached >> start
    above = (start + (beyond & -beyond).bit_length() - 1) * unit
    if above <= high:
        return None
    below = reached & ((1 << start) - 1)
    return (below.bit_length() - 1) * unit, above
