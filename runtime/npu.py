"""Settings that only an Ascend NPU has. Each is set where this version of torch_npu knows it.

This is the only module that uses torch_npu's names (`torch.npu`); importing torch loads torch_npu by itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def configure_npu() -> None:
    """Settings of every process before its first operation on the NPU; nothing happens where there is no torch_npu.

    Operators are not compiled for each shape (a supernet's shapes change at each step), tensors keep the public memory
    formats (saved weights are portable), and fp32 is true fp32 (hf32 rounds the inputs of convolutions).
    """
    npu: Any = getattr(torch, "npu", None)
    if hasattr(npu, "set_compile_mode"):
        npu.set_compile_mode(jit_compile=False)
    for part, setting in (("config", "allow_internal_format"), ("conv", "allow_hf32"), ("matmul", "allow_hf32")):
        if hasattr(npu, part):  # torch_npu ignores a setting that it does not know, and some cannot be read
            setattr(getattr(npu, part), setting, False)


def explain_missing_npu() -> str:
    """What an NPU needs that this process lacks."""
    if hasattr(torch, "npu"):
        return (
            "torch_npu is loaded, but has no device: npu-smi info has to list one, ASCEND_RT_VISIBLE_DEVICES (if set) "
            "to name it, and a container to be given it"
        )
    return "an NPU needs torch_npu (requirements-npu.txt) and CANN, and TORCH_DEVICE_BACKEND_AUTOLOAD not to be 0"


def make_npu_deterministic() -> None:
    """Ordered reductions between NPUs; to be called before the process group is made."""
    os.environ.setdefault("HCCL_DETERMINISTIC", "true")


class OverflowRegister:
    """The flag that chips of the first generation set at an overflow: they saturate, and make neither inf nor NaN.

    Args:
        total: sums a tensor of the device over all ranks.
    """

    def __init__(self, utils: Any, device: torch.device, total: Callable[[Tensor], Tensor]) -> None:
        self._utils, self._device, self._total = utils, device, total

    def clear(self) -> None:
        """Forget what was before."""
        self._utils.clear_npu_overflow_flag()

    def found(self) -> Tensor:
        """Whether there was an overflow since `clear`, on any rank: (), bool, on the device."""
        return self._total(torch.tensor(float(self._utils.get_npu_overflow_flag()), device=self._device)) > 0


def find_overflow_register(device: torch.device, total: Callable[[Tensor], Tensor]) -> OverflowRegister | None:
    """The register of a chip that saturates; None for any other device, where inf and NaN tell."""
    utils: Any = getattr(getattr(torch, "npu", None), "utils", None)
    needed = ("is_support_inf_nan", "get_npu_overflow_flag", "clear_npu_overflow_flag")
    if device.type != "npu" or not all(hasattr(utils, name) for name in needed) or utils.is_support_inf_nan():
        return None
    return OverflowRegister(utils, device, total)
