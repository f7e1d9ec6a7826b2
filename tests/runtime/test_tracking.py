import json
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from runtime.tracking import Tracker


def read(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_records_go_to_both_files(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path)
    tracker.log(1, {"loss": 2.0}, phase="train")
    tracker.log(2, {"loss": float("nan"), "lr": 0.1})
    first, second = read(tmp_path)  # before close: every line is on disk at once
    tracker.close()
    assert (first["step"], first["loss"], first["phase"]) == (1, 2.0, "train")
    assert (second["loss"], second["lr"]) == (None, 0.1)
    assert first["time"] <= second["time"]
    events = EventAccumulator(str(tmp_path)).Reload()
    first_event, _ = events.Scalars("loss")
    assert (first_event.step, first_event.value) == (1, 2.0)


def test_a_disabled_tracker_writes_nothing(tmp_path: Path) -> None:
    tracker = Tracker(tmp_path, enabled=False, resume_step=3)
    tracker.log(1, {"loss": 2.0})
    tracker.close()
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_reads_as_if_never_interrupted(tmp_path: Path) -> None:
    interrupted = Tracker(tmp_path)
    for step in (1, 2, 3, 4):
        interrupted.log(step, {"loss": float(step)})
    interrupted.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "ti')  # a line that a crash cut short
    resumed = Tracker(tmp_path, resume_step=2)
    for step in (3, 4, 5):
        resumed.log(step, {"loss": 10.0 * step})
    resumed.close()
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
