import io

import pytest
from rich.console import Console

from runtime import progress
from runtime.progress import track


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=stream, force_terminal=request.param, width=100))
    return stream


@pytest.mark.parametrize("output", [False], indirect=True)
def test_plain_lines_tell_done_rate_and_remaining_time(output: io.StringIO, monkeypatch) -> None:
    clock = iter(range(0, 1000, 5))  # five seconds pass between two readings
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(track("abcdef", 10, "train", "steps", completed=4)) == list("abcdef")
    assert output.getvalue().splitlines() == [
        "train: 6/10 steps, 0.2 steps/s, 0:00:20 left",
        "train: 8/10 steps, 0.2 steps/s, 0:00:10 left",
        "train: 10/10 steps in 0:00:35, 0.2 steps/s",
    ]


@pytest.mark.parametrize("output", [False], indirect=True)
def test_a_slow_rate_is_told_by_the_hour(output: io.StringIO, monkeypatch) -> None:
    clock = iter(range(0, 100_000, 1800))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(clock)))
    assert list(track("ab", 2, "cells", "trainings")) == ["a", "b"]
    assert output.getvalue().splitlines() == [
        "cells: 1/2 trainings, 2.0 trainings/h, 0:30:00 left",
        "cells: 2/2 trainings in 1:30:00, 1.3 trainings/h",
    ]


@pytest.mark.parametrize("output", [True], indirect=True)
def test_a_terminal_shows_a_bar(output: io.StringIO) -> None:
    assert list(track(range(3), 5, "train", "steps", completed=2)) == [0, 1, 2]
    assert "train" in output.getvalue()
    assert "5/5" in output.getvalue()


@pytest.mark.parametrize("output", [False, True], indirect=True)
def test_other_processes_are_silent(output: io.StringIO) -> None:
    assert list(track(range(3), 3, "train", "steps", enabled=False)) == [0, 1, 2]
    assert output.getvalue() == ""
