"""Evolution inside a window, seeded by the board."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from search.pickers.picker import WindowPicker
from search.scores import Scored, ranked


class EvolutionPicker(WindowPicker):
    """Generations of children of the PICKER.POPULATION parents.

    With PICKER.SURVIVAL `best`, parents are the best so far (Guo et al. 2020, https://arxiv.org/abs/1904.00420,
    algorithm 1). With `youngest` they are the newest, so that each dies in time: with GENERATION 1, a TOURNAMENT,
    MUTATION 0 and CROSSOVER 0 that is regularized evolution (Real et al. 2019, https://arxiv.org/abs/1802.01548,
    algorithm 1), but that nothing is asked for twice. Mutation and crossover draw inside the window, so no child is
    ever rejected for its cost.
    """

    def ask(self) -> list[Any]:
        """The next generation."""
        generator, parents = self._generator(), self._parents()
        if not parents:
            return self._fill(self._at_most(self.config.population), self._samples(generator), generator)
        return self._fill(self.generation, self._children(parents, generator), generator)

    def _parents(self) -> list[Scored]:
        """The population, best first where the best survive."""
        kept = self.config.population
        return self.scores[-kept:] if self.config.survival == "youngest" else ranked(self.scores)[:kept]

    def _children(self, parents: Sequence[Scored], generator: torch.Generator) -> Iterator[Any]:
        while True:
            first, second = torch.randint(len(parents), (2, self.config.tournament), generator=generator).tolist()
            crossed = bool(torch.rand((), generator=generator) < self.config.crossover)
            winner = _best(parents, first)
            if crossed:
                yield self.window.crossover(winner, _best(parents, second), generator)
            else:
                yield self.window.mutate(winner, self.config.mutation, generator)


def _best(parents: Sequence[Scored], drawn: Sequence[int]) -> Any:
    return min((parents[place] for place in drawn), key=lambda scored: scored.order).architecture
