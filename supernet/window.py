"""All architectures of a space whose MACs lie in a window: counted, numbered, drawn and varied exactly.

Block costs are additive integers, so dynamic programming over them answers in seconds what rejection cannot: Cream's
space has 2.5e21 architectures, of which 1.8e-8 lie in 285-287 M. `window_table` holds the exact numbering,
`window_sampler` the fast draws; each is built when it is first needed.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import islice
from operator import index

import torch

from configs.errors import SpaceError, WindowError
from supernet.architecture import Architecture
from supernet.cost import CostTable, format_millions
from supernet.window_best import Scores, best_first
from supernet.window_genes import freed, genes_of, mixed, stages_around
from supernet.window_marginals import Marginals, window_marginals
from supernet.window_prior import BLOCK, Prior, PriorSampler
from supernet.window_random import Shuffle, uniform_integers
from supernet.window_sampler import WindowSampler
from supernet.window_stage import StageChoices, StageSums
from supernet.window_steps import CoarseSteps
from supernet.window_table import Stages, WindowTable, nearest_costs

SAMPLE_BINS, VARIATION_BINS = 1024, 256  # resolution of the samplers: for many draws, and for a single one
PRIOR_BINS = 2**14  # under a prior
TRIES = 64  # proposals for a single draw
LEAST_ACCEPTANCE = 1 / 64  # of a sampler's proposals, below which the exact table draws faster


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
        self._choices = self._read_choices()
        self._bounds = table.fixed.macs, minimum, maximum
        self._refuse_empty()

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one image size of all members, in pixels; they do not name it."""
        return (self.table.resolution,)

    @staticmethod
    def feasible_range(table: CostTable) -> tuple[int, int]:
        """MACs of the space's cheapest and of its costliest architecture."""
        cheapest, costliest = zip(*(StageChoices.from_costs(stage).extremes for stage in table.stages))
        return table.fixed.macs + sum(cheapest), table.fixed.macs + sum(costliest)

    @cached_property
    def count(self) -> int:
        """How many members there are. The arrays behind it are let go: drawing needs none of them."""
        return self._exact(self._choices).count

    def __contains__(self, architecture: Architecture) -> bool:
        return self._in_space(architecture) and self.minimum <= self.macs(architecture) <= self.maximum

    def __iter__(self) -> Iterator[Architecture]:
        """All members, in the order of their ranks."""
        count = self._table.count
        for start in range(0, count, 4096):
            yield from self.unrank_many(range(start, min(start + 4096, count)))

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
        numbers, table = list(map(index, numbers)), self._table
        for number in numbers:
            if not 0 <= number < table.count:
                raise IndexError(f"architecture number {number} of {self._describe()}, which holds {table.count}")
        return self._architectures(table.unrank_many(numbers))

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[Architecture]:
        """`count` architectures, independent and exactly uniform over the window.

        They depend on the generator's state, `count` and `prior` alone.

        Args:
            prior: `prior[stage][layer]` maps each operation to a weight; an architecture is then drawn in proportion
                to the product of its blocks' weights.

        Raises:
            WindowError: the prior leaves no architecture of the window.
        """
        if prior is not None:
            preferred = PriorSampler(self._steps(self._choices, (PRIOR_BINS,)), prior).sample(count, generator)
            if len(preferred) < count:
                raise WindowError(f"the prior over operations leaves no architecture of {self._describe()}")
            return self._architectures(preferred)
        sampler = self._sampler
        if sampler is None:
            numbers = uniform_integers(self._table.count, count, generator)
            return self._architectures(self._table.unrank_many(numbers))
        drawn: list[Architecture] = []
        while len(drawn) < count:
            proposals = int(1.05 * (count - len(drawn)) / sampler.acceptance) + 16
            drawn += self._architectures(sampler.propose(min(BLOCK, proposals), generator))
        return drawn[:count]

    def sample_distinct(
        self, generator: torch.Generator, count: int, rank: int = 0, ranks: int = 1
    ) -> list[Architecture]:
        """Part `rank` of `ranks` of `count` different architectures in random order, without a list of what was drawn.

        The members' numbers are shuffled, pseudo-randomly, by a key that the generator gives; rank r takes the places
        r, r + ranks, r + 2 ranks, … below `count`. With generators in the same state the parts are disjoint, and what
        they make up together does not depend on `ranks`.

        Raises:
            WindowError: the window holds fewer than `count`.
        """
        size = self._table.count
        if count > size:
            raise WindowError(
                f"{count:,} different architectures were asked of {self._describe()}, which holds {size:,}"
            )
        shuffle = Shuffle(size, generator)
        return self.unrank_many([shuffle[place] for place in range(rank, count, ranks)])

    def marginals(self) -> Marginals:
        """The exact share of the members that have each operation at each layer, and each depth."""
        return window_marginals(self._choices, *self._bounds)

    def mutate(self, architecture: Architecture, probability: float, generator: torch.Generator) -> Architecture:
        """A random other member that agrees with the parent on all genes which are not set free.

        Genes are the depth of each stage and the operation of each of its blocks; each is set free with `probability`,
        blocks that a deeper stage gains are always free. The child is uniform over the members that qualify. While
        there is none, one more gene is set free, in random order. A window that holds only the parent returns it.
        A parent outside the window is brought into it. Raises SpaceError if the parent is not in the space.
        """
        self._validate(architecture)
        genes = genes_of(self._choices, architecture.stages)
        order = torch.randperm(len(genes), generator=generator, device=generator.device).tolist()
        chances = torch.rand(len(genes), generator=generator, device=generator.device, dtype=torch.float64)
        parent = architecture if architecture in self else None
        for free in range(int((chances < probability).sum()), len(genes) + 1):
            choices = freed(self._choices, architecture.stages, {genes[i] for i in order[:free]})
            child = self._draw(choices, generator, parent)
            if child is not None:
                return child
        return architecture

    def crossover(self, first: Architecture, second: Architecture, generator: torch.Generator) -> Architecture:
        """A member uniform among those in which each gene comes from one of the parents.

        Genes are as in `mutate`; a block that only one parent has comes from that one. Raises WindowError if no such
        member exists, which takes parents outside the window, and SpaceError for parents that are not in the space.
        """
        self._validate(first)
        self._validate(second)
        child = self._draw(mixed(self._choices, first.stages, second.stages), generator)
        if child is None:
            raise WindowError(f"{first} and {second} have no common child in {self._describe()}")
        return child

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """The members that differ in one gene: a block's operation, or a stage's last block, gained or lost.

        Raises SpaceError for an architecture that is not in the space.
        """
        self._validate(architecture)
        others = self._architectures(stages_around(self._choices, architecture.stages))
        return [other for other in others if other in self]

    @property
    def choices(self) -> list[list[list[int]]]:
        """The operations offered at each layer of each stage."""
        return [[list(layer) for layer in stage.layers] for stage in self._choices]

    def genes(self, architecture: Architecture) -> Stages:
        """What `choices` offers, as an architecture has it."""
        return architecture.stages

    def top_k(self, scores: Scores, k: int) -> list[tuple[float, Architecture]]:
        """The best `k` members under an additive score, best first, equal scores in the architectures' order.

        Args:
            scores: `scores[stage][layer]` maps each operation to its score; a total adds those of the used blocks,
                in fixed point with 60 bits, so it does not depend on the order of addition.
            k: how many; fewer come back if the window holds fewer.
        """
        best = best_first([StageSums(stage) for stage in self._choices], *self._bounds, scores)
        return [(score, Architecture(self.table.space, stages)) for score, stages in islice(best, k)]

    @cached_property
    def _table(self) -> WindowTable:
        table = self._exact(self._choices)
        self.count = table.count
        return table

    @cached_property
    def _coarse(self) -> WindowSampler | None:
        return self._sampler_of(self._choices, SAMPLE_BINS)

    @property
    def _sampler(self) -> WindowSampler | None:
        """What draws faster than the exact table, if anything does."""
        return self._coarse if self._coarse and self._coarse.acceptance >= LEAST_ACCEPTANCE else None

    def _read_choices(self) -> list[StageChoices]:
        return [StageChoices.from_costs(stage) for stage in self.table.stages]

    def _steps(self, choices: Sequence[StageChoices], bins: tuple[int, ...]) -> CoarseSteps:
        fixed = self.table.fixed.macs
        return CoarseSteps(choices, lambda macs: (macs,), [self.minimum - fixed], [self.maximum - fixed], bins)

    def _exact(self, choices: Sequence[StageChoices]) -> WindowTable:
        return WindowTable([StageSums(stage) for stage in choices], *self._bounds)

    def _sampler_of(self, choices: Sequence[StageChoices], bins: int) -> WindowSampler | None:
        return WindowSampler(choices, *self._bounds, bins) if WindowSampler.supports(choices) else None

    def _draw(
        self, choices: Sequence[StageChoices], generator: torch.Generator, parent: Architecture | None = None
    ) -> Architecture | None:
        """A uniform member of the window among these choices, never the parent; None if there is none.

        Proposals are tried first. Where none of them will do, the exact table draws: uniform either way.
        """
        whole = choices == self._choices
        sampler = self._coarse if whole else self._sampler_of(choices, VARIATION_BINS)
        for stages in sampler.propose(TRIES, generator) if sampler else ():
            if parent is None or stages != parent.stages:
                return Architecture(self.table.space, stages)
        table = self._table if whole else self._exact(choices)
        others = table.count - (parent is not None)
        if not others:
            return None
        number = uniform_integers(others, 1, generator)[0]
        if parent is not None:
            number += number >= table.rank(parent.stages)
        return self._architectures(table.unrank_many([number]))[0]

    def _architectures(self, members: Iterable[Stages]) -> list[Architecture]:
        with collector_paused():
            return [Architecture(self.table.space, stages) for stages in members]

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

    def _refuse_empty(self) -> None:
        """Raise WindowError if the window holds nothing, before any large array is built."""
        smallest, largest = self.feasible_range(self.table)
        if any(self.minimum <= macs <= self.maximum for macs in (smallest, largest)):
            return
        message = f"no architecture lies in {self._describe()}: "
        if self.minimum > self.maximum:
            raise WindowError(f"{message}the minimum is above the maximum")
        feasible = f"feasible costs go from {format_millions(smallest)} to {format_millions(largest)} million MACs"
        if self.maximum < smallest or self.minimum > largest:
            raise WindowError(f"{message}{feasible}; choose a minimum and maximum within them")
        if self._coarse and self._coarse.acceptance:
            return
        below, above = nearest_costs([StageSums(stage) for stage in self._choices], *self._bounds)
        if above > self.maximum:
            nearest = f"{format_millions(below)} below and {format_millions(above)} above"
            raise WindowError(f"{message}{feasible}; the nearest are {nearest}, include one of them")


@contextmanager
def collector_paused() -> Iterator[None]:
    """No garbage collection meanwhile: new tuples by the ten thousand would set off whole ones that find nothing."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
