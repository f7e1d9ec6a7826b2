"""One path a step, each equally likely."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from runtime.position import Position
from search.strategies.strategy import Strategy
from supernet.networks.supernets import Supernet


class UniformStrategy(Strategy):
    """Single-path one-shot training (Guo et al. 2020): cross entropy of the sampled path. It keeps nothing."""

    def __init__(self, supernet: Supernet, label_smoothing: float) -> None:
        self.supernet, self.label_smoothing = supernet, label_smoothing

    def loss(self, images: Tensor, labels: Tensor, path: Any, position: Position) -> Tensor:
        """The loss of one batch on one path."""
        logits = self.supernet(images, path).float()
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
