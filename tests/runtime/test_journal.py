from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from configs.errors import CheckpointError
from configs.schema import Config
from runtime.context import start
from runtime.journal import Journal
from runtime.position import Position

STEPS = 4


class Numbers:
    """Batches that say where they stand."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[tuple[int, int]]:
        return ((epoch, step) for step in range(first_step, STEPS))


def make_config(folder: Path, **keys: object) -> Config:
    settings = {"DEVICE": "cpu", "THREADS": 1, "LOG_INTERVAL": 2, "CHECKPOINT_INTERVAL": 2}
    return Config(SAVE_PATH=str(folder), RUNTIME=settings, TRAIN={"EPOCHS": 2}, **keys)


def run(config: Config, color: str) -> None:
    """Two steps of a run that is called by a colour, then a checkpoint."""
    with start(config, "train") as runtime:
        journal = Journal(config, runtime, STEPS, {"color": color})
        assert journal.load() is None
        for position, _ in journal.walk(Numbers(), 0, Position(0, 0, STEPS)):
            journal.add_loss(torch.tensor(float(position.step)))
            if journal.record_is_due(position):
                journal.record(position, {"lr": 0.5})
            if journal.save_is_due(position):
                journal.save({"weights": torch.ones(2)}, position.next)
                return


def test_an_epoch_goes_on_where_it_stopped(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    with start(config, "train") as runtime:
        journal, resumed = Journal(config, runtime, STEPS, {}), Position(1, 2, STEPS)
        assert [batch for _, batch in journal.walk(Numbers(), 1, resumed)] == [(1, 2), (1, 3)]
        positions = [position for position, _ in journal.walk(Numbers(), 2, resumed)]
        assert [position.total for position in positions] == [8, 9, 10, 11]
        assert [position.is_last for position in positions] == [False, False, False, True]


def test_a_fresh_run_forgets_the_records_of_one_that_saved_nothing(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "train/loss": 9.0}\n')
    with start(make_config(tmp_path), "train") as runtime:
        assert Journal(runtime=runtime, config=make_config(tmp_path), steps_per_epoch=STEPS, identity={}).load() is None
    assert (tmp_path / "metrics.jsonl").read_text() == ""


def test_a_run_is_recorded_saved_and_continued(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    run(config, "red")
    (record,) = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    assert (record["step"], record["train/loss"], record["lr"]) == (2, 0.5, 0.5)
    again = config.model_copy(update={"resume_path": "auto"})
    with start(again, "train") as runtime:
        journal = Journal(again, runtime, STEPS, {"color": "red"})
        state = journal.load()
        assert state is not None
        assert (state["epoch"], state["step"]) == (0, 2)
        assert journal.seconds >= state["seconds"]


def test_a_refused_continuation_leaves_the_run_as_it_was(tmp_path: Path) -> None:
    run(make_config(tmp_path), "red")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    other = make_config(tmp_path, RESUME_PATH="auto", SEED=1)
    with (
        pytest.raises(CheckpointError, match=r"another run: its color is red, this run's is blue"),
        start(other, "train") as runtime,
    ):
        Journal(other, runtime, STEPS, {"color": "blue"}).load()
    assert {path: path.read_bytes() for path in before} == before
