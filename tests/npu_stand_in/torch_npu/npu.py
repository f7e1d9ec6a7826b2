"""The module `torch.npu`."""

from __future__ import annotations

import os
from types import SimpleNamespace

import torch

_current = 0

config = SimpleNamespace()
conv = SimpleNamespace(allow_hf32=True)
matmul = SimpleNamespace(allow_hf32=False)
utils = SimpleNamespace(is_support_inf_nan=lambda: True)
compile_mode = {"jit_compile": True}


class Hooks(torch._C._acc.PrivateUse1Hooks):
    """What torch itself asks of a device."""

    def is_available(self) -> bool:
        return is_available()

    def is_built(self) -> bool:
        return True

    def has_primary_context(self, index: int) -> bool:
        return True


class Generator(torch.Generator):
    """Of the host, whatever device is asked for: a device's own cannot be made in Python."""

    def __new__(cls, device: torch.device | str = "cpu") -> Generator:
        return super().__new__(cls, "cpu" if torch.device(device).type == "npu" else device)


def set_compile_mode(jit_compile: bool = False) -> None:
    compile_mode["jit_compile"] = jit_compile


def is_initialized() -> bool:
    return True


def is_available() -> bool:
    return device_count() > 0


def device_count() -> int:
    return int(os.environ.get("NPU_STAND_IN_DEVICES", 2))


def current_device() -> int:
    return _current


def set_device(index: int) -> None:
    global _current
    _current = index


def synchronize(device: object = None) -> None:
    pass


def empty_cache() -> None:
    pass


def manual_seed(seed: int) -> None:
    pass


manual_seed_all = manual_seed


def get_rng_state(device: object = None) -> torch.Tensor:
    return torch.get_rng_state()


def set_rng_state(state: torch.Tensor, device: object = None) -> None:
    torch.set_rng_state(state)


def get_amp_supported_dtype() -> list[torch.dtype]:
    return [torch.float16, torch.bfloat16]


def is_bf16_supported() -> bool:
    return True


def _is_in_bad_fork() -> bool:
    return False
