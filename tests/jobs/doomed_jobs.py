"""Starts jobs that die of SIGKILL at a chosen moment, in forks of one process that has imported the slow libraries.

Each line on stdin is a request (`Job` as JSON); the answer is the job's exit status. With several processes, torchrun's
own elastic agent starts them, ends the others when one dies, and restarts them where it may.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import runpy
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PATIENCE = 300.0  # seconds after which a job that hangs is killed
PHASES = {
    "supernet step": "search.training:SupernetTraining.step",
    "board": "search.strategies.prioritized:PrioritizedStrategy.update_board",
    "measurement": "search.objective:SupernetObjective.__call__",
    "proposal": "search.pickers.evolution:EvolutionPicker.ask",
    "network step": "retrain.training:NetworkTraining.step",
    "checkpoint": "runtime.checkpoint:Checkpointer.save",
    "record": "runtime.tracking:Tracker.log",
}


@dataclass(frozen=True)
class Death:
    """When, and of whom.

    Attributes:
        phase: a key of PHASES, or "clock".
        call: which call of the phase's function (from 2: the first one is measured).
        share: how far into that call, counted in calls of functions inside it; for "clock", seconds since the start.
        rank: the process that dies.
        together: all processes and their launcher die with it.
    """

    phase: str
    call: int = 2
    share: float = 0.0
    rank: int = 0
    together: bool = False


@dataclass(frozen=True)
class Job:
    """A script with its arguments; `processes` 0: without a launcher."""

    arguments: list[str]
    log: str
    processes: int = 0
    restarts: int = 0
    file_limit: int = resource.RLIM_INFINITY
    death: Death | None = None


class Jobs:
    """The server, seen from a test."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        command = [sys.executable, __file__]
        self.server = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, bufsize=1, **pipes)

    def run(self, job: Job) -> int:
        """The exit status of a job, negative for a signal."""
        assert self.server.stdin
        assert self.server.stdout
        self.server.stdin.write(json.dumps(asdict(job)) + "\n")
        return int(self.server.stdout.readline())

    def close(self) -> None:
        self.server.communicate()


def warm_up() -> None:
    """Import what scripts import only when they need it, but start no thread: forks would lack it."""
    import sklearn.datasets  # noqa: F401
    import tensorboard.compat.proto.event_pb2
    import tensorboard.summary.writer.record_writer  # noqa: F401
    import torch

    torch.optim.SGD([torch.zeros(1)], lr=0.1)
    for script in ("train.py", "retrain.py"):
        runpy.run_path(str(ROOT / script))  # imports only: its name is not __main__


def serve() -> None:
    answers, _ = os.dup(1), os.dup2(2, 1)  # what imports print is no answer
    for line in sys.stdin:
        child = os.fork()
        if not child:
            request = json.loads(line)
            death = Death(**request["death"]) if request["death"] else None
            start(Job(**{**request, "death": death}))
            sys.exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(answers, f"{status}\n".encode())


def start(job: Job) -> None:
    """Be that job, in a process group of its own."""
    os.setpgid(0, 0)
    log = os.open(job.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), log, log)):
        os.dup2(file, number)
    die_later(PATIENCE, Death("clock", together=True))
    resource.setrlimit(resource.RLIMIT_FSIZE, (job.file_limit, job.file_limit))
    if job.processes:
        launch(job)
    else:
        run_script(job)


def launch(job: Job) -> None:
    """As `torchrun --standalone --nproc-per-node=… --max-restarts=…`, but that workers are forks."""
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    elastic_launch(
        LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=job.processes,
            run_id=uuid.uuid4().hex,
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            max_restarts=job.restarts,
            monitor_interval=0.1,
            start_method="fork",
        ),
        run_script,
    )(job)


def run_script(job: Job) -> None:
    """What each process of a job does; unlike torchrun's, a fork has the handlers of its launcher."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    first = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"
    if job.death and first and int(os.environ.get("RANK", 0)) == job.death.rank:
        arm(job.death)
    sys.argv = list(job.arguments)
    runpy.run_path(job.arguments[0], run_name="__main__")


def arm(death: Death) -> None:
    """Die at that moment."""
    if death.phase == "clock":
        die_later(death.share, death)
        return
    module, _, name = PHASES[death.phase].partition(":")
    owner, _, method = name.rpartition(".")
    place = getattr(importlib.import_module(module), owner)
    setattr(place, method, Doomed(getattr(place, method), death).bind())


class Doomed:
    """A function that kills its process inside one of its calls, at the latest when that call returns."""

    def __init__(self, function: Callable[..., Any], death: Death) -> None:
        self.function, self.death = function, death
        self.calls = self.events = self.extent = 0

    def bind(self) -> Callable[..., Any]:
        return lambda *arguments, **keywords: self.call(arguments, keywords)

    def call(self, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        self.calls += 1
        if self.calls not in (1, self.death.call):
            return self.function(*arguments, **keywords)
        self.events = 0
        sys.setprofile(self.count)
        try:
            result = self.function(*arguments, **keywords)
        finally:
            sys.setprofile(None)
        if self.calls == self.death.call:
            die(self.death)
        self.extent = self.events
        return result

    def count(self, *_: Any) -> None:
        self.events += 1
        if self.calls > 1 and self.events > self.death.share * self.extent:
            die(self.death)


def die_later(seconds: float, death: Death) -> None:
    timer = threading.Timer(seconds, die, [death])
    timer.daemon = True
    timer.start()


def die(death: Death) -> None:
    """SIGKILL: no handler runs, no buffer is written."""
    os.write(2, f"killed: {death}\n".encode())
    if death.together:
        os.killpg(0, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    warm_up()
    serve()
