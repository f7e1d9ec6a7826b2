from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from runtime import pace as paces
from runtime.pace import WARMUP_STEPS, Pace
from runtime.world import World

IMAGES = 64
WAIT, STEP = 0.25, 1.0  # seconds
durations = st.lists(st.tuples(st.integers(0, 9), st.integers(1, 9)), min_size=1, max_size=30)


class Clock:
    """Time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def batches(self, waits: list[float]) -> Iterator[int]:
        for number, seconds in enumerate(waits):
            self.now += seconds
            yield number


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(paces, "time", clock)
    return clock


def make_pace(steps_per_epoch: int, device: str = "cpu") -> Pace:
    return Pace(torch.device(device), IMAGES, steps_per_epoch)


def train(pace: Pace, clock: Clock, steps: int, slow: int = 0, between: Callable[[], None] = lambda: None) -> None:
    """So many steps, the first `slow` of which take a hundred times as long."""
    for number in pace.through(clock.batches([WAIT] * steps)):
        clock.now += STEP * (100 if number < slow else 1) - WAIT
        pace.count_step()
        between()


def test_the_steps_a_process_begins_with_do_not_count(clock: Clock) -> None:
    pace = make_pace(50)
    train(pace, clock, 50, slow=WARMUP_STEPS)
    speed = pace.finish_epoch(World())
    assert (speed.steps, speed.images_per_second) == (50 - WARMUP_STEPS, IMAGES / STEP)
    assert (speed.step_milliseconds, speed.data_milliseconds) == (1000 * STEP, 1000 * WAIT)


def test_nor_do_those_after_an_interruption_and_the_run_is_told_whole(clock: Clock) -> None:
    first = make_pace(50)
    train(first, clock, 30, slow=WARMUP_STEPS)
    second = make_pace(50)
    second.load_state_dict(first.state_dict())
    train(second, clock, 20, slow=WARMUP_STEPS)
    epoch = second.finish_epoch(World())
    assert (epoch.steps, epoch.images_per_second) == (20 + 10, IMAGES / STEP)
    train(second, clock, 50)
    assert second.finish_epoch(World()).steps == 50
    assert (second.speed.steps, second.speed.images_per_second) == (80, IMAGES / STEP)


def test_checkpoints_and_what_is_between_epochs_do_not_count(clock: Clock) -> None:
    pace = make_pace(4)

    def save() -> None:
        with pace.paused():
            clock.now += 1000.0

    for _ in range(3):
        train(pace, clock, 4, between=save)
        assert pace.finish_epoch(World()).images_per_second == IMAGES / STEP
        clock.now += 1000.0  # evaluation
    assert pace.speed.steps == 2 + 4 + 4


def test_too_few_steps_tell_nothing(clock: Clock) -> None:
    pace = make_pace(50)
    train(pace, clock, 3)
    speed = pace.finish_epoch(World())
    assert speed.steps == 0
    assert speed.to_json()["images_per_second"] is None
    assert "no steady step" in str(speed)


def test_the_slowest_process_counts(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    pace = make_pace(2)
    train(pace, clock, 2)
    monkeypatch.setattr(World, "gather", lambda world, value: [value, (4.0, 3.0)])
    speed = pace.finish_epoch(World(size=2))
    assert (speed.images_per_second, speed.data_milliseconds) == (IMAGES / 4.0, 3000.0)


def test_an_accelerator_is_waited_for(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Queued steps return at once; their time comes when the device is asked to finish."""
    queue: list[float] = []

    def synchronize() -> None:
        clock.now += sum(queue)
        queue.clear()

    monkeypatch.setattr(torch, "get_device_module", lambda device: SimpleNamespace(synchronize=synchronize))
    pace = make_pace(40, "cuda")
    for number in pace.through(clock.batches([0.0] * 40)):
        queue.append(STEP * (100 if number < WARMUP_STEPS else 1))
        pace.count_step()
    speed = pace.finish_epoch(World())
    assert speed.images_per_second == pytest.approx(IMAGES / STEP)


@given(st.lists(durations, min_size=1, max_size=4))
def test_the_rate_is_images_by_time_whatever_the_steps(epochs: list[list[tuple[int, int]]]) -> None:
    clock = Clock()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(paces, "time", clock)
        pace = make_pace(1)  # half of one step: no warm-up
        for steps in epochs:
            for number in pace.through(clock.batches([wait for wait, _ in steps])):
                clock.now += steps[number][1]
                pace.count_step()
            pace.finish_epoch(World())
    count = sum(map(len, epochs))
    seconds = sum(wait + step for steps in epochs for wait, step in steps)
    waiting = sum(wait for steps in epochs for wait, _ in steps)
    assert pace.speed.images_per_second == pytest.approx(IMAGES * count / seconds)
    assert pace.speed.data_milliseconds == pytest.approx(1000 * waiting / count)
