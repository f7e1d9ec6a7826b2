"""The published training of a cell, tiny: three evaluations, steps across epochs, a time limit, going on to the bit."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from warm_scripts import warm_scripts

from configs.errors import CheckpointError, ConfigError, DataError
from data.cifar_tfrecords import CLASSES, TEST, TRAIN, VALIDATION, write_cifar_tfrecords
from retrain.training import NetworkTraining
from runtime.checkpoint import list_checkpoints, load_file
from runtime.interruption import interruption
from supernet.spaces.nasbench101.cell import parse_rows
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_cost

RECIPE = "configs/retrain/nasbench101.yaml"
CELL = parse_rows("011-001-000:conv3x3")
SMALL = {"stem_filter_size": 4, "num_stacks": 1, "num_modules_per_stack": 1}
TINY = [
    *(f"NASBENCH101.{key.upper()}={value}" for key, value in SMALL.items()),
    "TRAIN={EPOCHS: 3, BATCH_SIZE: 16}",
    "RUNTIME={DEVICE: cpu, THREADS: 1, LOG_INTERVAL: 4, CHECKPOINT_INTERVAL: 1, KEEP_CHECKPOINTS: 1}",
    "RESUME_PATH=auto",
]
STEPS = 18  # floor(3 epochs x 100 images / 16)
Retrain = Callable[..., dict[str, Any]]


class Died(Exception):
    """What ends a training here."""


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """100 training, 20 validation and 20 test images, the brighter the higher their class."""
    folder, generator = tmp_path_factory.mktemp("cifar"), np.random.default_rng(0)
    for name, count in {**dict.fromkeys(TRAIN, 25), VALIDATION: 20, TEST: 20}.items():
        labels = np.arange(count) % 10
        pixels = generator.integers(0, 100, (count, 32, 32, 3), dtype=np.uint8)
        write_cifar_tfrecords(folder / name, pixels + (15 * labels).astype(np.uint8)[:, None, None, None], labels)
    return folder


def run(patch: pytest.MonkeyPatch, images: Path, folder: Path, *keys: str) -> dict[str, Any]:
    """retrain.py in this process; its result."""
    paths = [f"SAVE_PATH={folder}", f"DATA.PATH={images}", f"MODEL_SELECTION=nasbench101/{CELL}"]
    patch.setattr("sys.argv", ["retrain.py", "--cfg", RECIPE, *TINY, *paths, *keys])
    with interruption.running():
        runpy.run_path("retrain.py")["main"]()
    return json.loads((folder / "result.json").read_text())


@pytest.fixture
def retrain(records: Path, monkeypatch: pytest.MonkeyPatch) -> Retrain:
    """With a folder and keys, the result on the records."""
    return partial(run, monkeypatch, records)


@pytest.fixture(scope="module")
def whole(records: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A training that nothing ended, and its result."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        return folder, run(patch, records, folder)


def last_state(folder: Path) -> dict[str, Any]:
    return load_file(list_checkpoints(folder)[0])


def accuracies(result: dict[str, Any]) -> list[dict[str, Any]]:
    """The evaluations without their times."""
    (published,) = result["nasbench101"].values()
    return [{**one, "predict_time": None, "training_time": None} for one in published["evaluation_results"]]


def records_of(folder: Path) -> list[dict[str, Any]]:
    """What was recorded, but for times."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    of_time = ("time", "second", "epoch/")
    return [{name: value for name, value in line.items() if not any(map(name.__contains__, of_time))} for line in lines]


def test_the_result_is_in_the_published_form(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, result = whole
    assert result["nasbench101"].keys() == {CELL.hash}
    published = result["nasbench101"][CELL.hash]
    assert published.keys() == {"trainable_params", "total_time", "evaluation_results"}
    assert published["trainable_params"] == cell_cost(NasBench101Description(**SMALL), CELL).params
    evaluations = published["evaluation_results"]
    assert [(one["epochs"], one["training_steps"]) for one in evaluations] == [(0, 0), (1.5, 9), (3, STEPS)]
    assert published["total_time"] > sum(one["predict_time"] for one in evaluations) > 0.0
    times = [one["training_time"] for one in evaluations]
    assert times == sorted(times)
    assert times[-1] < published["total_time"]
    for one in evaluations:
        names = {"train_accuracy": 100, "validation_accuracy": 20, "test_accuracy": 20}
        assert one.keys() == {"epochs", "training_steps", "predict_time", "training_time", *names}
        assert all(one[name] * count == pytest.approx(round(one[name] * count)) for name, count in names.items())
    assert evaluations[-1]["train_accuracy"] > 0.1, "chance"
    assert (result["stopped"], result["search"]) == (None, {"epoch": 3})
    rates = [record["train/lr"] for record in records_of(folder) if "train/lr" in record]
    assert rates[-1] == 0.0 < rates[-2]
    assert last_state(folder)["steps_per_epoch"] == "25/4"


@pytest.mark.parametrize("step", [9, 14], ids=["after the half", "in an epoch that began across"])
def test_a_training_that_died_goes_on_to_the_bit(
    whole: tuple[Path, dict[str, Any]], retrain: Retrain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    take_step = NetworkTraining.step

    def die(training: NetworkTraining, images: Any, labels: Any, position: Any) -> Any:
        if position.total == step:
            raise Died
        return take_step(training, images, labels, position)

    monkeypatch.setattr(NetworkTraining, "step", die)
    with pytest.raises(Died):
        retrain(tmp_path / "run")
    monkeypatch.setattr(NetworkTraining, "step", take_step)
    result = retrain(tmp_path / "run")
    assert accuracies(result) == accuracies(whole[1])
    assert records_of(tmp_path / "run") == records_of(whole[0])
    found, expected = last_state(tmp_path / "run")["state_dict"], last_state(whole[0])["state_dict"]
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_time_ends_a_training_that_can_go_on(
    whole: tuple[Path, dict[str, Any]], retrain: Retrain, tmp_path: Path
) -> None:
    """Stopped after a step, evaluated there; again at once while the time is over; with more time as if never ended."""
    folder = tmp_path / "run"
    stopped = retrain(folder, "TRAIN.SECONDS=1e-3")
    assert stopped["stopped"] == {"limit_seconds": 1e-3, "steps": 1, "of_steps": STEPS}
    results = stopped["nasbench101"][CELL.hash]["evaluation_results"]
    assert [(one["epochs"], one["training_steps"]) for one in results] == [(0, 0), (0.16, 1)]
    assert accuracies(retrain(folder, "TRAIN.SECONDS=1e-3")) == accuracies(stopped)
    assert last_state(folder)["step"] == 1
    finished = retrain(folder, "TRAIN.SECONDS=3600")
    assert finished["stopped"] is None
    assert accuracies(finished) == accuracies(whole[1])
    assert records_of(folder) == records_of(whole[0])
    again = retrain(folder, "TRAIN.SECONDS=1e-3")
    assert again["stopped"] is None, "all steps are done"
    assert again["nasbench101"][CELL.hash] == {
        **finished["nasbench101"][CELL.hash],
        "total_time": again["nasbench101"][CELL.hash]["total_time"],
    }


def test_other_evaluations_are_another_run(whole: tuple[Path, dict[str, Any]], retrain: Retrain) -> None:
    with pytest.raises(CheckpointError, match=r"its evaluated epochs is \[0, 1.5, 3\], this run's is None"):
        retrain(whole[0], "TRAIN.INTERMEDIATE_EVALUATIONS=[]")
    with pytest.raises(CheckpointError, match="steps_per_epoch is 25/4, this run's is 6"):
        retrain(whole[0], "TRAIN.ACROSS_EPOCHS=false")


def test_what_does_not_fit_is_refused(retrain: Retrain, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images are held out as search split"):
        retrain(tmp_path, "DATA.SEARCH_FRACTION=0")
    with pytest.raises(ConfigError, match=r"NASBENCH101.STEM_FILTER_SIZE=4.* and spnasnet_100 is none: remove it"):
        retrain(tmp_path, "MODEL_SELECTION=spnasnet_100")
    with pytest.raises(ConfigError, match=r"ACROSS_EPOCHS runs through all images, TRAIN.STEPS_PER_EPOCH=3 stops"):
        retrain(tmp_path, "TRAIN.STEPS_PER_EPOCH=3")


def test_class_folders_do_as_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A fifth is held out by the seed."""
    pixels = np.random.default_rng(1).integers(0, 256, (10, 32, 32, 3), dtype=np.uint8)
    for name in CLASSES:
        for split, count in (("train", 10), ("test", 1)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                Image.fromarray(pixels[number]).save(tmp_path / "images" / split / name / f"{number}.png")
    result = run(monkeypatch, tmp_path / "images", tmp_path / "run", "TRAIN.EPOCHS=1")
    (published,) = result["nasbench101"].values()
    assert [one["training_steps"] for one in published["evaluation_results"]] == [0, 2, 5]


@pytest.mark.slow
def test_a_matrix_and_ops_two_processes_and_their_time(records: Path, tmp_path: Path) -> None:
    """Real scripts: both processes stop at one step; the search is refused."""
    arch = '"INPUT_ARCH={matrix: [[0,1,1],[0,0,1],[0,0,0]], ops: [input, conv3x3-bn-relu, output]}"'
    keys = " ".join(f"'{key}'" for key in [*TINY, f"DATA.PATH={records}", f"SAVE_PATH={tmp_path / 'run'}"])
    command = f"retrain.py --cfg {RECIPE} {keys} MODEL_SELECTION=-1 {arch}"
    with warm_scripts(tmp_path) as scripts:
        ended = scripts.run(f"{command} TRAIN.SECONDS=1e-3 TRAIN.BATCH_SIZE=8", processes=2)
        assert ended.status == 0, ended.stderr
        result = json.loads((tmp_path / "run" / "result.json").read_text())
        assert result["stopped"]["steps"] == 2, "the other process learns it a step later"
        assert result["nasbench101"].keys() == {CELL.hash}
        tested = scripts.run(
            f"test.py RESUME_PATH={tmp_path / 'run'} DATA.NAME=cifar10 DATA.PATH={records} "
            f"SAVE_PATH={tmp_path / 'test'} RUNTIME.DEVICE=cpu RUNTIME.THREADS=1"
        )
        assert tested.status == 0, tested.stderr
        assert json.loads((tmp_path / "test" / "result.json").read_text())["params"] == result["params"]
        ended = scripts.run("train.py SUPERNET.SPACE=nasbench101")
    assert (ended.status, "nasbench101 shares no weights between its cells" in ended.stderr) == (1, True)
