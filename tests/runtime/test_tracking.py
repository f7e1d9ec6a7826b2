import json
from collections.abc import Callable
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from configs.errors import StorageError
from runtime.files import write_text_atomic
from runtime.tracking import Tracker


def read(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_records_go_to_both_files(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    tracker.log(1, {"loss": 2.0}, phase="train")
    tracker.log(2, {"loss": float("nan"), "lr": 0.1})
    first, second = read(tmp_path)
    assert (first["step"], first["loss"], first["phase"]) == (1, 2.0, "train")
    assert (second["loss"], second["lr"]) == (None, 0.1)
    assert first["time"] <= second["time"]
    events = EventAccumulator(str(tmp_path)).Reload()
    first_event, _ = events.Scalars("loss")
    assert (first_event.step, first_event.value) == (1, 2.0)


def test_a_disabled_tracker_writes_nothing(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, enabled=False, resume_step=3)
    tracker.log(1, {"loss": 2.0})
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_reads_as_if_never_interrupted(tmp_path: Path) -> None:
    interrupted = Tracker(tmp_path)
    for step in (1, 2, 3, 4):
        interrupted.log(step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "ti')  # a line that a crash cut short
    resumed = Tracker(tmp_path, resume_step=2)
    for step in (3, 4, 5):
        resumed.log(step, {"loss": 10.0 * step})
    assert [(record["step"], record["loss"]) for record in read(tmp_path)] == [
        (1, 1.0),
        (2, 2.0),
        (3, 30.0),
        (4, 40.0),
        (5, 50.0),
    ]


def test_rewinding_to_the_start_forgets_all(tmp_path: Path) -> None:
    Tracker(tmp_path).log(0, {"loss": 1.0})
    Tracker(tmp_path).rewind(-1)
    assert read(tmp_path) == []


def scalars(folder: Path) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in EventAccumulator(str(folder)).Reload().Scalars("loss")]


def test_tensorboard_has_every_record_at_once_and_forgets_what_a_resumed_run_repeats(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    for step in (1, 2, 3):
        tracker.log(step, {"loss": float(step), "lr": 0.5})
        assert scalars(tmp_path)[-1] == (step, float(step))
    Tracker(tmp_path, resume_step=1).log(2, {"loss": 20.0})
    assert scalars(tmp_path) == [(1, 1.0), (2, 20.0)]


def test_a_full_disk_is_one_clear_error_and_costs_no_earlier_record(mount: Callable[[str], Path]) -> None:
    folder = mount("size=64k")
    tracker = Tracker(folder)

    def fill() -> None:
        for step in range(10_000):
            tracker.log(step, {"loss": 1.0})

    with pytest.raises(StorageError, match=r"(metrics.jsonl|events\S+) cannot be written \(No space left on device\)"):
        fill()
    (folder / "metrics.jsonl").write_bytes((folder / "metrics.jsonl").read_bytes()[:100])  # room again
    with pytest.raises(StorageError, match=r"pick.json cannot be written \(No space left on device\): it needs 0.1 MB"):
        write_text_atomic(folder / "pick.json", "x" * 100_000)
    Tracker(folder, resume_step=0)
    assert [record["step"] for record in read(folder)] == [0]
    assert not list(folder.glob(".*.tmp"))
