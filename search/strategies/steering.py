"""The weight of a cost term, moved so that a cost ends inside a window."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from supernet.window import FlopsWindow

INSIDE = 0.05  # how far inside a bound a cost is led, as a share of it; in a narrow window a quarter of its width
FULL = 0.1  # how far outside of that lambda is all of the strength
CALM = 0.1  # share of their steps that thresholds take in the window


class Steering:
    """lambda = strength * how far outside of the window the decisions' cost is, from -1 (far below) to 1 (far above).

    Between the bounds lambda is 0, and accuracy alone decides. The strength grows by `rate` * |log(cost / bound)| an
    epoch, so that it becomes what it takes to lead the cost back, whatever the loss's scale. A bound that each
    architecture keeps is none.

    Args:
        strength: at the start.
        rate: of its growth.
    """

    def __init__(self, strength: float, rate: float, window: FlopsWindow, device: torch.device) -> None:
        self.rate = rate
        self.low, self.high = _aims(window)
        self.strength, self.distance = (torch.tensor(value, device=device) for value in (strength, 0.0))

    @property
    def weight(self) -> Tensor:
        """lambda, ()."""
        return self.strength * (self.distance / FULL).clamp(-1.0, 1.0)

    @property
    def haste(self) -> Tensor:
        """(): by what thresholds' steps are multiplied. What was found in the window is left for a steady gain only."""
        return torch.where(self.distance == 0, CALM, 1.0)

    def follow(self, macs: Tensor, steps_per_epoch: float) -> None:
        """Take in the cost of a step, (), in millions of MACs."""
        cost = macs.log()
        self.distance = (cost - self.high).clamp_min(0.0) + (cost - self.low).clamp_max(0.0)
        self.strength = self.strength + self.rate / steps_per_epoch * self.distance.abs()

    def state_dict(self) -> dict[str, Any]:
        """Strength, and the last distance."""
        return {"strength": self.strength, "distance": self.distance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        device = self.strength.device
        self.strength, self.distance = (state[name].to(device) for name in ("strength", "distance"))


def _aims(window: FlopsWindow) -> tuple[float, float]:
    """Logarithms of the millions of MACs between which lambda is 0."""
    smallest, largest = window.feasible_range(window.table)
    low, high = (math.log(macs / 1e6) for macs in (max(window.minimum, smallest), min(window.maximum, largest)))
    inset = min(INSIDE, (high - low) / 4)
    return (
        low + inset if window.minimum > smallest else -math.inf,
        high - inset if window.maximum < largest else math.inf,
    )
