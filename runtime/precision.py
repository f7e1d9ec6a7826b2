"""How a loss becomes a step of the weights at each precision level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from runtime.casting import cast_calls, cast_weights
from runtime.masters import MasterWeights
from runtime.scaling import LossScale, OverflowProbe

Module = TypeVar("Module", bound=nn.Module)
OptimizerBuilder = Callable[[Sequence[nn.Parameter]], Optimizer]


class Precision:
    """O0: fp32. O1: autocast. O2: half weights but for batch norm, fp32 masters. O3: everything half, no masters.

    The levels are those of NVIDIA's apex (https://nvidia.github.io/apex/amp.html). float16 has a loss scale.

    One step: `begin` -> `with autocast()` forward -> `backward(loss)` -> gradients are averaged over the processes ->
    `step`.
    """

    def __init__(
        self,
        level: str,
        dtype: str,
        device: torch.device,
        loss_scale: float | Literal["dynamic"] = "dynamic",
        probe: OverflowProbe | None = None,
    ) -> None:
        self.level = level
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.device, self.probe = device, probe
        self._scale = LossScale(loss_scale, device) if level != "O0" and dtype == "float16" else None

    def prepare(self, module: nn.Module, build: OptimizerBuilder) -> tuple[MasterWeights, Optimizer]:
        """Make a module ready for training, in place; its weights, and the optimizer of their masters."""
        masters = dict(module.named_parameters())
        self.convert(module)
        if self.level == "O3":
            masters = dict(module.named_parameters())
        return MasterWeights(module, masters), build(list(masters.values()))

    def convert(self, module: Module) -> Module:
        """Make a module compute as this level does, in place; the same module."""
        if self.level in ("O2", "O3"):
            cast_weights(module, self.dtype, spare_norms=self.level == "O2")
            cast_calls(module)
        return module

    def autocast(self) -> torch.autocast:
        """Context of a forward pass and its loss."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=self.level == "O1")

    @property
    def has_dynamic_scale(self) -> bool:
        """Whether there is a loss scale that a step without progress may be lowering."""
        return self._scale is not None and self._scale.is_dynamic

    @property
    def is_collapsed(self) -> Tensor:
        """Whether the loss scale fell below 1: gradients overflow even unscaled. (), on the device."""
        return self._scaled(torch.ones((), device=self.device)) < 1.0

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss * self._scale.value if self._scale else loss

    def begin(self) -> None:
        """Before the forward passes of a step."""
        if self.probe:
            self.probe.clear()

    def backward(self, loss: Tensor, weight: float = 1.0) -> None:
        """Add `weight` times the loss's gradients, scaled until `step`; all are NaN where the loss is not finite."""
        scaled = self._scaled(loss)
        scaled.backward(mark_faults(loss, weight).to(scaled.dtype))

    def step(self, weights: MasterWeights, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """Move the masters, and the weights with them: unscale, clip to a total norm (0: no clipping) and step.

        Where a gradient is not finite nothing moves.

        As with torch's GradScaler, a fused optimizer reads on the device whether to step, so that the host runs ahead;
        for the others the host must know, which costs an accelerator one wait a step and a cpu nothing.

        Returns:
            (), bool, on the device: whether the step was taken.
        """
        weights.collect_gradients()
        used = used_parameters(optimizer)
        if self._scale and used:
            torch._foreach_mul_(_gradients(used), 1.0 / self._scale.value)
        finite = clip(used, clip_norm).isfinite()
        if self.probe:
            finite = finite & ~self.probe.found()
        if self.device.type != "cpu" and getattr(optimizer, "_step_supports_amp_scaling", False):
            _step_on_device(optimizer, finite)
        elif finite:
            optimizer.step()
        weights.follow()
        if self._scale:
            self._scale.update(finite)
        return finite

    def state_dict(self) -> dict[str, Any]:
        """The dynamic loss scale and its history; empty where there is none."""
        return self._scale.state_dict() if self._scale else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; a state of another precision leaves the fresh scale."""
        if self._scale:
            self._scale.load_state_dict(state)


def used_parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    """What an optimizer moves at this step: the parameters that have a gradient."""
    parameters = (parameter for group in optimizer.param_groups for parameter in group["params"])
    return [parameter for parameter in parameters if parameter.grad is not None]


def mark_faults(loss: Tensor, weight: float) -> Tensor:
    """The gradient that a backward pass starts with: `weight`, or NaN where the loss is not finite."""
    return torch.where(loss.detach().isfinite(), weight, torch.nan)


def clip(parameters: Sequence[nn.Parameter], limit: float) -> Tensor:
    """Clip the gradients to a total norm; the norm they had, which is finite if all of them are."""
    norm = nn.utils.get_total_norm(_gradients(parameters))
    if limit > 0:
        nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return norm


def _gradients(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


def _step_on_device(optimizer: Optimizer, finite: Tensor) -> None:
    """The protocol between GradScaler and fused optimizers: they leave everything alone where `found_inf` is 1."""
    setattr(optimizer, "found_inf", (~finite).float())  # noqa: B010 (no attribute of the class)
    try:
        optimizer.step()
    finally:
        delattr(optimizer, "found_inf")
