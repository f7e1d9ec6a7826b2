"""Timing that a busy machine cannot turn: contestants take turns, and medians are compared."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import fmean, median

import torch

from runtime.progress import track
from tools.arguments import positive

SLICE = 0.3  # seconds; a machine's speed drifts over seconds, so contestants take over from each other more often


@dataclass(frozen=True)
class Timing:
    """Seconds of one call, in each repeat."""

    repeats: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of a call in the middle repeat."""
        return median(self.repeats)

    def rates(self, images: int) -> dict[str, float]:
        """Images/s of a call that works on so many: median, lowest and highest of the repeats."""
        seconds = {"median": self.median, "lowest": max(self.repeats), "highest": min(self.repeats)}
        return {name: round(images / value, 1) for name, value in seconds.items()}

    def ratio(self, rival: Timing) -> float:
        """How many times as fast as a rival of the same run: the median of the repeats, each against its own."""
        return median(theirs / own for own, theirs in zip(self.repeats, rival.repeats))


def take_turns(
    contestants: Mapping[str, Callable[[], object]], repeats: int, seconds: float, warm_up: int = 2
) -> dict[str, Timing]:
    """Time all contestants, in alternating slices of about a third of a second.

    Args:
        seconds: a contestant's time in a repeat, about; at least one call.
        warm_up: calls of each contestant before any is timed; the last of them tells how many fill a slice.
    """
    calls, longest = {}, 0.0
    for name, call in contestants.items():
        for _ in range(warm_up - 1):
            call()
        once = _time(call, 1)
        calls[name] = max(1, round(min(seconds, SLICE) / once))
        longest = max(longest, once * calls[name])
    rounds = max(1, round(seconds / longest))
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in track(range(repeats), repeats, "timing", "repeats"):
        slices = [{name: _time(call, calls[name]) for name, call in contestants.items()} for _ in range(rounds)]
        for name, values in times.items():
            values.append(fmean(one[name] for one in slices))
    return {name: Timing(tuple(values)) for name, values in times.items()}


def _time(call: Callable[[], object], count: int) -> float:
    start = time.perf_counter()
    for _ in range(count):
        call()
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
    return (time.perf_counter() - start) / count


def name_device(device: torch.device) -> str:
    """What the machine calls a device."""
    return device.type if device.type == "cpu" else torch.get_device_module(device.type).get_device_name(device)


def add_repeats(parser: argparse.ArgumentParser, seconds: float = 2.0) -> None:
    """Add `--repeats` and `--seconds`, as `take_turns` takes them."""
    parser.add_argument("--repeats", type=positive, default=5, help="default: %(default)s")
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="of each contestant in a repeat; default: %(default)s"
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add `--device` and `--threads`, as `runtime.world.start_world` takes them."""
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "npu"], help="default: %(default)s")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; default: all cores")
