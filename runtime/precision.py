"""How a loss becomes a step of the weights at each precision level."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


class Precision:
    """O0: everything in fp32. O1: autocast to a half precision type, with a dynamic loss scale if that is float16.

    One step: `with autocast()` forward -> `backward(loss)` -> gradients are reduced over the processes -> `step`.
    """

    def __init__(self, level: str, dtype: str, device: torch.device) -> None:
        self.level = level
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device = device
        scaled = level == "O1" and self.dtype == torch.float16
        self._scaler = torch.amp.GradScaler(device.type) if scaled else None

    def autocast(self) -> torch.autocast:
        """Context of a forward pass and its loss."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.level == "O1")

    @property
    def is_scaled(self) -> bool:
        """Whether there is a loss scale, which a step without progress may be lowering."""
        return self._scaler is not None

    @property
    def is_collapsed(self) -> Tensor:
        """Whether the loss scale fell below 1: gradients overflow even unscaled. (), on the device."""
        return self._scale(torch.ones((), device=self.device)) < 1.0

    def _scale(self, loss: Tensor) -> Tensor:
        return self._scaler.scale(loss) if self._scaler else loss

    def backward(self, loss: Tensor, weight: float = 1.0) -> None:
        """Add `weight` times the loss's gradients, scaled until `step`; all are NaN where the loss is not finite."""
        scaled = self._scale(loss)
        scaled.backward(torch.where(loss.detach().isfinite(), weight, torch.nan).to(scaled.dtype))

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Unscale, clip to a total norm (0: no clipping) and step; unless a gradient is not finite: then nothing moves.

        As with torch's GradScaler, a fused optimizer reads on the device whether to step, so that the host runs ahead;
        for the others the host must know, which costs an accelerator one wait a step and a cpu nothing.

        Returns:
            (), bool, on the device: whether the step was taken.
        """
        if self._scaler:
            self._scaler.unscale_(optimizer)
        finite = _clip(optimizer, clip_norm).isfinite()
        if self.device.type != "cpu" and getattr(optimizer, "_step_supports_amp_scaling", False):
            _step_on_device(optimizer, finite)
        elif finite:
            optimizer.step()
        if self._scaler:
            self._scaler.update()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and its history; empty where there is none."""
        return self._scaler.state_dict() if self._scaler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; a state of another precision leaves the fresh scale."""
        if self._scaler and state:
            self._scaler.load_state_dict(state)


def _clip(optimizer: Optimizer, limit: float) -> Tensor:
    """Clip the gradients to a total norm; the norm they had, which is finite if all of them are."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    used = [parameter for parameter in parameters if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in used if parameter.grad is not None])
    if limit > 0:
        nn.utils.clip_grads_with_norm_(used, limit, norm)
    return norm


def _step_on_device(optimizer: Optimizer, finite: Tensor) -> None:
    """The protocol between GradScaler and fused optimizers: they leave everything alone where `found_inf` is 1."""
    setattr(optimizer, "found_inf", (~finite).float())  # noqa: B010 (no attribute of the class)
    try:
        optimizer.step()
    finally:
        delattr(optimizer, "found_inf")
