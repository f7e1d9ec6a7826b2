"""O1 to O3 by an installed apex that has `amp`: NVIDIA's before May 2025, or Ascend's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from configs.errors import ConfigError
from runtime.masters import MasterWeights
from runtime.precision import OptimizerBuilder, Precision, clip, mark_faults, used_parameters


class ApexPrecision(Precision):
    """`Precision` in float16, whose casts, loss scale and masters are apex's (https://nvidia.github.io/apex/amp.html).

    Raises:
        ConfigError: no apex with amp is installed.
    """

    def __init__(self, level: str, device: torch.device, loss_scale: float | Literal["dynamic"]) -> None:
        super().__init__(level, "float16", device)
        self._amp, self._setting, self._scale = _import_amp(), loss_scale, None

    def prepare(self, module: nn.Module, build: OptimizerBuilder) -> tuple[MasterWeights, Optimizer]:
        """As `Precision.prepare`; for one module, which the later calls are about."""
        norms = [tensor for part in module.modules() if hasattr(part, "running_mean") for tensor in _tensors(part)]
        values = [tensor.detach().clone() for tensor in norms]
        optimizer = build(list(module.parameters()))
        self._amp.initialize(module, optimizer, opt_level=self.level, loss_scale=self._setting, verbosity=0)
        masters: dict[nn.Parameter, nn.Parameter] = {}
        if self.level == "O2":
            for norm, value in zip(norms, values):  # apex knows torch's batch norm only, not the superkernel's
                norm.data = value
            optimizer._amp_lazy_init()  # type: ignore[attr-defined]  # apex makes masters at the first step
            stash = optimizer._amp_stash  # type: ignore[attr-defined]
            masters = dict(zip(stash.all_fp16_params, stash.all_fp32_from_fp16_params))
        self._optimizer: Any = optimizer
        return MasterWeights(module, {name: masters.get(p, p) for name, p in module.named_parameters()}), optimizer

    def autocast(self) -> torch.autocast:
        """Nothing: apex has replaced torch's functions where it casts."""
        return torch.autocast(self.device.type, dtype=self.dtype, enabled=False)

    @property
    def has_dynamic_scale(self) -> bool:
        """Whether there is a loss scale that a step without progress may be lowering."""
        return self._setting == "dynamic"

    @property
    def is_collapsed(self) -> Tensor:
        """Whether the loss scale fell below 1. (), on the device."""
        scale = self._amp.state_dict()["loss_scaler0"]["loss_scale"]
        return torch.tensor(scale < 1.0, device=self.device)

    def backward(self, loss: Tensor, weight: float = 1.0) -> None:
        """As `Precision.backward`."""
        with self._amp.scale_loss(loss, self._optimizer, delay_unscale=True) as scaled:
            scaled.backward(mark_faults(loss, weight).to(scaled.dtype))

    def step(self, weights: MasterWeights, optimizer: Optimizer, clip_norm: float = 0.0) -> Tensor:
        """As `Precision.step`; the host waits for the device, as it always does with apex."""
        with self._amp.scale_loss(torch.zeros((), device=self.device), optimizer):
            pass  # adds nothing: unscales what `backward` left, hands it to the masters and looks for an overflow
        overflowed = bool(self._optimizer._amp_stash.already_patched)
        finite = clip(used_parameters(optimizer), clip_norm).isfinite() & (not overflowed)
        if finite or overflowed:  # after an overflow apex has replaced this one step by none
            optimizer.step()
        return finite

    def state_dict(self) -> dict[str, Any]:
        """apex's loss scale."""
        return {"apex": self._amp.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; a state of another precision leaves the fresh scale."""
        if "apex" in state:
            self._amp.load_state_dict(state["apex"])


def _import_amp() -> Any:
    try:
        from apex import amp
    except ImportError as error:
        raise ConfigError(
            f"RUNTIME.AMP_ENGINE=apex, but no apex that has amp is installed here ({error}); NVIDIA's has none since "
            "May 2025, and what PyPI calls apex is something else: use RUNTIME.AMP_ENGINE=native, which needs none"
        ) from error
    return amp


def _tensors(module: nn.Module) -> Sequence[Tensor]:
    return [*module.parameters(), *module.buffers()]
