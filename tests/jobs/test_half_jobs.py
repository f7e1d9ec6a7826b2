"""Search, retraining and test on O2 through the scripts' own main functions."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from runtime.checkpoint import list_checkpoints, load_file

ROOT = Path(__file__).parents[2]
SPACE = (Path(__file__).parents[1] / "tiny_space.yaml").read_text()
RECIPE = """\
FLOPS_MAXIMUM: 0.2
DATA: {NAME: digits, AUGMENT: {FLIP: 0.0, SCALE: null, CROP_PADDING: 1}}
TRAIN: {EPOCHS: 1, STEPS_PER_EPOCH: 4, BATCH_SIZE: 16, LR: 0.2, EMA_DECAY: 0.5}
SEARCH:
  DISTILLATION_EPOCH: 0
  BOARD: {SIZE: 3, INTERVAL: 2, IMAGES: 40, RECALIBRATION_IMAGES: 16}
  MATCHING: {INTERVAL: 3}
PICKER: {NAME: evolution, EVALUATIONS: 3, POPULATION: 2, IMAGES: 50, RECALIBRATION_IMAGES: 32}
RUNTIME: {DEVICE: cpu, THREADS: 1, PRECISION: O2, DTYPE: float16}
"""


def test_search_retrain_and_test_run_on_o2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def run(script: str, name: str, *overrides: str) -> Path:
        arguments = ["--cfg", str(tmp_path / "recipe.yaml"), f"SAVE_PATH={tmp_path / name}", *overrides]
        monkeypatch.setattr(sys, "argv", [f"{script}.py", *arguments])
        runpy.run_path(str(ROOT / f"{script}.py"))["main"]()
        return tmp_path / name

    searched = run("train", "train", f"SUPERNET.SPACE={tmp_path / 'space.yaml'}")
    retrained = run("retrain", "retrain", f"INPUT_ARCH={searched / 'pick.json'}")
    results = {
        level: json.loads(
            (run("test", level, f"RESUME_PATH={retrained}", f"RUNTIME.PRECISION={level}") / "result.json").read_text()
        )["test"]
        for level in ("O0", "O2")
    }
    assert results["O2"]["top1"] == pytest.approx(results["O0"]["top1"], abs=2.0)
    assert results["O2"]["loss"] == pytest.approx(results["O0"]["loss"], rel=0.01)
    assert results["O2"]["loss"] != results["O0"]["loss"]  # half precision computed it
    for folder in (searched, retrained):
        state = load_file(list_checkpoints(folder)[0])
        weights = [value for value in state["state_dict"].values() if value.is_floating_point()]
        assert {value.dtype for value in weights} == {torch.float32}
        assert any(not torch.equal(value.half().float(), value) for value in weights)  # masters, not rounded ones
        assert state["precision"]["scale"] >= 2.0**12
