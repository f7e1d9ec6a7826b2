"""Cells of NAS-Bench-101 by the thousand: each a few times, by worker processes, what is finished never again."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from configs.documents import format_override
from nasbench.nasbench101.collection import is_result
from runtime.checkpoint import BEST, list_checkpoints
from runtime.console import logger
from runtime.executor import Ended, Executor, Job
from runtime.files import append, explained, make_folder
from runtime.seeds import derive_seed
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.space import NasBench101Space

PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "retrain.py"))  # trains one cell once
ATTEMPTS = "attempts.jsonl"


@dataclass(frozen=True)
class CellTraining:
    """One of the trainings of a cell.

    Attributes:
        repeat: its number, from 1.
        seed: SEED of the training.
        folder: its run folder, FOLDER/<hash>/repeat-<number>.
    """

    cell: Cell
    repeat: int
    seed: int
    folder: Path

    @property
    def name(self) -> str:
        """`<hash>/repeat-<number>`."""
        return f"{self.cell.hash}/{self.folder.name}"

    @cached_property
    def keys(self) -> list[str]:
        """What tells this training from the others, as overrides of retrain.py."""
        selection = f"nasbench101/{NasBench101Space().text(self.cell)}"
        chosen = {"MODEL_SELECTION": selection, "SEED": str(self.seed), "SAVE_PATH": str(self.folder)}
        return [*(format_override(key, value) for key, value in chosen.items()), "RESUME_PATH=auto"]

    def read_result(self) -> dict[str, Any] | None:
        """What `result.json` says in the published form, with seed and attempts; None where it is not finished."""
        try:
            written = json.loads((self.folder / "result.json").read_text(encoding="utf-8"))
            published = written["nasbench101"][self.cell.hash]
        except (OSError, ValueError, LookupError, TypeError):
            return None
        if not is_result(published):
            return None
        return {**published, "seed": self.seed, "attempts": self.read_attempts()}

    def read_attempts(self) -> list[dict[str, Any]]:
        """Its finished and failed tries in all runs: status, device, seconds, and error where it failed."""
        path = self.folder / ATTEMPTS
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        return [attempt for line in lines if (attempt := _read_line(line))]


def plan_trainings(cells: Mapping[str, Cell], repeats: int, seed: int, folder: Path) -> list[CellTraining]:
    """The trainings of all cells; the first of each come first, then the second ones."""
    return [
        CellTraining(cell, repeat, derive_seed(seed, "nasbench101", key, repeat), folder / key / f"repeat-{repeat}")
        for repeat in range(1, repeats + 1)
        for key, cell in cells.items()
    ]


class Campaign:
    """Trainings on an executor.

    Attributes:
        results: of the finished trainings, in the published form.
        failed: why a training was given up in this run.
    """

    def __init__(
        self,
        trainings: Sequence[CellTraining],
        wanted: Sequence[CellTraining],
        executor: Executor,
        command: Sequence[str],
        tries: int,
    ) -> None:
        """Read what is finished.

        Args:
            trainings: all that may have a result, in the order in which these are told.
            wanted: those of them that are to be made.
            command: the program and its arguments, before those of a training.
            tries: how often a training is tried in this run, the first time included.
        """
        self.trainings, self.executor, self.command, self.tries = trainings, executor, tuple(command), tries
        self.results = {one.name: result for one in trainings if (result := one.read_result())}
        self.left = {one.name: one for one in wanted if one.name not in self.results}
        self.failed: dict[str, str] = {}

    def run(self) -> Iterator[CellTraining]:
        """Train what is left; each training when it is finished, or is given up.

        Raises:
            StorageError: a run folder cannot be written.
        """
        tried = dict.fromkeys(self.left, 0)
        for one in self.left.values():
            self._submit(one)
        for ended in self.executor.as_completed():
            one = self.left[ended.job.name]
            tried[one.name] += 1
            error = self._close(one, ended)
            if error and tried[one.name] < self.tries:
                logger.warning("%s: %s; try %d of %d", one.name, error, tried[one.name] + 1, self.tries)
                self._submit(one)
                continue
            if error:
                self.failed[one.name] = f"{error} (the last of {self.tries} attempts is in {ended.job.log})"
                logger.warning("%s is given up: %s", one.name, error)
            yield one

    def collect(self) -> dict[str, list[dict[str, Any]]]:
        """The finished trainings of each cell that has one, by hash, in the order of the cells."""
        collected: dict[str, list[dict[str, Any]]] = {}
        for one in self.trainings:
            if one.name in self.results:
                collected.setdefault(one.cell.hash, []).append(self.results[one.name])
        return collected

    def _submit(self, one: CellTraining) -> None:
        with explained(one.folder):
            make_folder(one.folder)
        log = one.folder / f"attempt-{len(one.read_attempts()) + 1}.log"
        self.executor.submit(Job(one.name, (*self.command, *one.keys), log))

    def _close(self, one: CellTraining, ended: Ended) -> str:
        """Note an attempt and keep its result; why there is none, else nothing."""
        error = "" if one.read_result() else _find_error(ended)
        attempt = {"status": ended.status, "device": ended.device, "seconds": round(ended.seconds, 3)}
        line = json.dumps({**attempt, **({"error": error} if error else {})})
        append(one.folder / ATTEMPTS, f"{line}\n".encode())
        if result := one.read_result():
            self.results[one.name] = result
            _drop_steps(one.folder)
        return error


def _read_line(line: str) -> dict[str, Any] | None:
    """A line of ATTEMPTS; None where a crash left only its beginning."""
    try:
        return json.loads(line)
    except ValueError:
        return None


def _find_error(ended: Ended) -> str:
    """Why a job left no result: the signal that killed it, or its last message."""
    if ended.status < 0:
        return f"killed by signal {-ended.status} ({signal.strsignal(-ended.status)})"
    log = ended.job.log.read_text(encoding="utf-8", errors="replace")
    messages = re.findall(r"^error: (.+)", log, flags=re.MULTILINE)
    return messages[-1] if messages else f"it ended with status {ended.status} and wrote no result"


def _drop_steps(folder: Path) -> None:
    """Remove the checkpoints that a finished training would continue from, where its weights are kept beside them."""
    if (folder / "checkpoints" / BEST).is_file():
        for path in list_checkpoints(folder):
            path.unlink()
