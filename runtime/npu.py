"""Settings that only an Ascend NPU has. Each is set where this version of torch_npu knows it.

This is the only module that uses torch_npu's names (`torch.npu`); importing torch loads torch_npu by itself.
"""

from __future__ import annotations

import os
from typing import Any

import torch


def configure_npu() -> None:
    """Settings of every process before its first operation on the NPU; nothing happens where there is no torch_npu.

    Operators are not compiled for each shape (a supernet's shapes change at each step), tensors keep the public memory
    formats (saved weights are portable), and fp32 is true fp32 (hf32 rounds the inputs of convolutions).
    """
    npu: Any = getattr(torch, "npu", None)
    if hasattr(npu, "set_compile_mode"):
        npu.set_compile_mode(jit_compile=False)
    for part, setting in (("config", "allow_internal_format"), ("conv", "allow_hf32"), ("matmul", "allow_hf32")):
        _switch_off(getattr(npu, part, None), setting)


def make_npu_deterministic() -> None:
    """Ordered reductions between NPUs; to be called before the process group is made."""
    os.environ.setdefault("HCCL_DETERMINISTIC", "true")


def _switch_off(holder: Any, setting: str) -> None:
    if hasattr(holder, setting):
        setattr(holder, setting, False)
