"""One path a step, each equally likely."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn import functional

from runtime.position import Position
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.networks.path_supernet import PathSupernet


class UniformStrategy:
    """Single-path one-shot training (Guo et al. 2020): cross entropy of the sampled path."""

    def __init__(self, supernet: PathSupernet, label_smoothing: float) -> None:
        self.supernet, self.label_smoothing = supernet, label_smoothing

    def loss(self, images: Tensor, labels: Tensor, path: Architecture, position: Position) -> Tensor:
        """The loss of one batch on one path."""
        logits = self.supernet(images, path).float()
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)

    def after_step(self, images: Tensor, paths: Sequence[Architecture], position: Position, lr: float) -> None:
        """Nothing to keep."""

    def end_epoch(self) -> None:
        """Nothing to keep."""

    @property
    def prioritized(self) -> list[Scored]:
        """No path is prioritized."""
        return []

    def metrics(self) -> dict[str, float]:
        """Nothing to report."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """No state."""
