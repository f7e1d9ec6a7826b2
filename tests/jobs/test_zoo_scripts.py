"""The scripts of test/ and the model zoo's arguments as a user runs them: real processes on real image files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tools import report

ROOT = Path(__file__).parents[2]
LITTLE = (
    "DATA.IMAGE_SIZE=32 DATA.WORKERS=0 DATA.SEARCH_FRACTION=0.25 RUNTIME.THREADS=1 "
    "DATA.AUGMENT.POLICY= TRAIN.EMA_DECAY=0 TRAIN.OPTIMIZER=sgd"  # timm takes seconds to import
)
CLOSING = r"Final Performance images/sec : (\S+)\nFinal Train Accuracy : (\S+)\nE2E Training Duration sec : (\S+)\n\Z"
CASE_KEYS = "Network RankSize BatchSize DeviceType CaseName ActualFPS TrainingTime TrainAccuracy ActualLoss"


class Zoo:
    """A copy of the project whose test/output is its own, and a folder of images."""

    def __init__(self, folder: Path) -> None:
        self.root, self.images = folder / "project", folder / "images"
        self.root.mkdir()
        for path in ROOT.iterdir():
            if path.name[0] != "." and path.name not in ("test", "output"):
                (self.root / path.name).symlink_to(path)
        shutil.copytree(ROOT / "test", self.root / "test", ignore=shutil.ignore_patterns("output"))
        generator = np.random.default_rng(0)
        for split, images in (("train", 24), ("val", 6)):
            for channel, name in enumerate(("apple", "pear")):
                (self.images / split / name).mkdir(parents=True)
                for image in range(images):
                    pixels = generator.integers(0, 128, (40, 48, 3), dtype=np.uint8)
                    pixels[..., channel] += 96
                    Image.fromarray(pixels).save(self.images / split / name / f"{image}.png")

    def run(self, command: str, place: str = "", status: int = 0) -> str:
        """What a command prints, run in a folder of the project; the test fails where it ends otherwise."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "PYTHON": sys.executable}
        words = shlex.split(command)
        ended = subprocess.run(
            words, cwd=self.root / place, env=environment, capture_output=True, text=True, timeout=280
        )
        assert ended.returncode == status, ended.stdout + ended.stderr
        return ended.stdout if status == 0 else ended.stderr

    @property
    def output(self) -> Path:
        return self.root / "test/output/0"

    def read(self, file: str) -> dict[str, Any]:
        return json.loads((self.output / file).read_text())

    def read_case(self, name: str) -> dict[str, str]:
        """The lines `Key = value` of a case's log."""
        return dict(line.split(" = ") for line in (self.output / f"{name}.log").read_text().splitlines())

    def read_losses(self, name: str) -> list[str]:
        return (self.output / f"train_{name}_loss.txt").read_text().split()

    def recorded_losses(self, name: str) -> list[str]:
        records = map(json.loads, (self.output / name / "metrics.jsonl").read_text().splitlines())
        return [f"{record['train/loss']:.3f}" for record in records if "train/loss" in record]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Zoo:
    return Zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def trained(zoo: Zoo) -> tuple[str, str]:
    """The case of a full training on two devices, started in test/, and what the script printed."""
    options = "--network=14 --devices=2 --device=cpu --epochs=2 --batch_size=4"
    printed = zoo.run(f"bash train_full_8p.sh --data_path=../../images {options} {LITTLE}", "test")
    return "14_bs4_2p_acc", printed


def test_a_full_training_reports_what_its_jobs_wrote(zoo: Zoo, trained: tuple[str, str]) -> None:
    name, printed = trained
    result, tested = zoo.read(f"{name}/result.json"), zoo.read(f"{name}/test/result.json")
    case = zoo.read_case(name)
    assert list(case) == [*CASE_KEYS.split(), "E2ETrainingTime"]
    told = ("14", "2", "4", "cpu", name)
    assert (case["Network"], case["RankSize"], case["BatchSize"], case["DeviceType"], case["CaseName"]) == told
    assert float(case["ActualFPS"]) == result["speed"]["images_per_second"] > 0
    assert float(case["TrainingTime"]) == result["speed"]["step_milliseconds"]
    assert float(case["TrainAccuracy"]) == pytest.approx(tested["test"]["top1"], abs=1e-3)
    assert float(case["E2ETrainingTime"]) == result["seconds"]
    assert zoo.read_losses(name) == zoo.recorded_losses(name)
    assert case["ActualLoss"] == zoo.read_losses(name)[-1]
    closing = re.search(CLOSING, printed)
    assert closing
    assert closing.groups() == (case["ActualFPS"], case["TrainAccuracy"], case["E2ETrainingTime"])
    assert (result["processes"], result["epochs"], tested["test"]["images"]) == (2, 2, 12)


def test_speed_is_told_for_each_epoch_and_at_the_end(zoo: Zoo, trained: tuple[str, str]) -> None:
    """Four steps an epoch, the first two of which are warm-up."""
    log = (zoo.output / "train_0.log").read_text()
    speed = zoo.read(f"{trained[0]}/result.json")["speed"]
    lines = re.findall(r"epoch (\d): \S+ images/s over (\d) steady steps, \S+ ms a step, \S+ ms of it waiting", log)
    assert lines == [("1", "2"), ("2", "4")]
    assert f"FPS {speed['images_per_second']:.3f}: " in log
    assert speed["steps"] == 6
    assert speed["images_per_second"] == pytest.approx(8 * 1000 / speed["step_milliseconds"], rel=1e-3)
    assert 0 < speed["data_milliseconds"] < speed["step_milliseconds"]


def test_the_table_has_the_published_form(
    zoo: Zoo, trained: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    report.main(["--zoo", str(zoo.output / trained[0])])
    case = zoo.read_case(trained[0])
    header, _, row = (line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines())
    assert header == ["NAME", "Acc@1", "FPS", "Epochs", "AMP_Type", "Torch_version"]
    assert row[:5] == ["2p-CPU", case["TrainAccuracy"], case["ActualFPS"], "2", "-"]
    assert re.fullmatch(r"Torch\d+\.\d+\.\d+", row[5])


@pytest.mark.slow
def test_a_trained_network_is_evaluated_from_the_root(zoo: Zoo, trained: tuple[str, str]) -> None:
    options = f"--network=14 --device=cpu --batch_size=5 --pth_path=test/output/0/{trained[0]} {LITTLE}"
    printed = zoo.run(f"bash ./test/train_eval_1p.sh --data_path={zoo.images} {options}")
    case, result = zoo.read_case("14_bs5_1p_eval"), zoo.read("14_bs5_1p_eval/result.json")
    assert float(case["ActualFPS"]) == pytest.approx(result["test"]["images_per_second"], abs=1e-3)
    assert case["TrainAccuracy"] == zoo.read_case(trained[0])["TrainAccuracy"]
    assert case["ActualLoss"] == f"{result['test']['loss']:.3f}"
    assert re.search(CLOSING, printed)


@pytest.mark.slow
def test_a_search_is_measured(zoo: Zoo) -> None:
    """The default recipe of a search on one device, but for its space; a second run starts anew."""
    little = f"{LITTLE} SUPERNET.SPACE=fashion TRAIN.EVALUATION_BATCH_SIZE=12 PICKER.RECALIBRATION_IMAGES=8"
    options = f"--network=supernet --device=cpu --batch_size=4 {little}"
    stale = zoo.output / "supernet_bs4_1p_perf/checkpoints/step-00000001.pth.tar"
    stale.parent.mkdir(parents=True)
    stale.touch()
    printed = zoo.run(f"bash test/train_performance_1p.sh --data_path={zoo.images} {options}")
    case, pick = zoo.read_case("supernet_bs4_1p_perf"), zoo.read("supernet_bs4_1p_perf/pick.json")
    assert float(case["ActualFPS"]) == pick["speed"]["images_per_second"] > 0
    assert float(case["TrainAccuracy"]) == pytest.approx(pick["architectures"][0]["accuracy"], abs=1e-3)
    assert zoo.read_losses("supernet_bs4_1p_perf") == zoo.recorded_losses("supernet_bs4_1p_perf")
    assert (pick["epochs"], pick["evaluated"]) == (1, 1)
    assert re.search(CLOSING, printed)


def test_more_devices_than_there_are(zoo: Zoo) -> None:
    options = "--network=14 --device=cpu --devices=100000"
    message = zoo.run(f"bash test/train_full_8p.sh --data_path={zoo.images} {options}", status=1)
    assert re.fullmatch(r"error: 100000 device\(s\) asked for, and .* is not there: this machine has .*\n", message)


@pytest.mark.slow
def test_the_family_of_arguments_starts_its_own_processes(zoo: Zoo, tmp_path: Path) -> None:
    family = f"--data {zoo.images} --arch 14 --workers 0 --epochs 1 --batch-size 4 --addr 127.0.0.1"
    devices = "--multiprocessing-distributed --device-list 0,1 RUNTIME.DEVICE=cpu"
    zoo.run(f"{sys.executable} retrain.py {family} {devices} {LITTLE} SAVE_PATH={tmp_path}/run")
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert (result["processes"], result["batch_size"], result["epochs"]) == (2, 4, 1)
    assert f"retrain.py {family}" in result["command"]
    environment = json.loads((tmp_path / "run/environment.json").read_text())
    assert environment["processes"] == 2


@pytest.mark.slow
@pytest.mark.parametrize("script", ["train_full_1p.sh", "train_performance_8p.sh", "train_eval_8p.sh"])
def test_the_other_scripts(zoo: Zoo, trained: tuple[str, str], script: str) -> None:
    own = {"train_full_1p.sh": "--epochs=1", "train_eval_8p.sh": f"--pth_path={zoo.output / trained[0]} --devices=2"}
    options = f"--network=14 --device=cpu --batch_size=4 {own.get(script, '--devices=2 --amp=O2')} {LITTLE}"
    printed = zoo.run(f"bash test/{script} --data_path={zoo.images} {options}")
    kind, ranks = script.split("_")[1], 1 if "1p" in script else 2
    ending = {"full": "acc", "performance": "perf", "eval": "eval"}[kind]
    assert zoo.read_case(f"14_bs4_{ranks}p_{ending}")["RankSize"] == str(ranks)
    assert re.search(CLOSING, printed)
