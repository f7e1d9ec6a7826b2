"""Many independent jobs, each a command: handed in, run where there is room, told of as they end.

A cluster's scheduler takes part by answering `Executor`; `LocalExecutor` runs worker processes of this machine.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

from runtime.console import logger
from runtime.files import explained
from runtime.launching import device_environment

POLL = 0.05  # seconds between two looks at the workers
PATIENCE = 60.0  # seconds that a worker has to save its checkpoint when it is asked to end
_PR_SET_PDEATHSIG = 1  # sys/prctl.h
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Job:
    """One command, which needs one device.

    Attributes:
        name: tells it from the others.
        log: what it prints is added here.
        environment: variables beside those of this process.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """How a job ended.

    Attributes:
        status: its exit status; -N where signal N killed it.
        device: the number of the device it ran on, from 0.
        seconds: how long it ran.
    """

    job: Job
    status: int
    device: int
    seconds: float


class Executor(Protocol):
    """What runs jobs."""

    def submit(self, job: Job) -> None:
        """Run the job as soon as there is room."""

    def as_completed(self) -> Iterator[Ended]:
        """Each job once it ended, those included that are submitted on the way, until none is left."""

    def cancel(self) -> None:
        """Forget the jobs that wait, and end those that run; returns when they have ended."""


@dataclass(frozen=True)
class _Worker:
    job: Job
    process: subprocess.Popen[bytes]
    device: int
    started: float


class LocalExecutor:
    """Worker processes of this machine. To be used as a context: what still runs at its end is cancelled.

    Ctrl-C in a terminal does not reach the workers, whose groups are their own: this process asks them to end, with
    SIGTERM. On Linux they are also asked when it dies without a word.
    """

    def __init__(self, kind: str, devices: Sequence[int], per_device: int = 1, inherited: Sequence[int] = ()) -> None:
        """Make room for jobs.

        Args:
            kind: cpu, cuda or npu.
            devices: their numbers, from 0; a cpu's are names only.
            per_device: jobs that share a device.
            inherited: descriptors that the workers keep open: a lock is held until the last of them has ended.

        Raises:
            DeviceError: a device is not there.
        """
        self._environments = {device: device_environment(kind, [device]) for device in devices}
        self._inherited = tuple(inherited)
        self._free = deque(device for _ in range(per_device) for device in devices)
        self._waiting: deque[Job] = deque()
        self._running: list[_Worker] = []

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.cancel()

    def submit(self, job: Job) -> None:
        """As `Executor`."""
        self._waiting.append(job)

    def as_completed(self) -> Iterator[Ended]:
        """As `Executor`.

        Raises:
            StorageError: a log cannot be written.
        """
        while self._waiting or self._running:
            while self._waiting and self._free:
                self._start()
            ended = [worker for worker in self._running if worker.process.poll() is not None]
            for worker in ended:
                self._running.remove(worker)
                self._free.append(worker.device)
            for worker in ended:
                seconds = time.monotonic() - worker.started
                yield Ended(worker.job, worker.process.returncode, worker.device, seconds)
            if not ended:
                time.sleep(POLL)

    def cancel(self) -> None:
        """As `Executor`; a worker that does not end in time is killed."""
        self._waiting.clear()
        if self._running:
            logger.info("asking %d worker(s) to save and end", len(self._running))
        for worker in self._running:
            worker.process.terminate()
        deadline = time.monotonic() + PATIENCE
        while self._running:
            worker = self._running.pop()
            try:
                worker.process.wait(max(deadline - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()

    def _start(self) -> None:
        job, device = self._waiting[0], self._free[0]
        with explained(job.log), job.log.open("ab") as log:
            process = subprocess.Popen(
                job.command,
                env={**self._environments[device], **job.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=self._inherited,
                preexec_fn=partial(_follow, os.getpid()),
            )
        self._running.append(_Worker(job, process, device, time.monotonic()))
        self._waiting.popleft()
        self._free.popleft()


def _follow(parent: int) -> None:
    """In the worker, before its program: a group of its own, and an end that comes with the parent's."""
    os.setpgid(0, 0)
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died in between
            os._exit(1)
