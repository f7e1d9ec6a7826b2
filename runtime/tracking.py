"""What a run measured: metrics.jsonl (one line a record) and TensorBoard."""

from __future__ import annotations

import io
import json
import math
import os
import socket
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runtime.files import append, write_text_atomic

if TYPE_CHECKING:
    from tensorboard.compat.proto.event_pb2 import Event


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

        JSON has no infinity and no NaN: such a value is null there. Every record is written at once.

        Raises:
            StorageError: the run folder cannot be written.
        """
        if not self._enabled:
            return
        scalars = {name: float(value) for name, value in values.items()}
        finite = {name: value if math.isfinite(value) else None for name, value in scalars.items()}
        record = {"step": step, "time": round(time.time(), 3), **fields, **finite}
        append(self._path, json.dumps(record).encode() + b"\n")
        self._events.add(step, scalars)

    @cached_property
    def _events(self) -> _EventFile:
        return _EventFile(self._path.parent, self._purge_step)


class _EventFile:
    """TensorBoard's file of records. Its own writer buffers for minutes, and a full disk ends in its thread."""

    def __init__(self, folder: Path, purge_step: int | None) -> None:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog  # slow, and only one process needs it

        self._path = folder / f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._write(Event(file_version="brain.Event:2"))
        if purge_step is not None:  # readers forget that step and all later ones of earlier files
            self._write(Event(step=purge_step, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, scalars: Mapping[str, float]) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [Summary.Value(tag=name, simple_value=value) for name, value in scalars.items()]
        self._write(Event(step=step, summary=Summary(value=values)))

    def _write(self, event: Event) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        event.wall_time = time.time()
        record = io.BytesIO()
        RecordWriter(record).write(event.SerializeToString())
        append(self._path, record.getvalue())


def _step_of(line: str) -> float:
    """The step of a record; infinity for a line that a crash cut short."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return math.inf
