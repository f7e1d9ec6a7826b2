"""Ask/tell: a picker proposes architectures and is told their scores; it does not know where scores come from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from configs.errors import OnePathError
from search.scores import Scored
from supernet.architecture import Architecture


class PickerError(OnePathError):
    """A picker cannot work on this window; the message says why and what to change."""


class Picker(Protocol):
    """Every architecture asked for lies inside the window and is asked for once."""

    total: int
    """Architectures that will be asked for at most, for progress."""

    scores: list[Scored]
    """All that was told."""

    def ask(self) -> list[Architecture]:
        """The next architectures to score; [] when done. Depends on what was told, never on the number of ranks."""

    def tell(self, scores: Sequence[Scored]) -> None:
        """The scores of what was asked for last."""

    def state_dict(self) -> dict[str, Any]:
        """All state, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""


class ScoredHistory:
    """The part that all pickers share: what has been scored so far."""

    def __init__(self) -> None:
        self.scores: list[Scored] = []
        self.seen: set[Architecture] = set()

    def tell(self, scores: Sequence[Scored]) -> None:
        """Remember scores."""
        self.scores.extend(scores)
        self.seen.update(scored.architecture for scored in scores)

    def state_dict(self) -> dict[str, Any]:
        """Everything scored, in order."""
        return {"scores": [scored.to_json() for scored in self.scores]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.scores, self.seen = [], set()
        self.tell([Scored.from_json(value) for value in state["scores"]])


def score_all(
    picker: Picker, objective: Callable[[Sequence[Architecture]], list[Scored]], after: Callable[[Picker], None]
) -> Iterator[Scored]:
    """Ask, score, tell, until the picker is done; `after` is called each time, to save what has been scored."""
    while candidates := picker.ask():
        scores = objective(candidates)
        picker.tell(scores)
        after(picker)
        yield from scores
