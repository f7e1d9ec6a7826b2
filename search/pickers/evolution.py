"""Evolution inside the FLOPs window, seeded by the board."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from configs.schema import Picker
from runtime.seeds import make_generator
from search.pickers.picker import ScoredHistory
from search.scores import ranked
from supernet.architecture import Architecture
from supernet.window_resolutions import SearchWindow

TRIES = 50  # draws for one new child before a fresh sample is taken instead


class EvolutionPicker(ScoredHistory):
    """Generations of children of the best `population` architectures so far (Guo et al. 2020, algorithm 1).

    The first generation is the board and uniform samples. Mutation and crossover draw inside the window, so no child is
    ever rejected for its cost. Each generation's randomness derives from SEED and the number scored so far.
    """

    def __init__(
        self, config: Picker, window: SearchWindow, seed: int, prioritized: Sequence[Architecture] = ()
    ) -> None:
        super().__init__()
        self.config, self.window, self.seed = config, window, seed
        self.prioritized = prioritized
        self.total = min(config.evaluations, window.count)

    def ask(self) -> list[Architecture]:
        """The next generation."""
        size = min(self.config.population, self.total - len(self.scores))
        generator = make_generator(self.seed, "evolution", len(self.scores))
        generation = dict.fromkeys(self.prioritized[:size] if not self.scores else [])
        parents = [scored.architecture for scored in ranked(self.scores)[: self.config.population]]
        while len(generation) < size:
            generation[self._unseen(parents, generation, generator)] = None
        return list(generation)

    def _unseen(
        self, parents: Sequence[Architecture], siblings: dict[Architecture, None], generator: torch.Generator
    ) -> Architecture:
        """A child that has not been scored; a fresh sample where the parents' surroundings are used up."""
        for _ in range(TRIES):
            child = self._child(parents, generator) if parents else self.window.sample(generator, 1)[0]
            if child not in self.seen and child not in siblings:
                return child
        return self._fresh(siblings, generator)

    def _child(self, parents: Sequence[Architecture], generator: torch.Generator) -> Architecture:
        first, second = torch.randint(len(parents), (2,), generator=generator).tolist()
        if torch.rand((), generator=generator) < self.config.crossover:
            return self.window.crossover(parents[first], parents[second], generator)
        return self.window.mutate(parents[first], self.config.mutation, generator)

    def _fresh(self, siblings: dict[Architecture, None], generator: torch.Generator) -> Architecture:
        """Samples at first; in a window almost used up, the first architecture in order that is left."""
        for candidate in self.window.sample(generator, TRIES):
            if candidate not in self.seen and candidate not in siblings:
                return candidate
        return next(candidate for candidate in self.window if candidate not in self.seen and candidate not in siblings)
