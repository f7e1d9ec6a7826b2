"""What loaders give, and where they put it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch

from runtime.position import StepsPerEpoch


class Batch(NamedTuple):
    """images (B, C, H, W) float32, normalised; labels (B,) int64; both on the device."""

    images: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Destination:
    """The device and memory format in which batches arrive."""

    device: torch.device
    channels_last: bool = False

    def receive(self, images: torch.Tensor, labels: torch.Tensor) -> Batch:
        """Move a batch there; without waiting where its memory is pinned."""
        memory_format = torch.channels_last if self.channels_last else torch.contiguous_format
        return Batch(
            images.to(self.device, non_blocking=True, memory_format=memory_format),
            labels.to(self.device, non_blocking=True),
        )


class TrainingLoader(Protocol):
    """Batches of augmented training images, each a pure function of (seed, epoch, step)."""

    @property
    def steps(self) -> StepsPerEpoch:
        """Steps in an epoch; a last partial global batch is dropped, or is the next epoch's first (then a fraction)."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch; from `first_step` on they are those of the uninterrupted epoch."""


class EvaluationLoader:
    """Batches of a split under the evaluation transform; can be iterated again and again.

    `count` is the number of images that this rank sees.
    """

    def __init__(self, count: int, batches: Callable[[], Iterator[Batch]], keep: bool) -> None:
        self.count = count
        self._batches = batches
        self._keep = keep
        self._kept: list[Batch] | None = None

    def __iter__(self) -> Iterator[Batch]:
        if self._kept is not None:
            yield from self._kept
            return
        passed: list[Batch] = []
        for batch in self._batches():
            if self._keep:
                passed.append(batch)
            yield batch
        if self._keep:
            self._kept = passed
