"""Where a training stands, in epochs and in steps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeAlias

StepsPerEpoch: TypeAlias = int | Fraction
"""A fraction where batches run across the ends of epochs (TRAIN.ACROSS_EPOCHS)."""


def steps_before(epoch: int, steps_per_epoch: StepsPerEpoch) -> int:
    """Whole steps in the first `epoch` epochs: what such an epoch lacks of a last step, the next one takes."""
    return math.floor(epoch * steps_per_epoch)


@dataclass(frozen=True)
class Position:
    """Epoch, and step within it (from 0)."""

    epoch: int
    step: int
    steps_per_epoch: StepsPerEpoch

    @property
    def total(self) -> int:
        """Steps since the start."""
        return steps_before(self.epoch, self.steps_per_epoch) + self.step

    @property
    def next(self) -> Position:
        """One step further, within the epoch."""
        return replace(self, step=self.step + 1)

    @property
    def is_last(self) -> bool:
        """Whether this is the last step of its epoch."""
        return self.total + 1 == steps_before(self.epoch + 1, self.steps_per_epoch)
