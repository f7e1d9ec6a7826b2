"""Which precision a job computes in."""

from __future__ import annotations

import torch
from torch import nn

from configs.errors import DeviceError
from configs.schema import Runtime
from runtime.apex import ApexPrecision
from runtime.npu import find_overflow_register
from runtime.precision import Precision
from runtime.world import World


def build_precision(config: Runtime, world: World) -> Precision:
    """The configured precision on this process's device; RUNTIME.PRECISION=auto is O2, but O0 on a cpu.

    Raises:
        DeviceError: the device does not compute in RUNTIME.DTYPE.
        ConfigError: apex is asked for and absent.
    """
    device = world.device
    automatic = "O0" if device.type == "cpu" else "O2"
    level = automatic if config.precision == "auto" else config.precision
    if level != "O0":
        _check_half(level, config.dtype, device)
    if level != "O0" and config.amp_engine == "apex":
        return ApexPrecision(level, device, config.loss_scale)
    return Precision(level, config.dtype, device, config.loss_scale, find_overflow_register(device, world.sum))


def _check_half(level: str, dtype: str, device: torch.device) -> None:
    """Refuse a type in which a convolution fails, forwards or backwards."""
    try:
        half = torch.ones(1, 1, 3, 3, dtype=getattr(torch, dtype), device=device, requires_grad=True)
        nn.functional.conv2d(half, half).sum().backward()
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        other = "bfloat16" if dtype == "float16" else "float16"
        raise DeviceError(
            f"RUNTIME.PRECISION={level} computes in RUNTIME.DTYPE={dtype}, which this {device.type} does not "
            f"({reason}); set RUNTIME.DTYPE={other}, or RUNTIME.PRECISION=O0"
        ) from error
