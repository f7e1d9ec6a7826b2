"""The processes of a job and what they say to each other."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from configs.errors import DeviceError, OnePathError
from configs.schema import Runtime as RuntimeConfig
from runtime.device import make_deterministic, select_device

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """This process among the others. Every collective is called by all processes, and does nothing for a single one."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a device is an immutable value)

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            dist.barrier(device_ids=None if self.device.type == "cpu" else [self.local_rank])

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, in place; the tensor lies on `device`."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Mean over the processes of a floating-point tensor, in place."""
        return self.sum(tensor).div_(self.size)

    def gather(self, value: T) -> list[T]:
        """Every process's object, on every process, in the order of ranks."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T, source: int = 0) -> T:
        """The object of one process, on every process."""
        values = [value]
        if self.size > 1:
            dist.broadcast_object_list(values, src=source)
        return values[0]

    def agree(self, decide: Callable[[], T]) -> T:
        """What the main process decides, on every process; an OnePathError that it raises is raised on all."""
        outcome: tuple[T | None, OnePathError | None] = (None, None)
        if self.is_main:
            try:
                outcome = (decide(), None)
            except OnePathError as error:
                outcome = (None, error)
        value, failure = self.broadcast(outcome)
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]


def start_world(config: RuntimeConfig) -> World:
    """Join the processes that torchrun or torch.distributed.launch started; without a launcher, be the only one.

    Raises:
        DeviceError: no device for this process, a launcher's variable is missing, or the processes do not meet.
    """
    size = _read("WORLD_SIZE", 1)
    launched = "WORLD_SIZE" in os.environ
    rank = _read("RANK", None if launched else 0)
    local_rank = _read("LOCAL_RANK", None if launched else 0)
    local_size = _read("LOCAL_WORLD_SIZE", size)
    if config.deterministic:
        make_deterministic()
    device = select_device(config.device, local_rank)
    torch.set_num_threads(config.threads or max(1, _count_cores() // local_size))
    if size > 1:
        _join(device, config.timeout_minutes)
    return World(rank, local_rank, size, local_size, device)


def stop_world() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _join(device: torch.device, timeout_minutes: float) -> None:
    backend = dist.get_default_backend_for_device(device)
    try:
        dist.init_process_group(backend, timeout=timedelta(minutes=timeout_minutes))
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the processes did not meet ({backend}): {error}") from error


def _read(variable: str, default: int | None) -> int:
    text = os.environ.get(variable)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        value = "not set" if text is None else f"{text!r}"
        raise DeviceError(f"WORLD_SIZE is set but {variable} is {value}; start with torchrun") from None


def _count_cores() -> int:
    """Cores that this process may use, which a container or a job scheduler may have restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
