"""The three jobs as a user runs them: real scripts, two processes, real image files."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
LAUNCH = [sys.executable, "-m", "torch.distributed.launch", "--nproc_per_node=2"]


def run(*arguments: str | Path) -> str:
    """Run a script from the root; its output, which is shown where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [str(argument) for argument in arguments]
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of coloured noise, of sizes that need resizing: train/<class>/*.jpg and val/<class>/*.jpg."""
    folder, generator = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for split, images in (("train", 16), ("val", 5)):
        for number, name in enumerate(("apple", "pear", "quince")):
            (folder / split / name).mkdir(parents=True)
            for image in range(images):
                pixels = generator.integers(0, 128, (240 + 8 * image, 256, 3), dtype=np.uint8)
                pixels[..., number] += 96
                Image.fromarray(pixels).save(folder / split / name / f"{image}.jpg")
    return folder


@pytest.mark.slow
def test_the_default_recipes_search_retrain_and_test_at_224(image_folder: Path, tmp_path: Path) -> None:
    """configs/train.yaml, retrain.yaml and test.yaml, but for the data path and the number of steps and images."""
    few = ["TRAIN.EPOCHS=1", "TRAIN.STEPS_PER_EPOCH=2", "TRAIN.BATCH_SIZE=2", "DATA.WORKERS=1"]
    split = [f"DATA.PATH={image_folder}", "DATA.SEARCH_FRACTION=0.25"]
    search, retrained, tested = tmp_path / "search", tmp_path / "retrain", tmp_path / "test"

    teaching = ["SEARCH.DISTILLATION_EPOCH=0", "SEARCH.BOARD={INTERVAL: 1, IMAGES: 4, RECALIBRATION_IMAGES: 4}"]
    picking = "PICKER={NAME: evolution, EVALUATIONS: 3, POPULATION: 2, IMAGES: 6, RECALIBRATION_IMAGES: 4}"
    run(
        *LAUNCH,
        "train.py",
        "--cfg",
        "configs/train.yaml",
        *few,
        *split,
        *teaching,
        picking,
        "SEARCH.MATCHING.SLICE=2",
        f"SAVE_PATH={search}",
    )
    pick = json.loads((search / "pick.json").read_text())
    assert pick["resolution"] == 224
    assert len(pick["architectures"]) == 3
    assert all(0 <= entry["macs"] <= 600_000_000 for entry in pick["architectures"])

    chosen = ["MODEL_SELECTION=-1", f"INPUT_ARCH={search / 'pick.json'}"]
    run(*LAUNCH, "retrain.py", "--cfg", "configs/retrain.yaml", *few, *split, *chosen, f"SAVE_PATH={retrained}")
    result = json.loads((retrained / "result.json").read_text())
    assert (result["macs"], result["params"]) == tuple(pick["architectures"][0][name] for name in ("macs", "params"))
    assert result["search"]["images"] == 12

    weights = f"RESUME_PATH={retrained}"
    run(*LAUNCH, "test.py", "--cfg", "configs/test.yaml", *split, "DATA.WORKERS=1", weights, f"SAVE_PATH={tested}")
    measured = json.loads((tested / "result.json").read_text())
    assert measured["test"]["images"] == 15
    assert measured["macs"] == result["macs"]
    assert measured["weights"] == "ema"

    for folder in (search, retrained, tested):
        assert {"config.yaml", "environment.json"} <= {path.name for path in folder.iterdir()}
    for folder in (search, retrained):
        assert list(folder.glob("events*"))
        assert list((folder / "checkpoints").glob("*.pth.tar"))


@pytest.mark.parametrize("script", ["train", "retrain", "test"])
def test_help_lists_every_key_with_meaning_and_default(script: str) -> None:
    text = run(sys.executable, f"{script}.py", "--help")
    for key, default in (("FLOPS_MAXIMUM", "600"), ("SEARCH.BOARD.SIZE", "10"), ("DATA.AUGMENT.FLIP", "0.5")):
        assert re.search(rf"{re.escape(key)} .*default {default}", text)


@pytest.mark.parametrize("script", ["train", "retrain", "test"])
def test_a_mistyped_key_gets_one_message_and_no_run_folder(script: str, tmp_path: Path) -> None:
    command = [sys.executable, f"{script}.py", "SERCH.EPOCHS=1", f"SAVE_PATH={tmp_path / 'run'}"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert "SERCH.EPOCHS" in result.stderr
    assert "did you mean" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()
