"""The three jobs on the stand-in of an NPU (tests/npu_stand_in): as on the cpu, to the fifth digit."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from warm_scripts import WarmScripts, warm_scripts

from runtime.checkpoint import load_file

STAND_IN = Path(__file__).parents[1] / "npu_stand_in"
SPACE = (Path(__file__).parents[1] / "tiny_space.yaml").read_text()
RECIPE = """\
FLOPS_MAXIMUM: 0.2
DATA: {NAME: digits, WORKERS: 1, AUGMENT: {FLIP: 0.0, SCALE: null, CROP_PADDING: 1}}
TRAIN: {EPOCHS: 1, STEPS_PER_EPOCH: 3, BATCH_SIZE: 16, LR: 0.1}
SEARCH:
  DISTILLATION_EPOCH: 0
  BOARD: {SIZE: 3, INTERVAL: 1, IMAGES: 20, RECALIBRATION_IMAGES: 16}
  MATCHING: {INTERVAL: 2}
PICKER: {NAME: evolution, EVALUATIONS: 3, POPULATION: 2, IMAGES: 50, RECALIBRATION_IMAGES: 32}
RUNTIME: {THREADS: 1, LOG_INTERVAL: 1, CHECKPOINT_INTERVAL: 2, CHANNELS_LAST: false}
"""
LEVELS = [("O0", "float16"), ("O1", "float16"), ("O1", "bfloat16"), ("O2", "float16"), ("O2", "bfloat16")]
ARRANGEMENTS = [
    pytest.param(*level, processes, marks=[] if (*level, processes) == ("O2", "float16", 1) else pytest.mark.slow)
    for processes in (1, 2)
    for level in LEVELS
]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmScripts]:
    folder = tmp_path_factory.mktemp("npu")
    (folder / "space.yaml").write_text(SPACE)
    (folder / "recipe.yaml").write_text(RECIPE)
    with warm_scripts(folder, PYTHONPATH=str(STAND_IN)) as warm:
        yield warm


@pytest.mark.parametrize(("level", "dtype", "processes"), ARRANGEMENTS)
def test_search_retrain_and_test_are_those_of_the_cpu(
    scripts: WarmScripts, tmp_path: Path, level: str, dtype: str, processes: int
) -> None:
    precision = f"RUNTIME.PRECISION={level} RUNTIME.DTYPE={dtype}"
    measured = {
        device: run_jobs(scripts, tmp_path / device, f"RUNTIME.DEVICE={device} {precision}", processes)
        for device in ("npu", "cpu")
    }
    assert len(measured["npu"]) == len(measured["cpu"]) > 8
    for ours, expected in zip(measured["npu"], measured["cpu"]):
        assert ours == pytest.approx(expected, rel=1e-5)
    environment = json.loads((tmp_path / "npu/search/environment.json").read_text())
    assert environment["device"] == "npu"
    assert len(list((tmp_path / "npu/retrain/checkpoints").glob("*.pth.tar"))) > 1


def run_jobs(scripts: WarmScripts, folder: Path, precision: str, processes: int) -> list[dict[str, Any]]:
    """Search, retrain what was picked, test it; everything that they measured, but for times."""
    inputs = scripts.folder
    chosen = f"INPUT_ARCH={folder}/search/pick.json DATA.LOADER=workers DATA.AUGMENT.MIXUP=0.2 TRAIN.EMA_DECAY=0.5"
    for job, script, arguments in (
        ("search", "train.py", f"SUPERNET.SPACE={inputs}/space.yaml"),
        ("retrain", "retrain.py", f"{chosen} TRAIN.DROPOUT=0.2 TRAIN.DROP_PATH=0.1 TRAIN.CLIP_GRADIENT=1.0"),
        ("test", "test.py", f"RESUME_PATH={folder}/retrain"),
    ):
        common = f"--cfg {inputs}/recipe.yaml SAVE_PATH={folder}/{job} {precision}"
        ended = scripts.run(f"{script} {common} {arguments}", processes)
        assert ended.status == 0, ended.stderr
    lines = [
        line for job in ("search", "retrain") for line in (folder / job / "metrics.jsonl").read_text().splitlines()
    ]
    tested = json.loads((folder / "test/result.json").read_text())["test"]
    return [without_times(record) for record in [*map(json.loads, lines), tested]]


def without_times(record: dict[str, Any]) -> dict[str, Any]:
    of_time = ("per_second", "milliseconds")
    return {name: value for name, value in record.items() if name != "time" and not any(map(name.count, of_time))}


@pytest.mark.slow
def test_a_run_goes_on_from_its_checkpoint_there_and_on_the_cpu(scripts: WarmScripts, tmp_path: Path) -> None:
    def retrain(name: str, device: str, source: str = "") -> dict[str, Any]:
        chosen = f"INPUT_ARCH=[[0],[0,1]] SUPERNET.SPACE={scripts.folder}/space.yaml DATA.AUGMENT.MIXUP=0.2"
        arguments = f"{chosen} RUNTIME.DEVICE={device} RUNTIME.PRECISION=O2 SAVE_PATH={tmp_path / name} {source}"
        ended = scripts.run(f"retrain.py --cfg {scripts.folder}/recipe.yaml {arguments}")
        assert ended.status == 0, ended.stderr
        return load_file(tmp_path / name / "checkpoints/step-00000003.pth.tar")

    whole = retrain("whole", "npu")
    source = f"RESUME_PATH={tmp_path}/whole/checkpoints/step-00000002.pth.tar"
    for device, tolerance in (("npu", 0.0), ("cpu", 1e-5)):
        state = retrain(device, device, source)
        torch.testing.assert_close(state["state_dict"], whole["state_dict"], rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(state["optimizer"]["state"], whole["optimizer"]["state"], rtol=tolerance, atol=1e-5)


BAD_INPUT: dict[str, tuple[Any, ...]] = {
    "no device": ({"NPU_STAND_IN_DEVICES": "0"}, "RUNTIME.DEVICE=npu", "finds only the cpu here", "npu-smi info"),
    "more processes than devices": (
        {"NPU_STAND_IN_DEVICES": "1", "WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1"},
        "it has 1 npu device(s)",
        "--nproc_per_node=1",
    ),
    "no half precision": (
        {"NPU_STAND_IN_WITHOUT": "float16"},
        "RUNTIME.PRECISION=O2 computes in RUNTIME.DTYPE=float16, which this npu does not",
        "set RUNTIME.DTYPE=bfloat16",
    ),
}


@pytest.mark.parametrize("name", BAD_INPUT)
def test_what_an_npu_lacks_is_told_in_one_message(scripts: WarmScripts, tmp_path: Path, name: str) -> None:
    environment, *parts = BAD_INPUT[name]
    arguments = f"RUNTIME.DEVICE=npu RUNTIME.PRECISION=O2 RUNTIME.DTYPE=float16 SAVE_PATH={tmp_path}/run"
    ended = scripts.run(f"train.py --cfg {scripts.folder}/recipe.yaml {arguments}", **environment)
    assert ended.status == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("error:") == 1
    assert all(part in ended.stderr for part in parts), ended.stderr
    assert not (tmp_path / "run").exists()
