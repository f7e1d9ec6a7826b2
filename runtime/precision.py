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

    def backward(self, loss: Tensor) -> None:
        """Gradients of the loss, scaled until `step`."""
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def step(self, optimizer: Optimizer, clip_norm: float = 0.0) -> bool:
        """Unscale, clip to a total norm (0: no clipping) and step; False where an overflow left the weights alone.

        Without a loss scale every step is taken: whether loss and gradients are finite is the caller's to watch.
        """
        if self._scaler is None:
            _clip(optimizer, clip_norm)
            optimizer.step()
            return True
        moved: list[bool] = []  # asking the scaler instead would wait for the device a second time
        hook = optimizer.register_step_post_hook(lambda *_: moved.append(True))
        try:
            self._scaler.unscale_(optimizer)
            _clip(optimizer, clip_norm)
            self._scaler.step(optimizer)
            self._scaler.update()
        finally:
            hook.remove()
        return bool(moved)

    def state_dict(self) -> dict[str, Any]:
        """The loss scale and its history; empty where there is none."""
        return self._scaler.state_dict() if self._scaler else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; a state of another precision leaves the fresh scale."""
        if self._scaler and state:
            self._scaler.load_state_dict(state)


def _clip(optimizer: Optimizer, norm: float) -> None:
    if norm > 0:
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        nn.utils.clip_grad_norm_([parameter for parameter in parameters if parameter.grad is not None], norm)
