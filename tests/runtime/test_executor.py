"""Real worker processes of an executor."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import DeviceError, StorageError
from runtime import executor as executors
from runtime.executor import Job, LocalExecutor

PYTHON = (sys.executable, "-S", "-c")


def wait_until(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def make_job(folder: Path, name: str, program: str, **environment: str) -> Job:
    return Job(name, (*PYTHON, program), folder / f"{name}.log", environment)


def test_each_job_ends_once_with_its_status_and_output(tmp_path: Path) -> None:
    programs = {
        "good": "import os; print(os.environ['WORD'], flush=True)",
        "bad": "raise SystemExit(3)",
        "dead": "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
    }
    with LocalExecutor("cpu", [0]) as executor:
        for name, program in programs.items():
            executor.submit(make_job(tmp_path, name, program, WORD="heard"))
        ended = {one.job.name: one for one in executor.as_completed()}
    assert {name: one.status for name, one in ended.items()} == {"good": 0, "bad": 3, "dead": -signal.SIGKILL}
    assert (tmp_path / "good.log").read_text() == "heard\n"
    assert all(0 < one.seconds < 10 for one in ended.values())


def test_workers_keep_the_descriptors_that_they_are_to_inherit(tmp_path: Path) -> None:
    lock, other = ((tmp_path / name).open("w") for name in ("lock.file", "other.file"))
    with lock, other, LocalExecutor("cpu", [0], inherited=[lock.fileno()]) as executor:
        for name, file in (("lock", lock), ("other", other)):
            executor.submit(make_job(tmp_path, name, f"import os; os.fstat({file.fileno()})"))
        statuses = {one.job.name: one.status for one in executor.as_completed()}
    assert statuses == {"lock": 0, "other": 1}


def test_jobs_that_are_submitted_on_the_way_run_too(tmp_path: Path) -> None:
    seen = []
    with LocalExecutor("cpu", [0]) as executor:
        executor.submit(make_job(tmp_path, "0", ""))
        for ended in executor.as_completed():
            seen.append(ended.job.name)
            if len(seen) < 3:
                executor.submit(make_job(tmp_path, str(len(seen)), ""))
    assert seen == ["0", "1", "2"]


def test_a_device_has_as_many_workers_as_are_asked_for(tmp_path: Path) -> None:
    """Each waits until four are at work at a time; a fifth would be seen."""
    program = f"""
import os, pathlib, time
folder = pathlib.Path({str(tmp_path)!r})
place = folder / f"at-work-{{os.environ['NAME']}}"
place.touch()
while len(list(folder.glob("at-work-*"))) < 4 and not (folder / "met").exists():
    time.sleep(0.01)
(folder / "met").touch()
time.sleep(0.1)
print(len(list(folder.glob("at-work-*"))), flush=True)
place.unlink()
"""
    with LocalExecutor("cpu", [0, 1], per_device=2) as executor:
        for name in "abcdef":
            executor.submit(make_job(tmp_path, name, program, NAME=name))
        ended = list(executor.as_completed())
    assert {one.device for one in ended} == {0, 1}
    assert max(int((tmp_path / f"{name}.log").read_text()) for name in "abcdef") <= 4


WAITS = "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint('up', flush=True)\ntime.sleep(60)"
REFUSES = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(60)"


def test_cancelling_ends_the_workers_and_kills_those_that_stay(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(executors, "PATIENCE", 0.3)
    executor = LocalExecutor("cpu", [0], per_device=2)
    for name, program in (("waits", WAITS), ("refuses", REFUSES), ("third", "")):
        executor.submit(make_job(tmp_path, name, program))
    workers = executor._running
    completed = executor.as_completed()
    with pytest.raises(StopIteration_):
        advance(executor, completed, lambda: all((tmp_path / f"{n}.log").stat().st_size for n in ("waits", "refuses")))
    processes = {worker.job.name: worker.process for worker in workers}
    executor.cancel()
    assert {name: process.returncode for name, process in processes.items()} == {"waits": 7, "refuses": -9}
    assert not (tmp_path / "third.log").exists()
    assert list(executor.as_completed()) == []


class StopIteration_(Exception):
    """The workers are up."""


def advance(executor: LocalExecutor, completed, condition: Callable[[], bool]) -> None:
    """Let an executor start its jobs, until a condition holds."""

    def look(seconds: float) -> None:
        if condition():
            raise StopIteration_
        real_sleep(seconds)

    real_sleep = time.sleep
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(executors.time, "sleep", look)
        next(completed)


@pytest.mark.skipif(sys.platform != "linux", reason="a Linux feature")
def test_workers_end_when_the_process_that_started_them_is_killed(tmp_path: Path) -> None:
    worker = "import os; print(os.getpid(), flush=True)\n" + WAITS
    child = os.fork()
    if not child:
        executor = LocalExecutor("cpu", [0])
        executor.submit(make_job(tmp_path, "worker", worker))
        next(executor.as_completed())
        os._exit(0)
    log = tmp_path / "worker.log"
    wait_until(lambda: log.is_file() and "up" in log.read_text())
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    process = int(log.read_text().split()[0])
    wait_until(lambda: not Path(f"/proc/{process}").exists() or "\nState:\tZ" in read_status(process))


def read_status(process: int) -> str:
    try:
        return Path(f"/proc/{process}/status").read_text()
    except OSError:
        return "\nState:\tZ"


def test_what_cannot_be_done_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="9999"):
        LocalExecutor("cpu", [9999])
    executor = LocalExecutor("cpu", [0])
    executor.submit(make_job(tmp_path / "nowhere", "a", ""))
    with pytest.raises(StorageError, match=r"a.log cannot be written"):
        next(executor.as_completed())
