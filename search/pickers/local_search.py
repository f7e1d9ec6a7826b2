"""Local search: uphill from neighbour to neighbour, and again from elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from configs.schema import Picker as PickerConfig
from search.pickers.picker import WindowPicker
from search.pickers.window import Window
from search.scores import Scored


class LocalSearchPicker(WindowPicker):
    """Starts from the best of PICKER.POPULATION draws and moves to each better neighbour that is found.

    White et al. 2020, https://arxiv.org/abs/2005.02960. Neighbours differ in one gene and are asked for in random
    order, PICKER.GENERATION at once; 1 moves on at the first improvement. Where all are known and none is better, the
    next start is drawn.
    """

    def __init__(self, config: PickerConfig, window: Window, seed: int, prioritized: Sequence[Any] = ()) -> None:
        super().__init__(config, window, seed, prioritized)
        self.starts: list[Scored] = []
        self.current: Scored | None = None
        self.around: Sequence[Any] = ()

    def ask(self) -> list[Any]:
        """Draws for a start, or unknown neighbours of where the search stands."""
        generator = self._generator()
        if unknown := [one for one in self.around if one not in self.seen]:
            order = torch.randperm(len(unknown), generator=generator).tolist()
            return [unknown[place] for place in order[: self.generation]]
        missing = self.config.population - len(self.starts)
        return self._fill(self._at_most(missing), self._samples(generator), generator)

    def _learn(self, scored: Scored) -> None:
        if self._is_stuck():
            self.starts.append(scored)
            if len(self.starts) == self.config.population:
                self._move(min(self.starts, key=lambda start: start.order))
                self.starts = []
        elif self.current and scored.accuracy > self.current.accuracy:
            self._move(scored)

    def _is_stuck(self) -> bool:
        return all(one in self.seen for one in self.around)

    def _move(self, scored: Scored) -> None:
        self.current, self.around = scored, self.window.neighbours(scored.architecture)
