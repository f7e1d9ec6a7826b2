"""What a way of training a supernet offers to train.py."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from runtime.position import Position
from search.scores import Scored


class Strategy(ABC):
    """Turns a batch and a path into a loss, and keeps what it needs between steps. All of it resumes.

    Only the loss must be said; whatever else is not keeps nothing and tells nothing.
    """

    follows_paths = True
    """Whether a step trains the path that it is given."""

    @abstractmethod
    def loss(self, images: Tensor, labels: Tensor, path: Any, position: Position) -> Tensor:
        """The loss of one batch (images (B, C, H, W), labels (B,)) on one path."""

    def after_step(self, images: Tensor, paths: Sequence[Any], position: Position, lr: float) -> None:
        """Called after the weights moved; `paths` are this epoch's, one a step."""
        return

    def end_epoch(self) -> None:
        """Called after the last step of an epoch."""
        return

    @property
    def prioritized(self) -> Sequence[Scored]:
        """Paths that training found good, best first: where a picker starts."""
        return []

    def metrics(self) -> dict[str, float]:
        """Values to record, by name."""
        return {}

    def facts(self) -> dict[str, Any]:
        """Plain values for pick.json, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """All state, as plain values and tensors."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        return
