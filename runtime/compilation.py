"""torch.compile of a network, or one message where it cannot work."""

from __future__ import annotations

import torch
from torch import nn

from configs.errors import DeviceError


def compile_in_place(network: nn.Module, device: torch.device) -> None:
    """Compile the forward pass at its first calls; the names of weights stay as they are, and copies are not compiled.

    Raises:
        DeviceError: what torch.compile needs is not on this machine: a C++ compiler, or Triton for an accelerator.
    """
    try:
        torch.compile(torch.neg)(torch.ones(2, device=device))
    except Exception as error:  # the backends raise about any type
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DeviceError(
            f"RUNTIME.COMPILE: torch.compile does not work on this machine's {device.type} ({reason}); install a C++ "
            "compiler (and Triton for an accelerator), or set RUNTIME.COMPILE=false"
        ) from error
    network.compile()
