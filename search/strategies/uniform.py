"""One path a step, each equally likely."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from runtime.position import Position
from search.strategies.strategy import Strategy
from supernet.architecture import Architecture
from supernet.networks.path_supernet import PathSupernet


class UniformStrategy(Strategy):
    """Single-path one-shot training (Guo et al. 2020): cross entropy of the sampled path. It keeps nothing."""

    def __init__(self, supernet: PathSupernet, label_smoothing: float) -> None:
        self.supernet, self.label_smoothing = supernet, label_smoothing

    def loss(self, images: Tensor, labels: Tensor, path: Architecture, position: Position) -> Tensor:
        """The loss of one batch on one path."""
        logits = self.supernet(images, path).float()
        return functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
