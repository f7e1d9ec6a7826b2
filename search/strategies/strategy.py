"""What a way of training a supernet offers to train.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from runtime.position import Position
from search.scores import Scored
from supernet.architecture import Architecture


class Strategy(Protocol):
    """Turns a batch and a path into a loss, and keeps what it needs between steps. All of it resumes."""

    def loss(self, images: Tensor, labels: Tensor, path: Architecture, position: Position) -> Tensor:
        """The loss of one batch (images (B, C, H, W), labels (B,)) on one path."""

    def after_step(self, images: Tensor, paths: Sequence[Architecture], position: Position, lr: float) -> None:
        """Called after the weights moved; `paths` are this epoch's, one a step."""

    def end_epoch(self) -> None:
        """Called after the last step of an epoch."""

    @property
    def prioritized(self) -> list[Scored]:
        """Paths that training found good, best first: where a picker starts."""

    def metrics(self) -> dict[str, float]:
        """Values to record, by name."""

    def state_dict(self) -> dict[str, Any]:
        """All state, as plain values and tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
