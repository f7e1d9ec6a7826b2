"""Jobs that SIGKILL ends go on to the bit: weights, board, picks and records are those of a job that nothing ended."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator, Mapping, Set
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from doomed_jobs import Death, Job, Jobs

from runtime.checkpoint import list_checkpoints, load_file, step_name

SPACE = {
    "name": "tiny",
    "resolution": 8,
    "channels": 1,
    "classes": 10,
    "stem": {"channels": 8, "kernel": 3, "stride": 1},
    "operations": [{"kernel": 3, "expansion": 1}, {"kernel": 3, "expansion": 2}, {"kernel": 5, "expansion": 2}],
    "stages": [{"channels": 8, "stride": 1, "depth": [1, 2]}, {"channels": 16, "stride": 2, "depth": [1, 2]}],
    "head": {"channels": 32},
}
STEPS, EPOCHS, EVALUATIONS = 5, 2, 6
RUNTIME = {"DEVICE": "cpu", "THREADS": 1, "LOG_INTERVAL": 4, "CHECKPOINT_INTERVAL": 2, "KEEP_CHECKPOINTS": 99}
DATA = {"NAME": "digits", "AUGMENT": {"FLIP": 0.0, "SCALE": None, "CROP_PADDING": 1}}
TRAIN = {"EPOCHS": EPOCHS, "STEPS_PER_EPOCH": STEPS, "BATCH_SIZE": 16, "LR": 0.5, "EVALUATION_BATCH_SIZE": 100}
SEARCH = {
    "DISTILLATION_EPOCH": 1,
    "BOARD": {"SIZE": 3, "INTERVAL": 2, "IMAGES": 60, "RECALIBRATION_IMAGES": 32},
    "MATCHING": {"INTERVAL": 2},
}
PICKER = {"EVALUATIONS": EVALUATIONS, "POPULATION": 2, "IMAGES": 100, "RECALIBRATION_IMAGES": 64, "KEEP": 3}
RECIPES: dict[str, dict[str, Any]] = {
    "train": {"FLOPS_MAXIMUM": 0.14, "SEARCH": SEARCH, "PICKER": PICKER},
    "retrain": {"INPUT_ARCH": [[0], [0, 2]]},
}
END = {"train": EPOCHS * STEPS + EVALUATIONS, "retrain": EPOCHS * STEPS}  # the last checkpoint's step
CALLS = {  # of each phase, in a whole job
    "train": {"supernet step": 10, "board": 5, "measurement": 9, "proposal": 4, "checkpoint": 9, "record": 8},
    "retrain": {"network step": 10, "checkpoint": 6, "record": 8},
}
OF_TIME = {"time", "train/images_per_second", "seconds", "unrecorded_seconds", "pace", "speed", "command"}
OF_TIME |= {"epoch/images_per_second", "epoch/step_milliseconds", "epoch/data_milliseconds"}
OF_RANKS = {"statistics"}  # each rank's own of batch norm, which only training needs


class Runs:
    """Runs of the tiny search and retraining, and the uninterrupted ones that others are compared with."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.jobs = folder, Jobs()
        (folder / "tiny.yaml").write_text(yaml.safe_dump(SPACE))
        supernet = {"SPACE": str(folder / "tiny.yaml")}
        for script, keys in RECIPES.items():
            recipe = {"SEED": 5, "SUPERNET": supernet, "DATA": DATA, "TRAIN": TRAIN, "RUNTIME": RUNTIME, **keys}
            (folder / f"{script}.yaml").write_text(yaml.safe_dump(recipe))
        self.whole = cache(self._whole)

    def arguments(self, script: str, folder: Path) -> list[str]:
        return [f"{script}.py", "--cfg", str(self.folder / f"{script}.yaml"), f"SAVE_PATH={folder}", "RESUME_PATH=auto"]

    def run(self, script: str, folder: Path, **conditions: Any) -> int:
        """The exit status of a run that continues what the folder holds."""
        return self.jobs.run(Job(self.arguments(script, folder), str(self.log(folder)), **conditions))

    def log(self, folder: Path) -> Path:
        return folder.with_suffix(".log")

    def _whole(self, script: str, processes: int) -> Path:
        folder = self.folder / f"{script} by {processes}"
        assert self.run(script, folder, processes=processes) == 0, self.log(folder).read_text()
        return folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runs]:
    runs = Runs(tmp_path_factory.mktemp("runs"))
    yield runs
    runs.jobs.close()


def contents(path: Path) -> list[dict[str, Any]]:
    """What a file of a run says: one mapping, or those of its lines."""
    if path.name.endswith(".pth.tar"):
        return [load_file(path)]
    text = path.read_text()
    return [json.loads(part) for part in (text.splitlines() if path.suffix == ".jsonl" else [text])]


def differences(first: Any, second: Any, where: str) -> list[str]:
    """Where two nested values differ in a bit."""
    if isinstance(first, Mapping) and isinstance(second, Mapping) and list(first) == list(second):
        return [line for key in first for line in differences(first[key], second[key], f"{where}[{key}]")]
    if isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        return [line for at, (a, b) in enumerate(zip(first, second)) for line in differences(a, b, f"{where}[{at}]")]
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return [] if first.dtype == second.dtype and torch.equal(first, second) else [where]
    return [] if type(first) is type(second) and first == second else [f"{where}: {first!r} and {second!r}"]


def results(folder: Path) -> list[Path]:
    """Checkpoints, records, pick or result of a run, by their names within it."""
    kinds = ("checkpoints/*", "metrics.jsonl", "*.json", ".*")
    found = (path.relative_to(folder) for kind in kinds for path in folder.glob(kind))
    return sorted(path for path in found if path.name != "environment.json")


def assert_same(folder: Path, other: Path, aside: Set[str] = OF_TIME) -> None:
    """All that two runs left is equal to the bit, but for what is set aside."""

    def kept(path: Path) -> list[dict[str, Any]]:
        return [{name: value for name, value in part.items() if name not in aside} for part in contents(path)]

    assert results(folder) == results(other)
    different = [
        line for name in results(other) for line in differences(kept(folder / name), kept(other / name), name.name)
    ]
    assert not different


def damage(path: Path) -> None:
    """Flip a bit of the first weights."""
    content = bytearray(path.read_bytes())
    weights = next(iter(load_file(path)["state_dict"].values()))
    content[content.index(weights.numpy().tobytes())] ^= 1
    path.write_bytes(content)


def newest(folder: Path) -> str:
    return list_checkpoints(folder)[0].name


def test_a_rank_killed_in_a_step_and_a_damaged_checkpoint(runs: Runs, tmp_path: Path) -> None:
    """The other rank is ended by the launcher; the newest checkpoint turns out to be damaged on top of it."""
    folder = tmp_path / "run"
    death = Death("supernet step", call=9, share=0.6, rank=1)
    assert runs.run("train", folder, processes=2, death=death) == 1
    assert newest(folder) == step_name(8)
    damage(folder / "checkpoints" / step_name(8))
    assert runs.run("train", folder, processes=2) == 0
    log = runs.log(folder).read_text()
    assert f"{step_name(8)} cannot be loaded: it is damaged" in log
    assert f"going back to {step_name(6)}" in log
    assert_same(folder, runs.whole("train", 2))


def test_all_killed_while_a_checkpoint_is_written(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    death = Death("checkpoint", call=8, share=0.5, together=True)
    assert runs.run("train", folder, processes=2, death=death) == -9
    assert newest(folder) == step_name(EPOCHS * STEPS + 2)
    assert [path.name for path in (folder / "checkpoints").glob(".*")]  # half written
    assert runs.run("train", folder, processes=2) == 0
    assert_same(folder, runs.whole("train", 2))


def test_the_launcher_restarts_what_was_killed(runs: Runs, tmp_path: Path) -> None:
    """torchrun --max-restarts=1: without a word of ours."""
    folder = tmp_path / "run"
    death = Death("measurement", call=8, share=0.5, rank=0)
    assert runs.run("train", folder, processes=2, restarts=1, death=death) == 0, runs.log(folder).read_text()
    assert "killed" in runs.log(folder).read_text()
    assert_same(folder, runs.whole("train", 2))


def draw(moment: int) -> tuple[str, int, Death]:
    """A script, its number of processes, and when which of them dies, all drawn from the moment's number."""
    generator = random.Random(moment)
    script, processes = generator.choice([("train", 2), ("train", 2), ("train", 0), ("retrain", 2), ("retrain", 0)])
    phase, calls = generator.choice([*CALLS[script].items(), ("clock", 2)])
    call, share = generator.randint(2, calls), generator.random() * (4 if phase == "clock" else 1)
    return (
        script,
        processes,
        Death(phase, call, share, generator.randrange(max(1, processes)), generator.random() < 0.5),
    )


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_a_random_moment(runs: Runs, tmp_path: Path, moment: int) -> None:
    folder = tmp_path / "run"
    script, processes, death = draw(moment)
    status = runs.run(script, folder, processes=processes, death=death)
    assert status in ((1,) if processes and not death.together else (-9,)) or (death.phase == "clock" and status == 0)
    assert runs.run(script, folder, processes=processes) == 0, runs.log(folder).read_text()
    assert_same(folder, runs.whole(script, processes))


def go_on_alone(runs: Runs, folder: Path, script: str, step: int) -> int:
    """The exit status of one process that continues, from a step on, a copy of a run of two processes."""
    shutil.copytree(runs.whole(script, 2), folder)
    for path in list_checkpoints(folder):
        if path.name > step_name(step):
            path.unlink()
    return runs.run(script, folder)


@pytest.mark.parametrize("step", [pytest.param(EPOCHS * STEPS + 2, marks=pytest.mark.slow), END["train"]])
def test_any_number_of_processes_may_pick(runs: Runs, tmp_path: Path, step: int) -> None:
    assert go_on_alone(runs, tmp_path / "run", "train", step) == 0
    assert_same(tmp_path / "run", runs.whole("train", 2), OF_TIME | OF_RANKS)


@pytest.mark.slow
@pytest.mark.parametrize(("script", "step"), [("train", EPOCHS * STEPS), ("retrain", END["retrain"])])
def test_any_number_of_processes_may_finish_what_is_trained(runs: Runs, tmp_path: Path, script: str, step: int) -> None:
    assert go_on_alone(runs, tmp_path / "run", script, step) == 0
    assert_same(tmp_path / "run", runs.whole(script, 2), OF_TIME | OF_RANKS)


def test_a_training_goes_on_with_as_many_processes_only(runs: Runs, tmp_path: Path) -> None:
    assert go_on_alone(runs, tmp_path / "run", "train", STEPS + 1) == 1
    log = runs.log(tmp_path / "run").read_text()
    assert "stands at epoch 2, step 1 of a training by 2 processes, this run has 1: gradients and batch-norm" in log
    assert "Start with 2 processes, or anew with another SAVE_PATH" in log
    assert "Traceback" not in log


def test_a_file_that_cannot_be_written_ends_the_run_with_one_message(runs: Runs, tmp_path: Path) -> None:
    """The limit on file sizes is passed while a checkpoint is written, as a full disk's is."""
    folder = tmp_path / "run"
    assert runs.run("train", folder, processes=2, file_limit=60_000) == 1
    log = runs.log(folder).read_text()
    assert f"error: {folder / 'checkpoints' / step_name(2)} cannot be written (File too large)" in log
    assert log.count("error: ") == 1
    assert "/runtime/" not in log  # no traceback of ours
    assert list((folder / "checkpoints").iterdir()) == []
