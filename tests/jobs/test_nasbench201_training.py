"""The published training of a cell of NAS-Bench-201, tiny: its record, its sets, going on to the bit."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.errors import ConfigError, DataError
from nasbench.nasbench201.importing import import_official
from nasbench.nasbench201.runs import read_trial, write_trial
from retrain.training import NetworkTraining
from runtime.interruption import interruption
from supernet.spaces.nasbench201.cell import parse_cell
from supernet.spaces.nasbench201.costs import NasBench201Description, cell_cost

ARCH = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|avg_pool_3x3~0|none~1|nor_conv_3x3~2|"
SMALL = {"stem_channels": 4, "num_cells": 1}
TINY = [
    *(f"NASBENCH201.{key.upper()}={value}" for key, value in SMALL.items()),
    "DATA={NAME: digits, IMAGE_SIZE: 8, AUGMENT: {CROP_PADDING: 1, FLIP: 0}}",
    "TRAIN={EPOCHS: 2, BATCH_SIZE: 64, EVALUATION_BATCH_SIZE: 100}",
    "RUNTIME={DEVICE: cpu, THREADS: 1, KEEP_CHECKPOINTS: 1, CHECKPOINT_INTERVAL: 4}",
    "SEED=777",
]
METRICS = {"acc1es", "acc5es", "losses", "times"}


class Died(Exception):
    """What ends a training here."""


def run(patch: pytest.MonkeyPatch, folder: Path, *keys: str) -> dict[str, Any]:
    """retrain.py in this process; the record that it leaves."""
    recipe = ["--cfg", "configs/retrain/nasbench201_12.yaml", f"MODEL_SELECTION=nasbench201/{ARCH}"]
    patch.setattr("sys.argv", ["retrain.py", *recipe, *TINY, f"SAVE_PATH={folder}", *keys])
    with interruption.running():
        runpy.run_path("retrain.py")["main"]()
    return read_trial(folder / "trial.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A training that nothing ended, and its record."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        return folder, run(patch, folder)


def without_times(trial: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in trial.items() if "times" not in key and key != "latency"}


def test_the_record_has_the_official_fields(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, trial = whole
    cost = cell_cost(NasBench201Description(channels=1, resolution=8, **SMALL), parse_cell(ARCH))
    assert (trial["params"], trial["flop"]) == (cost.params / 1e6, cost.macs / 1e6)
    assert trial["arch_config"] == {"channel": 4, "num_cells": 1, "arch_str": ARCH, "class_num": 10}
    assert (trial["name"], trial["seed"], trial["epochs"]) == ("digits-valid", "0777", 2)
    assert (trial["eval_names"], trial["net_state_dict"]) == (["x-valid", "ori-test"], None)
    assert {key for key in trial if key.startswith("train_")} == {f"train_{metric}" for metric in METRICS}
    for metric in METRICS:
        assert list(trial[f"train_{metric}"]) == [0, 1]
        assert trial[f"eval_{metric}"].keys() == {f"{name}@{epoch}" for epoch in (0, 1) for name in trial["eval_names"]}
    (latency,) = trial["latency"]
    last = trial["eval_times"]["x-valid@1"] + trial["eval_times"]["ori-test@1"]
    assert latency == pytest.approx(last / (8 + 4)), "719 and 359 images in batches of 100"
    assert min(*trial["train_times"].values(), *trial["eval_times"].values()) > 0.0
    result = json.loads((folder / "result.json").read_text())
    assert result["trial"]["ori-test"]["top1"] == trial["eval_acc1es"]["ori-test@1"]
    assert result["trial"]["x-valid"]["images"] == 719


def test_a_cell_learns_and_is_counted_on_the_images_of_its_steps(whole: tuple[Path, dict[str, Any]]) -> None:
    folder, trial = whole
    assert trial["train_losses"][1] < trial["train_losses"][0]
    assert trial["train_acc1es"][1] < trial["train_acc5es"][1] <= 100.0
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    images = [line["milestone/train/images"] for line in lines if "milestone/train/images" in line]
    assert images == [11 * 64, 11 * 64], "floor of 719 / 64, then of twice that"
    losses = [line["train/loss"] for line in lines if "train/loss" in line]
    assert trial["train_losses"] == pytest.approx(dict(enumerate(losses)), rel=1e-5)
    assert lines[-1]["step"] == 22


def test_a_training_that_died_in_an_epoch_goes_on_to_the_bit(
    whole: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_step = NetworkTraining.step

    def die(training: NetworkTraining, images: Any, labels: Any, position: Any) -> Any:
        if position.total == 18:
            raise Died
        return take_step(training, images, labels, position)

    monkeypatch.setattr(NetworkTraining, "step", die)
    with pytest.raises(Died):
        run(monkeypatch, tmp_path / "run")
    monkeypatch.setattr(NetworkTraining, "step", take_step)
    again = run(monkeypatch, tmp_path / "run", "RESUME_PATH=auto")
    assert without_times(again) == without_times(whole[1])


def test_halves_of_cifar100s_test_images_are_sets_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 3)):
        for number in range(8):
            folder = tmp_path / "images" / split / f"class{number}"
            folder.mkdir(parents=True)
            for place in range(count):
                pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / f"{place}.png")
    keys = ["DATA.NAME=cifar100", f"DATA.PATH={tmp_path / 'images'}"]
    trial = run(monkeypatch, tmp_path / "run", *keys, "DATA.SEARCH_FRACTION=0", "TRAIN.EPOCHS=1", "TRAIN.BATCH_SIZE=16")
    assert (trial["name"], trial["eval_names"]) == ("cifar100", ["x-valid", "x-test", "ori-test"])
    for metric in ("acc1es", "losses"):
        measured = trial[f"eval_{metric}"]
        halves = (measured["x-valid@0"] + measured["x-test@0"]) / 2
        assert measured["ori-test@0"] == pytest.approx(halves), "twelve images each"
    assert trial["eval_times"]["ori-test@0"] == trial["eval_times"]["x-valid@0"] + trial["eval_times"]["x-test@0"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (["MODEL_SELECTION=nasbench_macro/00000000"], "nasbench_macro/00000000 is none; set it to false"),
        (["DATA.AUGMENT.MIXUP=0.2"], r"set DATA.AUGMENT.MIXUP and CUTMIX to 0"),
        (["TRAIN.INTERMEDIATE_EVALUATIONS=[0.5]"], "remove one of the two"),
    ],
)
def test_what_is_no_trial_is_refused(
    keys: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    around = [] if "MIXUP" in keys[0] else ["NASBENCH201={STEM_CHANNELS: 16, NUM_CELLS: 5}"]
    with pytest.raises(ConfigError, match=message):
        run(monkeypatch, tmp_path / "run", *around, *keys)


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trial.json").write_text('{"train_acc1es": []}')
    with pytest.raises(DataError, match=r"trial.json is no trial of retrain.py"):
        read_trial(tmp_path / "trial.json")


def test_trials_are_imported_into_the_table(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    folder, trial = whole
    table, index = import_official(folder, tmp_path / "table.safetensors"), parse_cell(ARCH).index
    assert np.flatnonzero(table.evaluated).tolist() == [index]
    for epoch in (0, 1):
        accuracies = table.values("digits-valid", "2", "x-valid-accuracy", epoch)
        assert accuracies[index].tolist() == [trial["eval_acc1es"][f"x-valid@{epoch}"]]
        assert table.values("digits-valid", "2", "train-loss", epoch)[index] == trial["train_losses"][epoch]
    assert np.isnan(accuracies[index - 1]).all()


def test_trials_of_one_seed_are_named(whole: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        write_trial(tmp_path / name / "trial.json", whole[1])
    with pytest.raises(DataError, match=r"first/trial.json and .*second/trial.json are trials of one cell"):
        import_official(tmp_path, tmp_path / "table.safetensors")
    with pytest.raises(DataError, match="holds nothing to import"):
        import_official(tmp_path / "none", tmp_path / "table.safetensors")
