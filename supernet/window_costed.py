"""A FLOPs window over architectures that are few enough to be listed, such as cells."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import torch

from configs.errors import WindowError
from supernet.cost import format_millions
from supernet.genomes import A, Genome
from supernet.space import SearchSpace
from supernet.window import FlopsWindow
from supernet.window_listed import ListedWindow
from supernet.window_marginals import Marginals
from supernet.window_prior import Prior
from supernet.window_random import Shuffle
from supernet.window_resolutions import ResolutionsWindow


class CostedWindow(ListedWindow[A]):
    """The listed architectures of a space with `minimum` <= MACs <= `maximum`, in their order.

    Args:
        space: whose costs count.
        architectures: all of it, or those to choose from.
        genome: their genes.
        minimum: smallest cost, in MACs, inclusive.
        maximum: largest cost, in MACs, inclusive.

    Raises:
        WindowError: none lies in the window; the message names the feasible range, or the nearest costs.
    """

    def __init__(
        self, space: SearchSpace, architectures: Iterable[A], genome: Genome[A], minimum: int, maximum: int
    ) -> None:
        self.space, self.minimum, self.maximum = space, minimum, maximum
        costs = {architecture: space.cost(architecture).macs for architecture in architectures}
        members = [architecture for architecture, cost in costs.items() if minimum <= cost <= maximum]
        if not members:
            raise WindowError(self._explain_empty(costs.values()))
        super().__init__(members, genome)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The one image size of all members, in pixels."""
        return (self.space.resolution,)

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[A]:
        """As `ListedWindow.sample`; a weight may be 0.

        Raises:
            WindowError: the prior leaves no member.
        """
        if prior is not None and not any(self._is_left(member, prior) for member in self):
            raise WindowError(f"the prior over operations leaves no architecture of {self._describe()}")
        return super().sample(generator, count, prior)

    def _is_left(self, member: A, prior: Prior) -> bool:
        return all(weights[value] > 0 for weights, value in zip(prior[0], self.genome.encode(member)))

    def sample_distinct(self, generator: torch.Generator, count: int, rank: int = 0, ranks: int = 1) -> list[A]:
        """As `FlopsWindow.sample_distinct`."""
        if count > self.count:
            raise WindowError(
                f"{count:,} different architectures were asked of {self._describe()}, which holds {self.count:,}"
            )
        shuffle = Shuffle(self.count, generator)
        return [self.architectures[shuffle[place]] for place in range(rank, count, ranks)]

    def marginals(self) -> Marginals:
        """The exact share of the members that have each value of each gene; as one stage of a fixed depth."""
        genes = list(zip(*map(self.genome.encode, self)))
        shares = (
            {value: Fraction(column.count(value), self.count) for value in values}
            for column, values in zip(genes, self.genome.values)
        )
        return Marginals((tuple(shares),), ({len(genes): Fraction(1)},))

    def _describe(self) -> str:
        bounds = f"[{format_millions(self.minimum)}, {format_millions(self.maximum)}]"
        return f"the window {bounds} million MACs of {self.space.name}"

    def _explain_empty(self, costs: Iterable[int]) -> str:
        known = sorted(costs)
        below = [cost for cost in known if cost < self.minimum]
        above = [cost for cost in known if cost > self.maximum]
        nearest = " and ".join(format_millions(cost) for cost in [*below[-1:], *above[:1]])
        return (
            f"no architecture lies in {self._describe()} at {self.space.resolution} pixels; feasible costs go from "
            f"{format_millions(known[0])} to {format_millions(known[-1])}, the nearest are {nearest}: choose a minimum "
            "and maximum around one"
        )


SearchWindow = FlopsWindow | ResolutionsWindow | CostedWindow[Any]
"""What a search trains and picks in."""
