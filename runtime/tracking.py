"""What a run measured: metrics.jsonl (one line a record) and TensorBoard."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.files import write_text_atomic

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class Tracker:
    """Records of a run folder. A disabled tracker (every process but the main one) does nothing.

    A run that continues after step s rewinds to s, so that its records read as if it had never been interrupted.
    """

    def __init__(self, folder: Path, enabled: bool = True, resume_step: int | None = None) -> None:
        self._path = folder / "metrics.jsonl"
        self._enabled = enabled
        self._purge_step: int | None = None
        if resume_step is not None:
            self.rewind(resume_step)

    def rewind(self, step: int) -> None:
        """Forget records beyond a step (-1: all); to be called before the first `log`."""
        if not self._enabled:
            return
        self._purge_step = step + 1
        if self._path.exists():
            lines = self._path.read_text(encoding="utf-8").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            write_text_atomic(self._path, "".join(f"{line}\n" for line in kept))

    def log(self, step: int, values: Mapping[str, float], **fields: Any) -> None:
        """Record scalars at a step; `fields` (text, lists) go to metrics.jsonl only.

        JSON has no infinity and no NaN: such a value is null there.
        """
        if not self._enabled:
            return
        scalars = {name: float(value) for name, value in values.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        record = {"step": step, "time": round(time.time(), 3), **fields, **finite}
        with self._path.open("a", encoding="utf-8") as file:  # closing flushes: a crash loses no earlier line
            file.write(json.dumps(record) + "\n")
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what TensorBoard still buffers."""
        if "_writer" in self.__dict__:
            self._writer.close()

    @cached_property
    def _writer(self) -> SummaryWriter:
        from torch.utils.tensorboard import SummaryWriter  # slow to import, and only one process needs it

        return SummaryWriter(str(self._path.parent), purge_step=self._purge_step)


def _step_of(line: str) -> float:
    """The step of a record; infinity for a line that a crash cut short."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf
