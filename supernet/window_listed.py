"""A window over listed architectures of any kind: those of a cell space, or of a table."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Generic

import numpy as np
import torch

from configs.errors import WindowError
from supernet.genomes import A, Genes, Genome
from supernet.window_prior import Prior
from supernet.window_random import uniform_integers

TRIES = 64  # proposals for a child
FEW = 4096  # members, up to which a draw under a prior weighs them all
BLOCKS, BLOCK = 16, 256  # proposals under a prior in a larger window, before all are weighed


class ListedWindow(Generic[A]):
    """Architectures that are listed one by one, in that order; drawn uniformly, and varied gene by gene.

    Args:
        architectures: the members, all different; immutable, hashable and ordered values.
        genome: their genes. Varying proposes genes and keeps what they stand for if it is a member.

    Raises:
        WindowError: there is no member.
    """

    def __init__(self, architectures: Sequence[A], genome: Genome[A]) -> None:
        if not len(architectures):
            raise WindowError("no architecture is listed")
        self.architectures, self.genome = tuple(architectures), genome
        self.places = {architecture: place for place, architecture in enumerate(self.architectures)}
        self._varied: dict[A, list[list[A]]] = {}

    @property
    def count(self) -> int:
        """How many members there are."""
        return len(self.architectures)

    @cached_property
    def choices(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """What each gene may be, as one stage: `choices[0][gene]`."""
        return (tuple(self.genome.values),)

    def genes(self, architecture: A) -> tuple[Genes, ...]:
        """The genes of an architecture, as one stage."""
        return (self.genome.encode(architecture),)

    def __contains__(self, architecture: object) -> bool:
        return architecture in self.places

    def __iter__(self) -> Iterator[A]:
        return iter(self.architectures)

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[A]:
        """`count` independent members, exactly uniform; with a prior, drawn gene by gene and kept if a member.

        Args:
            prior: `prior[0][gene]` maps each value to its weight, above 0. Where every architecture has its own genes,
                a member is drawn in proportion to the product of its genes' weights.
        """
        if prior is None:
            return [self.architectures[place] for place in uniform_integers(self.count, count, generator)]
        drawn: list[A] = []
        for block in (count, *[BLOCK] * BLOCKS) if self.count > FEW else ():
            if len(drawn) < count:
                proposed = map(self.genome.decode, self._propose(block, prior, generator))
                drawn += [member for member in proposed if member in self.places]
        return drawn[:count] if len(drawn) >= count else drawn + self._weigh(count - len(drawn), prior, generator)

    def mutate(self, architecture: A, probability: float, generator: torch.Generator) -> A:
        """Another member that agrees with the parent on all genes which are not set free, each with `probability`.

        One gene is set free at least, and one more while no child is found, in random order: probability 0 changes a
        single gene where that leads to a member. A window that holds only the parent returns it.
        """
        genes = len(self.genome.values)
        order = torch.randperm(genes, generator=generator).tolist()
        least = int((torch.rand(genes, generator=generator, dtype=torch.float64) < probability).sum())
        if least <= 1:
            for gene in order:
                if others := self._around(architecture)[gene]:
                    return others[int(torch.randint(len(others), (), generator=generator))]
        for free in range(max(2, least), genes + 1):
            if child := self._vary(architecture, order[:free], generator):
                return child
        return self._another(architecture, generator)

    def crossover(self, first: A, second: A, generator: torch.Generator) -> A:
        """A member in which each gene comes from either parent; the first parent where no draw is a member."""
        pairs = list(zip(self.genome.encode(first), self.genome.encode(second)))
        for takes in torch.randint(2, (TRIES, len(pairs)), generator=generator).tolist():
            child = self.genome.decode(tuple(pair[take] for pair, take in zip(pairs, takes)))
            if child in self.places and child is not None:
                return child
        return first

    def neighbours(self, architecture: A) -> list[A]:
        """The other members that differ from an architecture in one gene."""
        return list(dict.fromkeys(other for others in self._around(architecture) for other in others))

    def _around(self, architecture: A) -> list[list[A]]:
        """For each gene, the other members that changing it leads to; kept, since searches come back."""
        if architecture not in self._varied:
            genes = self.genome.encode(architecture)
            self._varied[architecture] = [self._changed(architecture, genes, gene) for gene in range(len(genes))]
        return self._varied[architecture]

    def _changed(self, architecture: A, genes: Genes, gene: int) -> list[A]:
        changed = (self.genome.decode((*genes[:gene], value, *genes[gene + 1 :])) for value in self.genome.values[gene])
        return [other for other in dict.fromkeys(changed) if other in self.places and other != architecture]

    def _vary(self, architecture: A, free: Sequence[int], generator: torch.Generator) -> A | None:
        """Uniform over the values of the free genes, among those that stand for another member."""
        genes, values = list(self.genome.encode(architecture)), self.genome.values
        for uniform in torch.rand((TRIES, len(free)), generator=generator).tolist():
            for gene, share in zip(free, uniform):
                genes[gene] = values[gene][int(share * len(values[gene]))]
            child = self.genome.decode(tuple(genes))
            if child in self.places and child != architecture:
                return child
        return None

    def _another(self, architecture: A, generator: torch.Generator) -> A:
        """Uniform over all other members, however few genes they share."""
        place = self.places.get(architecture)
        others = self.count - (place is not None)
        if not others:
            return architecture
        number = uniform_integers(others, 1, generator)[0]
        return self.architectures[number + (place is not None and number >= place)]

    def _propose(self, count: int, prior: Prior, generator: torch.Generator) -> Iterator[Genes]:
        """Independent draws, each gene by its weights."""
        genes = [(list(weights), list(accumulate(weights.values()))) for weights in prior[0]]
        for uniform in torch.rand((count, len(genes)), generator=generator, dtype=torch.float64).tolist():
            yield tuple(
                values[bisect(ends, share * ends[-1], hi=len(ends) - 1)]
                for share, (values, ends) in zip(uniform, genes)
            )

    def _weigh(self, count: int, prior: Prior, generator: torch.Generator) -> list[A]:
        """Draws from all members by their weights, where they are few or proposals lead out of the window."""
        weights = [
            np.array([shares[value] for value in values]) for shares, values in zip(prior[0], self.genome.values)
        ]
        ends = np.prod([share[places] for share, places in zip(weights, self._encoded)], axis=0).cumsum()
        uniform = torch.rand(count, generator=generator, dtype=torch.float64).numpy()
        chosen = np.searchsorted(ends[:-1], uniform * ends[-1], side="right")
        return [self.architectures[place] for place in chosen.tolist()]

    @cached_property
    def _encoded(self) -> list[np.ndarray]:
        """For each gene (members,) the place of its value."""
        places = [{value: place for place, value in enumerate(values)} for values in self.genome.values]
        columns = zip(*map(self.genome.encode, self.architectures))
        return [np.array([known[value] for value in column], np.uint8) for known, column in zip(places, columns)]
