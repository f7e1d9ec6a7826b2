"""train.py as a user runs it: the board fills, distillation starts, the pick is ranked, a killed run resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_search import TINY, WINDOW, assert_identical, build_search, tiny_space

import train
from configs.errors import CheckpointError
from configs.loading import load_config
from data.loading import Images
from runtime.checkpoint import list_checkpoints, load_file, step_name
from runtime.context import start
from search.journal import SearchJournal
from search.prior import OperationPrior

ROOT = Path(__file__).parents[2]
STEPS = 20  # an epoch
EVALUATIONS = 12
RECIPE = """\
SEED: 5
FLOPS_MINIMUM: {minimum}
FLOPS_MAXIMUM: {maximum}
DATA: {{NAME: digits, AUGMENT: {{FLIP: 0.0, SCALE: null, CROP_PADDING: 1}}}}
SUPERNET: {{SPACE: {space}}}
TRAIN: {{EPOCHS: 2, STEPS_PER_EPOCH: 20, BATCH_SIZE: 64, LR: 0.5, LABEL_SMOOTHING: 0.0}}
SEARCH:
  DISTILLATION_EPOCH: 1
  BOARD: {{SIZE: 4, INTERVAL: 10, RECALIBRATION_IMAGES: 128}}
  MATCHING: {{INTERVAL: 10}}
PICKER: {{NAME: evolution, EVALUATIONS: 12, POPULATION: 6, RECALIBRATION_IMAGES: 256, KEEP: 5}}
RUNTIME: {{DEVICE: cpu, THREADS: 1, LOG_INTERVAL: 10, CHECKPOINT_INTERVAL: 10}}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A configuration and a space of the user's own, both by path."""
    folder = tmp_path_factory.mktemp("recipe")
    (folder / "tiny.yaml").write_text(TINY)
    minimum, maximum = (bound / 1e6 for bound in WINDOW)
    text = RECIPE.format(minimum=minimum, maximum=maximum, space=folder / "tiny.yaml")
    (folder / "train.yaml").write_text(text)
    return folder / "train.yaml"


def launch(recipe: Path, folder: Path, *overrides: str) -> subprocess.Popen[str]:
    launcher = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
    environment = {name: value for name, value in os.environ.items() if name not in launcher}
    command = [sys.executable, "train.py", "--cfg", str(recipe), f"SAVE_PATH={folder}", *overrides]
    output = (folder.parent / f"{folder.name}.log").open("a")
    with output:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment | {"OMP_NUM_THREADS": "1"}, stdout=output, stderr=output, text=True
        )


def finish(process: subprocess.Popen[str], folder: Path) -> Path:
    assert process.wait(timeout=180) == 0, (folder.parent / f"{folder.name}.log").read_text()
    return folder


@pytest.fixture(scope="module")
def searched(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an uninterrupted search."""
    folder = tmp_path_factory.mktemp("searches") / "whole"
    return finish(launch(recipe, folder), folder)


def read_records(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def read_pick(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "pick.json").read_text())


def test_the_board_fills_and_distillation_starts(searched: Path):
    records = {record["step"]: record for record in read_records(searched) if "train/loss" in record}
    assert list(records) == [10, 20, 30, 40]
    assert [records[step]["board/size"] for step in records] == [2, 4, 4, 4]
    assert [records[step]["board/distilled_steps"] for step in records] == [0, 0, 10, 20]
    assert records[40]["board/worst"] <= records[40]["board/best"]
    assert records[40]["train/loss"] < records[10]["train/loss"]


def test_operations_are_drawn_as_the_window_has_them(searched: Path):
    window = tiny_space().window(*WINDOW)
    blocks = [operation for path in window for stage in path.stages for operation in stage]
    last = [record for record in read_records(searched) if "train/loss" in record][-1]
    for operation in range(3):
        share = blocks.count(operation) / len(blocks)
        assert last[f"operations/{operation}"] == pytest.approx(share, abs=0.2)
    assert last["operations/blocks"] == pytest.approx(len(blocks) / window.count, abs=0.8)


def test_the_pick_is_ranked_inside_the_window_and_better_than_chance(searched: Path):
    pick, space = read_pick(searched), tiny_space()
    entries = pick["architectures"]
    assert len(entries) == 5
    assert pick["evaluated"] == EVALUATIONS
    assert [entry["accuracy"] for entry in entries] == sorted((e["accuracy"] for e in entries), reverse=True)
    for entry in entries:
        path = space.parse(entry["architecture"])
        assert space.parse(entry["text"]) == path
        assert (entry["macs"], entry["params"]) == (space.cost(path).macs, space.cost(path).params)
        assert WINDOW[0] <= entry["macs"] <= WINDOW[1]
    assert len({str(entry["architecture"]) for entry in entries}) == 5
    assert entries[0]["accuracy"] > 25.0  # chance is 10
    assert pick["window"] == {"minimum": WINDOW[0], "maximum": WINDOW[1], "count": space.window(*WINDOW).count}


def test_everything_scored_is_inside_the_window_and_scored_once(searched: Path):
    state = load_file(list_checkpoints(searched)[0])
    scored = [tuple(map(tuple, score["architecture"]["stages"])) for score in state["picker"]["scores"]]
    assert len(set(scored)) == len(scored) == EVALUATIONS
    assert all(WINDOW[0] <= score["macs"] <= WINDOW[1] for score in state["picker"]["scores"])
    board = [tuple(map(tuple, e["scored"]["architecture"]["stages"])) for e in state["strategy_state"]["board"]]
    assert scored[: len(board)] == board
    best = max(score["accuracy"] for score in state["picker"]["scores"])
    assert read_pick(searched)["architectures"][0]["accuracy"] == best


def kill_after(process: subprocess.Popen[str], checkpoint: Path) -> None:
    """SIGKILL as soon as a checkpoint is there; what was saved since is removed, as if the kill had come at once."""
    deadline = time.monotonic() + 120
    while not checkpoint.is_file():
        assert process.poll() is None, "the search ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    for path in list_checkpoints(checkpoint.parent):
        if path.name > checkpoint.name:
            path.unlink()


def assert_same_end(folder: Path, other: Path) -> None:
    """Weights, optimizer, board, matching network, scores and picks agree to the bit; so does what was recorded."""
    states = [load_file(path / "checkpoints" / step_name(2 * STEPS + EVALUATIONS)) for path in (folder, other)]
    for key in ("state_dict", "optimizer", "precision", "strategy_state", "picker"):
        assert_identical(states[0][key], states[1][key], key)
    assert read_pick(folder)["architectures"] == read_pick(other)["architectures"]
    records = [[(record["step"], *sorted(record)) for record in read_records(path)] for path in (folder, other)]
    assert records[0] == records[1]
    assert len(set(records[0])) == len(records[0])
    assert [step for step, *_ in records[0]] == sorted(step for step, *_ in records[0])


def test_a_killed_search_continues_to_the_bit(recipe: Path, searched: Path, monkeypatch: pytest.MonkeyPatch):
    """SIGKILL in the middle of the second epoch, after distillation began; this process goes on with it."""
    folder = searched.parent / "killed"
    kill_after(launch(recipe, folder), folder / "checkpoints" / step_name(30))
    assert not (folder / "pick.json").exists()
    arguments = ["--cfg", str(recipe), f"SAVE_PATH={folder}", "RESUME_PATH=auto"]
    monkeypatch.setattr(sys, "argv", ["train.py", *arguments])
    train.main()
    assert_same_end(searched, folder)


@pytest.mark.parametrize(
    ("override", "part"),
    [
        ("FLOPS_MAXIMUM=0.1", r"its window is \[0.06, 0.14\], this run's is \[0.06, 0.1\]"),
        ("SUPERNET.RESOLUTIONS=[8, 16]", r"its resolutions is None, this run's is \[8, 16\]"),
        ("SEARCH.PRIOR=teacher", "its prior is even, this run's is teacher"),
        ("SEARCH.STRATEGY=uniform", "its strategy is prioritized, this run's is uniform"),
        ("SUPERNET.ENCODING=separate", "its encoding is superkernel"),
        ("SEED=6", "its seed is 5"),
    ],
)
def test_another_search_is_not_continued(recipe: Path, searched: Path, digits: Images, override: str, part: str):
    """Paths of another window on the board, say, would end up in the pick."""
    config = load_config(recipe, [f"SAVE_PATH={searched}", "RESUME_PATH=auto", override])
    with start(config, "train") as runtime:
        prior = OperationPrior(config.search, tiny_space())
        journal = SearchJournal(config, runtime, tiny_space(), build_search(digits).training, prior, STEPS)
        with pytest.raises(CheckpointError, match=part):
            journal.resume()


@pytest.mark.slow
def test_a_search_killed_while_picking_continues_to_the_bit(recipe: Path, searched: Path):
    folder = searched.parent / "killed while picking"
    kill_after(launch(recipe, folder), folder / "checkpoints" / step_name(2 * STEPS + 6))
    finish(launch(recipe, folder, "RESUME_PATH=auto"), folder)
    assert_same_end(searched, folder)


@pytest.mark.slow
def test_a_search_over_resolutions_that_follows_its_board_continues_to_the_bit(recipe: Path, searched: Path):
    overrides = ["SUPERNET.RESOLUTIONS=[8, 10, 12]", "SEARCH.PRIOR=teacher"]
    whole, killed = searched.parent / "resolutions", searched.parent / "killed over resolutions"
    finish(launch(recipe, whole, *overrides), whole)
    kill_after(launch(recipe, killed, *overrides), killed / "checkpoints" / step_name(30))
    finish(launch(recipe, killed, *overrides, "RESUME_PATH=auto"), killed)
    assert_same_end(whole, killed)
    pick, space = read_pick(whole), tiny_space()
    assert pick["window"]["resolutions"] == [8, 10, 12]
    for entry in pick["architectures"]:
        assert entry["macs"] == space.cost(space.parse(entry["architecture"]), entry["resolution"]).macs
        assert entry["text"].endswith(f"@{entry['resolution']}")
    state = load_file(list_checkpoints(whole)[0])
    assert len({score["architecture"]["resolution"] for score in state["picker"]["scores"]}) > 1
    assert len(set(state["prior_shares"][0])) > 1


@pytest.mark.slow
@pytest.mark.parametrize("picker", ["board", "random", "exhaustive"])
def test_the_other_encoding_strategy_and_pickers_work_together(recipe: Path, searched: Path, picker: str):
    folder = searched.parent / picker
    strategy = "prioritized" if picker == "board" else "uniform"
    overrides = ["SUPERNET.ENCODING=separate", f"SEARCH.STRATEGY={strategy}", f"PICKER.NAME={picker}", "TRAIN.EPOCHS=5"]
    few = ["FLOPS_MAXIMUM=0.075", "PICKER.EVALUATIONS=40"] if picker == "exhaustive" else []
    finish(launch(recipe, folder, *overrides, *few), folder)
    pick, space = read_pick(folder), tiny_space()
    count = space.window(WINDOW[0], 75_000).count
    assert pick["evaluated"] == {"board": 4, "random": EVALUATIONS, "exhaustive": count}[picker]
    assert pick["architectures"][0]["accuracy"] > 25.0
