"""How fast a training runs: images a second over its steady steps, and how much of a step waits for data."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, astuple, dataclass, replace
from typing import Any, TypeVar

import torch

from runtime.position import StepsPerEpoch
from runtime.world import World

T = TypeVar("T")
WARMUP_STEPS = 10  # with which a process begins: they choose algorithms, compile, fill caches and start workers


@dataclass(frozen=True)
class Tally:
    """Steps, their images in all processes, the seconds that they took, and those of them spent waiting for batches."""

    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    waiting: float = 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(mine + others for mine, others in zip(astuple(self), astuple(other))))


@dataclass(frozen=True)
class Speed:
    """Images a second of all processes, and milliseconds of a step and of its waiting for data; NaN without steps."""

    images_per_second: float
    step_milliseconds: float
    data_milliseconds: float
    steps: int

    def to_json(self) -> dict[str, float | None]:
        """Plain values by name, rounded to 3 decimals; None for NaN."""
        return {name: round(value, 3) if value == value else None for name, value in asdict(self).items()}

    def __str__(self) -> str:
        if not self.steps:
            return "no steady step was taken, by which images/s could be told"
        return (
            f"{self.images_per_second:.1f} images/s over {self.steps} steady steps, {self.step_milliseconds:.1f} ms a "
            f"step, {self.data_milliseconds:.1f} ms of it waiting for data"
        )


class Pace:
    """The clock of a training loop; only a device that has finished its work is asked for the time.

    The first WARMUP_STEPS of each process, fresh or resumed (of a short epoch, half of its steps), do not count, nor
    does what happens between epochs or while `paused`.

    Args:
        images_per_step: of all processes together.
    """

    def __init__(self, device: torch.device, images_per_step: int, steps_per_epoch: StepsPerEpoch) -> None:
        self._device, self._images_per_step = device, images_per_step
        self._warmup = min(WARMUP_STEPS, steps_per_epoch // 2)
        self._epoch, self._run = Tally(), Tally()
        self._mark = self._waited = 0.0

    def through(self, batches: Iterable[T]) -> Iterator[T]:
        """Pass an epoch's batches on, measuring how long each is waited for."""
        self._mark = asked = time.monotonic()
        for batch in batches:
            self._waited = time.monotonic() - asked
            yield batch
            asked = time.monotonic()

    def count_step(self) -> None:
        """A step on the last batch is done or, on an accelerator, queued."""
        if self._warmup:
            self._warmup -= 1
            if not self._warmup:
                self._synchronize()
            self._mark = time.monotonic()
            return
        now = time.monotonic()
        self._epoch += Tally(1, self._images_per_step, now - self._mark, self._waited)
        self._mark = now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within is no part of a step."""
        self._synchronize()
        started = time.monotonic()
        yield
        self._mark += time.monotonic() - started

    def finish_epoch(self, world: World) -> Speed:
        """The speed of an epoch's steady steps, by the slowest process; called by all of them."""
        self._synchronize()
        if self._epoch.steps and not self._warmup:
            self._epoch += Tally(seconds=time.monotonic() - self._mark)
        seconds, waiting = map(max, zip(*world.gather((self._epoch.seconds, self._epoch.waiting))))
        epoch, self._epoch = replace(self._epoch, seconds=seconds, waiting=waiting), Tally()
        self._run += epoch
        return _speed(epoch)

    @property
    def speed(self) -> Speed:
        """Over all finished epochs of the run, those before an interruption with them."""
        return _speed(self._run)

    def _synchronize(self) -> None:
        if self._device.type != "cpu":
            torch.get_device_module(self._device).synchronize()

    def state_dict(self) -> dict[str, Any]:
        """What was measured so far, as plain values."""
        return {"epoch": list(astuple(self._epoch)), "run": list(astuple(self._run))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what another process had measured; this one's warm-up is still to come."""
        self._epoch, self._run = Tally(*state["epoch"]), Tally(*state["run"])


def _speed(tally: Tally) -> Speed:
    if not tally.steps:
        return Speed(math.nan, math.nan, math.nan, 0)
    step, waiting = (1000 * seconds / tally.steps for seconds in (tally.seconds, tally.waiting))
    return Speed(tally.images / tally.seconds, step, waiting, tally.steps)
