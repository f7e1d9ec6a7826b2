"""What happens to a running job, through the real scripts: signals, hanging and dead processes, NaN, dead workers."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import train
from runtime.checkpoint import list_checkpoints, load_file, step_name

ROOT = Path(__file__).parents[2]
SPACE = (Path(__file__).parents[1] / "tiny_space.yaml").read_text()
RECIPE = """\
FLOPS_MAXIMUM: 1
DATA: {{NAME: digits, AUGMENT: {{FLIP: 0.0, SCALE: null, CROP_PADDING: 1}}}}
SUPERNET: {{SPACE: {space}}}
TRAIN: {{EPOCHS: 2, STEPS_PER_EPOCH: 30, BATCH_SIZE: 16, LR: 0.1}}
SEARCH: {{DISTILLATION_EPOCH: 0, BOARD: {{SIZE: 2, INTERVAL: 10, IMAGES: 20, RECALIBRATION_IMAGES: 20}}}}
PICKER: {{NAME: random, EVALUATIONS: 2, IMAGES: 20, RECALIBRATION_IMAGES: 20}}
RUNTIME: {{DEVICE: cpu, THREADS: 1, LOG_INTERVAL: 10, CHECKPOINT_INTERVAL: 15}}
"""
LAST = step_name(2 * 30 + 2)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "tiny.yaml").write_text(SPACE)
    (folder / "train.yaml").write_text(RECIPE.format(space=folder / "tiny.yaml"))
    return folder / "train.yaml"


FORKS = multiprocessing.get_context("forkserver")  # of a process that has imported the slow libraries already
FORKS.set_forkserver_preload(["train", "data.transforms", "sklearn.datasets", "tensorboard.summary.writer"])


def become_script(arguments: list[str], environment: dict[str, str], log: str) -> None:
    """Be `python train.py …`, in a process of one's own."""
    for number in (1, 2):
        os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.environ.update(environment)
    multiprocessing.set_start_method("fork", force=True)  # as where nobody chose one
    sys.argv = ["train.py", *arguments]
    runpy.run_path(str(ROOT / "train.py"), run_name="__main__")


class Job:
    """A search by one or more processes, started without a launcher, so that nobody else ends them."""

    def __init__(self, recipe: Path, folder: Path, *overrides: str, size: int = 1) -> None:
        self.folder = folder
        self.logs = [folder.parent / f"{folder.name}.{rank}.log" for rank in range(size)]
        arguments = ["--cfg", str(recipe), f"SAVE_PATH={folder}", *overrides]
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(found.getsockname()[1]), "WORLD_SIZE": str(size)}
        self.processes = []
        for rank, log in enumerate(self.logs):
            own = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(size)}
            process = FORKS.Process(target=become_script, args=(arguments, own if size > 1 else {}, str(log)))
            process.start()
            self.processes.append(process)

    def wait_for(self, ready: Callable[[], Any]) -> Any:
        deadline = time.monotonic() + 120
        while not (found := ready()):
            assert all(process.is_alive() for process in self.processes), self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.005)
        return found

    def wait_for_checkpoint(self) -> None:
        self.wait_for(lambda: self.folder.is_dir() and list_checkpoints(self.folder))

    def send(self, number: int, rank: int) -> None:
        os.kill(self.processes[rank].pid, number)

    def finish(self, rank: int | None = None) -> list[int | None]:
        """Exit statuses of all processes, or of one, after which the others are killed."""
        awaited = self.processes if rank is None else [self.processes[rank]]
        for process in awaited:
            process.join(timeout=120)
        for process in self.processes:
            process.kill()
        return [process.exitcode for process in awaited]

    @property
    def text(self) -> str:
        return "\n".join(log.read_text() for log in self.logs)


def assert_identical(first: Any, second: Any, where: str = "state") -> None:
    assert type(first) is type(second), where
    if isinstance(first, dict):
        assert list(first) == list(second), where
    if isinstance(first, dict | list | tuple):
        assert len(first) == len(second), where
        for key in first if isinstance(first, dict) else range(len(first)):
            assert_identical(first[key], second[key], f"{where}[{key!r}]")
    else:
        assert torch.equal(first, second) if isinstance(first, torch.Tensor) else first == second, where


def assert_same_end(folder: Path, other: Path) -> None:
    one, two = (load_file(path / "checkpoints" / LAST) for path in (folder, other))
    for key in ("state_dict", "statistics", "optimizer", "strategy_state", "picker"):
        assert_identical(one[key], two[key], key)


@pytest.mark.parametrize(
    ("size", "asked"),
    [pytest.param(1, [(signal.SIGINT, 0)], marks=pytest.mark.slow), (2, [(signal.SIGTERM, 1)])],
)
def test_a_signal_stops_all_processes_at_one_step_and_loses_nothing(
    recipe: Path, tmp_path: Path, size: int, asked: list[tuple[int, int]]
):
    """Of two processes only the second is asked; both stop, and go on to the bits of a run that nobody stopped."""
    whole = Job(recipe, tmp_path / "whole", size=size)
    assert whole.finish() == [0] * size, whole.text
    stopped = Job(recipe, tmp_path / "stopped", size=size)
    stopped.wait_for_checkpoint()
    for number, rank in asked:
        stopped.send(number, rank)
    number = asked[0][0]
    assert stopped.finish() == [128 + number] * size, stopped.text
    newest = list_checkpoints(stopped.folder)[0]
    assert newest.name < LAST
    assert f"{signal.Signals(number).name}: {newest} holds the run, RESUME_PATH=auto continues it" in stopped.text
    assert "Traceback" not in stopped.text
    assert not (stopped.folder / "pick.json").exists()
    resumed = Job(recipe, tmp_path / "stopped", "RESUME_PATH=auto", size=size)
    assert resumed.finish() == [0] * size, resumed.text
    assert_same_end(whole.folder, stopped.folder)


def test_ctrl_c_while_it_starts_is_quiet(recipe: Path, tmp_path: Path):
    command = [sys.executable, "train.py", "--cfg", str(recipe), f"SAVE_PATH={tmp_path / 'run'}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(1.0)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", None)
    assert process.returncode == 130


@pytest.mark.parametrize(
    ("number", "part"),
    [
        pytest.param(
            signal.SIGSTOP,
            "process 0 of 2 (counted from 0) waited for another one, which did not answer within RUNTIME.",
            marks=pytest.mark.slow,
        ),
        (signal.SIGKILL, "another of the 2 processes ended"),
    ],
)
def test_a_process_that_hangs_or_dies_is_told_by_the_others(recipe: Path, tmp_path: Path, number: int, part: str):
    job = Job(recipe, tmp_path / "run", "RUNTIME.TIMEOUT_MINUTES=0.1", size=2)
    job.wait_for_checkpoint()
    job.send(number, 1)
    assert job.finish(0) == [1], job.text
    assert job.text.count("error: ") == job.text.count(part) == 1
    assert "Traceback" not in job.text


def test_a_training_that_diverges_stops_alike_on_all_processes(recipe: Path, tmp_path: Path):
    job = Job(recipe, tmp_path / "run", "TRAIN.LR=1e30", "TRAIN.MAX_BAD_STEPS=3", size=2)
    assert job.finish() == [1, 1], job.text
    assert (
        job.text.count("error: the loss or a gradient was not finite in 3 steps in a row, the first of them step") == 1
    )
    assert job.text.count("warning: ") == 3
    assert "path [[" in job.text.split("error: ")[1]
    assert "Traceback" not in job.text
    state = load_file(list_checkpoints(job.folder)[0])
    assert all(value.isfinite().all() for value in state["state_dict"].values())


def write_images(folder: Path) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 60), ("val", 5)):
        for name in ("apple", "pear"):
            (folder / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = generator.integers(0, 255, (12, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{image}.png")


def children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def test_a_dead_loader_worker_ends_the_run_which_then_continues(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write_images(tmp_path / "images")
    data = [f"DATA={{NAME: image_folder, PATH: {tmp_path / 'images'}, WORKERS: 1, SEARCH_FRACTION: 0.4}}"]
    overrides = [*data, "TRAIN.BATCH_SIZE=8", "TRAIN.STEPS_PER_EPOCH=9", "TRAIN.EPOCHS=8", "SEARCH.STRATEGY=uniform"]
    job = Job(recipe, tmp_path / "run", *overrides)
    job.wait_for_checkpoint()
    (worker,) = children(job.processes[0].pid)
    os.kill(worker, signal.SIGKILL)
    assert job.finish() == [1], job.text
    assert job.text.count("error: ") == job.text.count("a data loading process died") == 1
    assert "Traceback" not in job.text
    before = list_checkpoints(job.folder)[0]
    arguments = ["--cfg", str(recipe), f"SAVE_PATH={job.folder}", *overrides, "RESUME_PATH=auto", "DATA.WORKERS=0"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments, "TRAIN.MAX_BAD_STEPS=2"])
    train.main()
    assert list_checkpoints(job.folder)[0].name > before.name
    assert (job.folder / "pick.json").is_file()
