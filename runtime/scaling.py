"""Loss scales, which keep small gradients from vanishing in float16, and what tells that one is too large."""

from __future__ import annotations

from typing import Any, Literal, Protocol

import torch
from torch import Tensor

START, CAP, INTERVAL = 2.0**16, 2.0**24, 2000


class LossScale:
    """Doubles after 2000 steps in a row without overflow, halves at an overflow; or fixed.

    It lives on the device, so that no host waits for it.
    """

    def __init__(self, setting: float | Literal["dynamic"], device: torch.device) -> None:
        self.is_dynamic = setting == "dynamic"
        self.value = torch.tensor(START if setting == "dynamic" else setting, device=device)
        self._clean_steps = torch.zeros((), device=device)

    def update(self, finite: Tensor) -> None:
        """After a step whose gradients were finite, or not: (), bool."""
        if not self.is_dynamic:
            return
        clean = (self._clean_steps + 1) * finite
        raised = torch.where(clean >= INTERVAL, (self.value * 2).clamp(max=CAP), self.value)
        self.value = torch.where(finite, raised, self.value / 2)
        self._clean_steps = clean % INTERVAL

    def state_dict(self) -> dict[str, Any]:
        """Scale and steps since it last changed; empty for a fixed one."""
        return {"scale": self.value.item(), "clean_steps": self._clean_steps.item()} if self.is_dynamic else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; the state of a run without such a scale leaves the fresh one."""
        if self.is_dynamic and "scale" in state:
            self.value.fill_(state["scale"])
            self._clean_steps.fill_(state["clean_steps"])


class OverflowProbe(Protocol):
    """What tells of an overflow that no gradient shows: chips that saturate make no inf and no NaN."""

    def clear(self) -> None:
        """Forget what was before; called before a step's forward passes."""

    def found(self) -> Tensor:
        """Whether there was an overflow since `clear`, on any rank: (), bool, on the device."""
