"""Which device a process computes on."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Sequence

import torch

from configs.errors import DeviceError
from runtime.npu import configure_npu, explain_missing_npu, make_npu_deterministic

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h


def select_device(name: str, local_rank: int = 0) -> torch.device:
    """The device of one process, set as current; to be called before the process group is made.

    `name` is auto (the accelerator if there is one, else the cpu), cpu, cuda or npu.

    Raises:
        DeviceError: the device is absent, or there are fewer of them than processes.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "cpu" or (name == "auto" and accelerator is None):
        tune_host_memory()
        return torch.device("cpu")
    if accelerator is None or name not in ("auto", accelerator.type):
        raise DeviceError(_explain_absence(name, accelerator))
    module = torch.get_device_module(accelerator.type)
    count = module.device_count()
    if local_rank >= count:
        raise DeviceError(
            f"process {local_rank} (counted from 0) of this machine has no device: it has {count} {accelerator.type} "
            f"device(s); start at most {count} process(es) here (--nproc_per_node={count}) or use RUNTIME.DEVICE=cpu"
        )
    module.set_device(local_rank)
    if accelerator.type == "npu":
        configure_npu()
    return torch.device(accelerator.type, local_rank)


def count_devices(name: str) -> tuple[str, int]:
    """The kind of device (cpu, cuda, npu) that a name means here, and how many this machine has.

    A cpu's devices are its cores.

    Raises:
        DeviceError: there is none of them.
    """
    accelerator = torch.accelerator.current_accelerator(check_available=True)
    if name == "cpu" or (name == "auto" and accelerator is None):
        return "cpu", os.cpu_count() or 1
    if accelerator is None or name not in ("auto", accelerator.type):
        raise DeviceError(_explain_absence(name, accelerator))
    return accelerator.type, torch.get_device_module(accelerator.type).device_count()


def choose_devices(name: str, indices: Sequence[int]) -> str:
    """The kind of device that a job on these devices of this machine, from 0, computes on; see `count_devices`.

    Raises:
        DeviceError: one of them is not there.
    """
    kind, count = count_devices(name)
    if absent := sorted(index for index in set(indices) if index >= count):
        missing, there = ", ".join(map(str, absent)), "cores" if kind == "cpu" else f"{kind} device(s)"
        raise DeviceError(
            f"{len(indices)} device(s) asked for, and {missing} (counted from 0) is not there: this machine has "
            f"{count} {there}; name fewer of them" + (", or use the cpu" if kind != "cpu" else "")
        )
    return kind


def tune_host_memory() -> None:
    """Keep torch's memory on a Linux host from going back to the system at each step; called before its first use.

    Activations and gradients are freed and asked for again at every step, and fresh pages have to be zeroed: large
    ones come in huge pages, and the others stay with the process (docs/performance.md).
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    if sys.platform == "linux" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        allocator = ctypes.CDLL(None)
        if hasattr(allocator, "mallopt"):  # glibc has it, others have no such trouble
            allocator.mallopt(_M_MMAP_THRESHOLD, 32 * 2**20)
            allocator.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def memory_format(device: torch.device, channels_last: bool) -> torch.memory_format:
    """Channels-last where it is asked for and the device has it; an NPU refuses it."""
    return torch.channels_last if channels_last and device.type != "npu" else torch.contiguous_format


def make_deterministic() -> None:
    """Refuse operations whose result differs between runs; to be called before the first use of a device."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is reproducible only with a fixed workspace
    make_npu_deterministic()
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def _explain_absence(name: str, accelerator: torch.device | None) -> str:
    found = accelerator.type if accelerator else "only the cpu"
    hint = f"; {explain_missing_npu()}" if name == "npu" and accelerator is None else ""
    return f"RUNTIME.DEVICE={name}, but torch {torch.__version__} finds {found} here{hint}; use RUNTIME.DEVICE=auto"
