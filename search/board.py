"""Cream's board of prioritized paths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from configs.schema import Board
from search.scores import Scored


@dataclass(frozen=True)
class BoardEntry:
    """A prioritized path, and what matching compares others with.

    Attributes:
        scored: the path, its measured accuracy and its cost.
        images: (slice, C, H, W), a few train images kept with the path.
        features: (slice, classes), the path's own softmax on them.
    """

    scored: Scored
    images: Tensor
    features: Tensor


class PrioritizedBoard:
    """The best paths seen in training (Peng et al. 2020, sec. 3.2): at most `size`, no path twice, best first.

    Attributes:
        entries: best first; changed by `replace` alone.
        images: (entries x slice, C, H, W), those of all entries in their order.
        features: (entries, slice, classes), likewise.
    """

    def __init__(self, config: Board) -> None:
        self.size, self.gap = config.size, config.gap
        self.entries: list[BoardEntry] = []
        self.images = self.features = torch.empty(0)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, architecture: Any) -> bool:
        return any(entry.scored.architecture == architecture for entry in self.entries)

    def admits(self, scored: Scored) -> bool:
        """Whether a new path would enter: there is room, it beats the worst by the gap, or beats it and is cheaper."""
        if scored.architecture in self:
            return False
        if len(self.entries) < self.size:
            return True
        worst = self.entries[-1].scored
        gain = scored.accuracy - worst.accuracy
        return gain > self.gap or (gain > 0 and scored.macs < worst.macs)

    def enter(self, entry: BoardEntry) -> None:
        """Add an admitted path; the worst leaves a full board."""
        self.replace([*self.entries[: self.size - 1], entry])

    def replace(self, entries: Sequence[BoardEntry]) -> None:
        """Set all entries, as after measuring them again."""
        self.entries = sorted(entries, key=lambda entry: entry.scored.order)
        if entries:
            self.images = torch.cat([entry.images for entry in self.entries])
            self.features = torch.stack([entry.features for entry in self.entries])

    def candidates(self, student: Any) -> list[int]:
        """The entries that may teach a path, best first: all but the path itself."""
        return [number for number, entry in enumerate(self.entries) if entry.scored.architecture != student]

    def state_dict(self) -> list[dict[str, Any]]:
        """Entries as plain values and tensors."""
        return [{**vars(entry), "scored": entry.scored.to_json()} for entry in self.entries]

    def load_state_dict(self, state: Sequence[dict[str, Any]]) -> None:
        """Inverse of `state_dict`."""
        self.replace([BoardEntry(**{**entry, "scored": Scored.from_json(entry["scored"])}) for entry in state])
