"""Ask/tell: a picker proposes architectures and is told their scores; it does not know where scores come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import torch

from configs.errors import OnePathError
from configs.schema import Picker as PickerConfig
from runtime.seeds import make_generator
from search.pickers.window import Window
from search.scores import Scored

TRIES = 50  # draws for one new architecture before a fresh sample is taken instead


class PickerError(OnePathError):
    """A picker cannot work on this window; the message says why and what to change."""


class Picker(Protocol):
    """Every architecture asked for lies inside the window and is asked for once."""

    total: int
    """Architectures that will be asked for at most, for progress."""

    scores: list[Scored]
    """All that was told."""

    def ask(self) -> list[Any]:
        """The next architectures to score; [] when done. Depends on what was told, never on the number of ranks."""

    def tell(self, scores: Sequence[Scored]) -> None:
        """The scores of what was asked for last."""

    def state_dict(self) -> dict[str, Any]:
        """All state, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""


class ScoredHistory:
    """The part that all pickers share: what has been scored so far, from which all their state follows."""

    def __init__(self) -> None:
        self.scores: list[Scored] = []
        self.seen: set[Any] = set()

    def tell(self, scores: Sequence[Scored]) -> None:
        """Remember scores, one after another."""
        for scored in scores:
            self._learn(scored)
            self.scores.append(scored)
            self.seen.add(scored.architecture)

    def state_dict(self) -> dict[str, Any]:
        """Everything scored, in order."""
        return {"scores": [scored.to_json() for scored in self.scores]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`, on a fresh picker."""
        self.tell([Scored.from_json(value) for value in state["scores"]])

    def _learn(self, scored: Scored) -> None:
        """What a picker concludes from one more score, before it is among `scores`."""


class WindowPicker(ScoredHistory):
    """Asks for up to PICKER.EVALUATIONS members of a window; the first are the prioritized paths and uniform draws."""

    def __init__(self, config: PickerConfig, window: Window, seed: int, prioritized: Sequence[Any] = ()) -> None:
        super().__init__()
        self.config, self.window, self.seed = config, window, seed
        self.prioritized = prioritized
        self.total = min(config.evaluations, window.count)

    @property
    def generation(self) -> int:
        """How many to ask for at once."""
        return self._at_most(self.config.generation or self.config.population)

    def _at_most(self, wanted: int) -> int:
        return min(wanted, self.total - len(self.scores))

    def _generator(self) -> torch.Generator:
        """The randomness of the next generation, a function of SEED and the number scored so far."""
        return make_generator(self.seed, self.config.name, len(self.scores))

    def _samples(self, generator: torch.Generator) -> Iterator[Any]:
        while True:
            yield self.window.sample(generator, 1)[0]

    def _fill(self, size: int, proposals: Iterable[Any], generator: torch.Generator) -> list[Any]:
        """The first new ones among endless proposals; fresh samples where these only repeat what is known."""
        generation = dict.fromkeys(self.prioritized[:size] if not self.scores else [])
        endless = iter(proposals)
        while len(generation) < size:
            tries = (next(endless) for _ in range(TRIES))
            new = next((one for one in tries if one not in self.seen and one not in generation), None)
            generation[self._fresh(generation, generator) if new is None else new] = None
        return list(generation)

    def _fresh(self, siblings: dict[Any, None], generator: torch.Generator) -> Any:
        """Samples at first; in a window almost used up, the first architecture in order that is left."""
        for candidate in self.window.sample(generator, TRIES):
            if candidate not in self.seen and candidate not in siblings:
                return candidate
        return next(candidate for candidate in self.window if candidate not in self.seen and candidate not in siblings)


def score_all(
    picker: Picker, objective: Callable[[Sequence[Any]], list[Scored]], after: Callable[[Picker], None]
) -> Iterator[Scored]:
    """Ask, score, tell, until the picker is done; `after` is called each time, to save what has been scored."""
    while candidates := picker.ask():
        scores = objective(candidates)
        picker.tell(scores)
        after(picker)
        yield from scores
