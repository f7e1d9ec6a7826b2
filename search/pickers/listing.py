"""Pickers whose candidates are known beforehand: the board, a random draw, everything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from search.pickers.picker import PickerError, ScoredHistory
from search.pickers.window import Window

BATCH = 64


class ListingPicker(ScoredHistory):
    """Asks for the architectures of a fixed sequence, in order."""

    def __init__(self, architectures: Sequence[Any]) -> None:
        super().__init__()
        self.architectures, self.total = architectures, len(architectures)

    def ask(self) -> list[Any]:
        """The next ones not scored yet."""
        left = (architecture for architecture in self.architectures if architecture not in self.seen)
        return list(islice(left, BATCH))


def board_picker(prioritized: Sequence[Any]) -> ListingPicker:
    """Scores the prioritized paths.

    Raises:
        PickerError: the strategy kept none.
    """
    if not prioritized:
        raise PickerError(
            "PICKER.NAME board needs prioritized paths, and training kept none: use SEARCH.STRATEGY prioritized with "
            "SEARCH.BOARD.INTERVAL below the number of steps, or another picker"
        )
    return ListingPicker(prioritized)


def exhaustive_picker(window: Window, evaluations: int) -> ListingPicker:
    """Scores every architecture of the window.

    Raises:
        PickerError: the window holds more than `evaluations`.
    """
    if window.count > evaluations:
        raise PickerError(
            f"PICKER.NAME exhaustive would score all {window.count:,} architectures of the window, more than "
            f"PICKER.EVALUATIONS {evaluations:,}: narrow the window, raise the number, or use evolution"
        )
    return ListingPicker(list(window))


def random_picker(window: Window, evaluations: int, generator: torch.Generator) -> ListingPicker:
    """Scores architectures drawn uniformly without repetition (all of them if the window holds no more)."""
    if window.count <= evaluations:
        return ListingPicker(list(window))
    drawn: dict[Any, None] = {}
    while len(drawn) < evaluations:
        drawn.update(dict.fromkeys(window.sample(generator, evaluations - len(drawn))))
    return ListingPicker(list(drawn))
