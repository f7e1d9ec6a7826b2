"""Timing that a busy machine cannot turn: contestants take turns, and medians are compared."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median

import torch

from runtime.progress import track


@dataclass(frozen=True)
class Timing:
    """Seconds of one call: median, fastest and slowest of the repeats."""

    median: float
    fastest: float
    slowest: float


def take_turns(
    contestants: Mapping[str, Callable[[], object]], repeats: int, seconds: float, warm_up: int = 2
) -> dict[str, Timing]:
    """Time all contestants, one after the other in each repeat.

    Args:
        seconds: a turn lasts about this long, and at least one call.
        warm_up: calls of each contestant before any is timed; the last of them tells how many fill a turn.
    """
    calls = {}
    for name, call in contestants.items():
        for _ in range(warm_up - 1):
            call()
        calls[name] = max(1, round(seconds / _time(call, 1)))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    turns = [name for _ in range(repeats) for name in contestants]
    for name in track(turns, len(turns), "timing", "turns"):
        times[name].append(_time(contestants[name], calls[name]))
    return {name: Timing(median(values), min(values), max(values)) for name, values in times.items()}


def _time(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return (time.perf_counter() - start) / count
