"""The processes of a job and what they say to each other."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from configs.errors import DeviceError, OnePathError, ProcessError
from configs.schema import Runtime as RuntimeConfig
from runtime.device import make_deterministic, select_device

T = TypeVar("T")
_SILENT = re.compile("timed out|timeout", re.IGNORECASE)  # what torch's backends and their store say of a process …
_ENDED = re.compile("connection (closed|reset|refused)|broken pipe|read error|write error", re.IGNORECASE)


@dataclass(frozen=True)
class World:
    """This process among the others. Every collective is called by all processes, and does nothing for a single one."""

    rank: int = 0
    local_rank: int = 0
    size: int = 1
    local_size: int = 1
    device: torch.device = torch.device("cpu")  # noqa: RUF009 (a device is an immutable value)
    timeout_minutes: float = 30.0
    hosts: dist.ProcessGroup | None = None
    """The same processes once more, for values that lie on the host."""

    @property
    def is_main(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Around every collective: a process that does not take part is told of in one message.

        Raises:
            ProcessError: another process ended, or did not answer within RUNTIME.TIMEOUT_MINUTES.
        """
        try:
            yield
        except RuntimeError as error:
            if _SILENT.search(str(error)):
                raise ProcessError(self._explain_silence()) from error
            if _ENDED.search(str(error)):
                raise ProcessError(
                    f"another of the {self.size} processes ended: its own message says why (out of memory leaves none, "
                    "only the system's log); RESUME_PATH=auto continues from the last checkpoint"
                ) from error
            raise

    def _explain_silence(self) -> str:
        return (
            f"process {self.rank} of {self.size} (counted from 0) waited for another one, which did not answer within "
            f"RUNTIME.TIMEOUT_MINUTES={self.timeout_minutes:g}: it hangs, or is that much slower. Look for a stopped "
            "process, a machine or network that is down, a disk that does not answer; RESUME_PATH=auto continues from "
            "the last checkpoint"
        )

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.size > 1:
            with self.listening():
                dist.barrier(device_ids=None if self.device.type == "cpu" else [self.local_rank])

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """Sum over the processes, in place; the tensor lies on `device`."""
        if self.size > 1:
            with self.listening():
                dist.all_reduce(tensor)
        return tensor

    def mean(self, tensor: torch.Tensor) -> torch.Tensor:
        """Mean over the processes of a floating-point tensor, in place."""
        return self.sum(tensor).div_(self.size)

    def gather(self, value: T) -> list[T]:
        """Every process's object, on every process, in the order of ranks."""
        values: list[Any] = [value] * self.size
        if self.size > 1:
            with self.listening():
                dist.all_gather_object(values, value)
        return values

    def broadcast(self, value: T, source: int = 0) -> T:
        """The object of one process, on every process."""
        values = [value]
        if self.size > 1:
            with self.listening():
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


class Vote:
    """The largest number that any process names, known to all at the same call, without waiting for it.

    A call gives the result of the call before: the numbers travel on the host while the device computes.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._ballot = torch.zeros(1, dtype=torch.int32)
        self._pending: dist.Work | None = None

    def __call__(self, number: int) -> int:
        """Name a number; the largest of the previous call. A single process has no need to wait for the next."""
        if self._world.size == 1:
            return number
        previous = self._finish()
        with self._world.listening():
            self._ballot.fill_(number)
            self._pending = dist.all_reduce(self._ballot, dist.ReduceOp.MAX, self._world.hosts, async_op=True)
        return previous

    def at_once(self, number: int) -> int:
        """Name a number and wait: the largest of this call and the previous one."""
        return max(self(number), self._finish())

    def _finish(self) -> int:
        if self._pending is None:
            return 0
        with self._world.listening():
            self._pending.wait()
        self._pending = None
        return int(self._ballot)


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
    torch.set_num_threads(config.threads or max(1, count_cores() // local_size))
    hosts = _join(device, config.timeout_minutes) if size > 1 else None
    return World(rank, local_rank, size, local_size, device, config.timeout_minutes, hosts)


def stop_world() -> None:
    """Leave the process group, if there is one."""
    if dist.is_initialized():
        dist.destroy_process_group()


def _join(device: torch.device, timeout_minutes: float) -> dist.ProcessGroup:
    """Make the device's process group, and the one of the hosts.

    An accelerator's backend ends the process where it waits too long, so it waits a minute longer than the hosts, whose
    error has a message.
    """
    backend, timeout = dist.get_default_backend_for_device(device), timedelta(minutes=timeout_minutes)
    patience = timedelta(minutes=device.type != "cpu")
    try:
        store, rank, size = next(dist.rendezvous("env://", timeout=timeout + patience))
        # torchrun keeps its store when it restarts processes: without a prefix they find those of dead ones there
        store = dist.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        dist.init_process_group(backend, timeout=timeout + patience, world_size=size, rank=rank, store=store)
        return dist.new_group(timeout=timeout, backend="gloo")
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the processes did not meet ({backend}): {error}") from error


def _read(variable: str, default: int | None) -> int:
    text = os.environ.get(variable)
    if text is None and default is not None:
        return default
    try:
        return int(text or "")
    except ValueError:
        found = "not set, though WORLD_SIZE is" if text is None else f"{text!r}, not a number"
        raise DeviceError(f"a launcher's variable {variable} is {found}; start with torchrun") from None


def count_cores() -> int:
    """Cores that this process may use, which a container or a job scheduler may have restricted."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
