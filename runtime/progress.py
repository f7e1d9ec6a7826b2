"""How far a loop is: a live bar on a terminal, a plain line from time to time elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from runtime.console import console

T = TypeVar("T")
PLAIN_INTERVAL = 10.0  # seconds


def track(
    iterable: Iterable[T], total: int, description: str, unit: str, enabled: bool = True, completed: int = 0
) -> Iterator[T]:
    """Pass the items on while showing done/total, rate and remaining time.

    `completed` items of `total` were done before (a resumed epoch) and do not count in the rate.
    """
    if not enabled:
        yield from iterable
    elif console.is_terminal:
        yield from _track_live(iterable, total, description, unit, completed)
    else:
        yield from _track_plain(iterable, total, description, unit, completed)


def _track_live(iterable: Iterable[T], total: int, description: str, unit: str, completed: int) -> Iterator[T]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(unit), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(description, total=total, completed=completed)
        for item in iterable:
            yield item
            progress.advance(task)


def _track_plain(iterable: Iterable[T], total: int, description: str, unit: str, completed: int) -> Iterator[T]:
    start = last = time.monotonic()
    done = completed
    for item in iterable:
        yield item
        done += 1
        now = time.monotonic()
        if now - last >= PLAIN_INTERVAL and done < total:
            last = now
            rate = (done - completed) / (now - start)
            left = timedelta(seconds=round((total - done) / rate))
            _print(f"{description}: {done}/{total} {unit}, {_format_rate(rate, unit)}, {left} left")
    elapsed = max(time.monotonic() - start, 1e-9)
    took = timedelta(seconds=round(elapsed))
    _print(f"{description}: {done}/{total} {unit} in {took}, {_format_rate((done - completed) / elapsed, unit)}")


def _format_rate(rate: float, unit: str) -> str:
    """Items in a second, or in an hour where they take long."""
    return f"{rate:.1f} {unit}/s" if rate >= 0.1 or not rate else f"{3600 * rate:.1f} {unit}/h"


def _print(text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


class _Rate(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(_format_rate(task.speed, self._unit) if task.speed else f"- {self._unit}/s")
