"""The published scripts of NASNet-A mobile: their arguments, and (slow) a training and a test by them."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.errors import ConfigError, DeviceError
from configs.loading import load_config
from tools import nasnet
from tools.nasnet import TRAINING, find_dataset

ROOT = Path(__file__).parents[2]
LITTLE = shlex.split(
    "DATA.IMAGE_SIZE=32 DATA.WORKERS=0 DATA.SEARCH_FRACTION=0.25 NASNET.FILTERS=8 NASNET.CELLS=1 TRAIN.EPOCHS=1 "
    "TRAIN.BATCH_SIZE=8 RUNTIME.DEVICE=cpu RUNTIME.THREADS=1 RUNTIME.KEEP_CHECKPOINTS=1"
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Two classes of different colours in train/ and val/."""
    generator = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4)):
        for channel, name in enumerate(("apple", "pear")):
            (tmp_path / split / name).mkdir(parents=True)
            for image in range(count):
                pixels = generator.integers(0, 128, (40, 40, 3), dtype=np.uint8)
                pixels[..., channel] += 96
                Image.fromarray(pixels).save(tmp_path / split / name / f"{image}.png")
    return tmp_path


def test_data_dir_is_the_folder_that_the_job_reads(images: Path) -> None:
    assert find_dataset(images / "train", evaluates=False) == images
    assert find_dataset(images / "val", evaluates=True) == images
    assert find_dataset(images, evaluates=True) == images
    for folder, evaluates, read in (("train", True, "val"), ("val", False, "train")):
        with pytest.raises(ConfigError, match=rf"{folder}: this script reads the images of .*/{read}; name that"):
            find_dataset(images / folder, evaluates)
    (images / "test").mkdir()
    with pytest.raises(ConfigError, match=r"val: this script reads the images of .*/test"):
        find_dataset(images / "val", evaluates=True)
    with pytest.raises(ConfigError, match="apple is no folder train, val or test of class folders"):
        find_dataset(images / "train" / "apple", evaluates=False)


def test_wrong_arguments_are_told(images: Path) -> None:
    with pytest.raises(ConfigError, match="CHECKPOINT"):
        nasnet.main(["evaluate", "0", str(images)])
    with pytest.raises(ConfigError, match="'x' is not a whole number"):
        nasnet.main(["standalone", "x", str(images)])
    with pytest.raises(DeviceError, match="is not there"):
        nasnet.main(["standalone", "99999", str(images), "RUNTIME.DEVICE=cpu"])
    with pytest.raises(ConfigError, match="did you mean"):
        nasnet.main(["distribute", str(images), "TRAIN.EPOCH=1"])


def test_the_recipe_has_every_published_setting() -> None:
    config = load_config(TRAINING)
    train = config.train
    assert (config.seed, config.data.workers, train.epochs, config.runtime.keep_checkpoints) == (1, 8, 500, 100)
    assert (train.batch_size, train.label_smoothing, train.auxiliary_weight) == (32, 0.1, 0.4)
    assert (train.schedule, train.lr, train.decay_rate, train.decay_epochs) == ("step", 0.04, 0.97, 2.4)
    assert (train.optimizer, train.weight_decay, train.momentum) == ("rmsproptf", 4e-5, 0.9)
    assert (train.eps, train.rmsprop_decay, config.runtime.loss_scale) == (1.0, 0.9, 1.0)
    assert config.nasnet == load_config(None).nasnet


def run_script(script: str, *arguments: str, folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHON": sys.executable}
    command = ["bash", str(ROOT / "test" / script), *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=280)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["", "_for_gpu"])
def test_training_and_evaluation_by_the_scripts(images: Path, ending: str) -> None:
    if ending:
        run_script(
            f"run_distribute_train{ending}.sh", "--devices", "2", "train", *LITTLE, "SAVE_PATH=run", folder=images
        )
    else:
        run_script("run_standalone_train.sh", "0", "train", *LITTLE, "SAVE_PATH=run", folder=images)
    trained = json.loads((images / "run/result.json").read_text())
    assert (trained["selection"], trained["processes"]) == ("nasnet_a_mobile", 2 if ending else 1)
    keys = ["DATA.IMAGE_SIZE=32", "DATA.WORKERS=0", "RUNTIME.DEVICE=cpu", "SAVE_PATH=tested"]
    printed = run_script(f"run_eval{ending}.sh", "0", "val", "run/checkpoints/best.pth.tar", *keys, folder=images)
    accuracy = json.loads((images / "tested/result.json").read_text())["test"]["top1"]
    assert re.search(rf"^acc={accuracy:.2f}%\(TOP1\)$", printed, flags=re.MULTILINE)
