"""`train`: real worker processes of a stand-in for retrain.py, killed, failing, interrupted and continued."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from configs.errors import ConfigError, DataError, StorageError, TrainingError
from nasbench.nasbench101 import ModelSpec, NASBench
from runtime.interruption import handle_signals
from runtime.locks import locked
from runtime.scripts import run
from supernet.spaces.nasbench101.space import NasBench101Space
from tools.nasbench101 import training
from tools.nasbench101.__main__ import main
from tools.speed import sharing

ROOT = Path(__file__).parents[2]
FAKE = (sys.executable, "-S", str(Path(__file__).with_name("fake_retrain.py")))
KEYS = ["TRAIN.EPOCHS=4"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, and a stand-in for the training program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.yaml").write_text("DATA: {NAME: digits}\n")
    monkeypatch.setattr(training, "PROGRAM", FAKE)
    return tmp_path


def arguments(*more: str) -> list[str]:
    recipe = ["--cfg", "digits.yaml", "--device", "cpu"]
    return ["train", *recipe, "--architectures", "few", *more, *KEYS]


def plan(monkeypatch: pytest.MonkeyPatch, folder: Path, **attempts: list[str]) -> None:
    (folder / "plan.json").write_text(json.dumps({name.replace("_", "-"): does for name, does in attempts.items()}))
    monkeypatch.setenv("FAKE_PLAN", str(folder / "plan.json"))


def starts(folder: Path) -> dict[str, list[int]]:
    """The steps that each training's attempts began with."""
    found = sorted((folder / "output" / "cells").glob("*/repeat-*/starts.txt"))
    return {
        str(path.parent.relative_to(folder / "output" / "cells")): [*map(int, path.read_text().split())]
        for path in found
    }


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


def test_cells_are_drawn_trained_and_collected_once(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    main(arguments("--count", "3", "--repeats", "2", "--per-device", "2"))
    drawn = json.loads((folder / "data" / "few.json").read_text())
    collected = json.loads((folder / "output" / "all_data.json").read_text())
    assert list(collected) == list(drawn)
    for key, entry in collected.items():
        assert ModelSpec(drawn[key]["matrix"], drawn[key]["ops"]).hash_spec() == key
        first, second = entry["repeats"]
        assert {name: entry[name] for name in entry if name != "repeats"}.items() <= first.items()
        assert [one["epochs"] for one in entry["evaluation_results"]] == [0, 2, 4]
        assert first["seed"] != second["seed"]
        assert [attempt["status"] for attempt in first["attempts"]] == [0]
    benchmark = NASBench(folder / "output" / "nasbench101.safetensors")
    assert sorted(benchmark.hash_iterator()) == sorted(drawn)
    made = benchmark.get_metrics_from_hash(next(iter(drawn)))[1][4]
    assert [one["final_test_accuracy"] for one in made] == [
        one["evaluation_results"][-1]["test_accuracy"] for one in collected[next(iter(drawn))]["repeats"]
    ]
    assert starts(folder) == {f"{key}/repeat-{repeat}": [0] for key in sorted(drawn) for repeat in (1, 2)}
    kept = {path.name for path in (folder / "output" / "cells").glob("*/*/checkpoints/*")}
    assert kept == {"best.pth.tar"}
    assert "6/6 trainings" in capfd.readouterr().err

    before = starts(folder)
    main(arguments("--repeats", "2"))
    assert starts(folder) == before, "a finished cell is never trained again"
    assert json.loads((folder / "output" / "all_data.json").read_text()) == collected


def test_a_killed_worker_goes_on_and_a_hopeless_training_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    plan(monkeypatch, folder, repeat_1=["kill", "silent", "ok"], repeat_2=["fail"] * 3)
    with pytest.raises(
        TrainingError, match=r"1 of 2 trainings failed.*\n  [0-9a-f]{32}/repeat-2: out of luck \(the last of 3"
    ):
        main(arguments("--count", "1", "--repeats", "2", "--attempts", "3"))
    told = capfd.readouterr().err
    assert "repeat-1: killed by signal 9 (Killed); try 2 of 3" in told
    assert "repeat-1: it ended with status 0 and wrote no result; try 3 of 3" in told
    ((key, entry),) = json.loads((folder / "output" / "all_data.json").read_text()).items()
    (made,) = entry["repeats"]
    assert [attempt["status"] for attempt in made["attempts"]] == [-9, 0, 0]
    assert starts(folder) == {f"{key}/repeat-1": [0, 5, 10], f"{key}/repeat-2": [0, 1, 2]}
    main(arguments("--repeats", "2", "--attempts", "3"))
    assert len(json.loads((folder / "output" / "all_data.json").read_text())[key]["repeats"]) == 2
    assert starts(folder)[f"{key}/repeat-1"] == [0, 5, 10]


def test_an_invalid_cell_is_named_and_the_others_go_on(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "data").mkdir()
    good = "043721b9c7fe8c5fad811d47d83132ec"
    rows = {"matrix": [[0, 1], [0, 0]], "ops": ["input", "output"]}
    (folder / "data" / "few.json").write_text(json.dumps({"bad": {**rows, "ops": ["input"]}, good: rows}))
    main(arguments("--count", "5", "--repeats", "1"))
    told = " ".join(capfd.readouterr().err.split())
    assert "few.json: bad is left out: 2 vertices have 1 operations; give one for each" in told
    assert "holds 1 cells and --count says 5: its cells are trained" in told
    assert list(json.loads((folder / "output" / "all_data.json").read_text())) == [good]


def test_an_order_of_vertices_is_kept_and_other_files_do_not_forget(folder: Path) -> None:
    """A cell whose channels depend on the order of its vertices, as the user wrote it."""
    space = NasBench101Space()
    cell = space.parse("01110-00001-00001-00001-00000:maxpool3x3,conv1x1,conv3x3")
    assert space.text(cell) == str(cell)
    (folder / "data").mkdir()
    (folder / "data" / "few.json").write_text(json.dumps({cell.hash: cell.to_json()}))
    main(arguments("--repeats", "1"))
    command = (folder / "output" / "cells.json").read_text()
    assert json.loads(command) == {cell.hash: cell.to_json()}
    (folder / "data" / "few.json").unlink()
    main(arguments("--count", "1", "--repeats", "1"))
    assert len(NASBench(folder / "output" / "nasbench101.safetensors").table) == 2
    assert cell.hash in json.loads((folder / "output" / "all_data.json").read_text())


def test_what_is_wrong_is_told_before_anything_is_trained(folder: Path) -> None:
    for key in ("SEED=1", "SAVE_PATH=x", "RUNTIME.DEVICE=cpu"):
        with pytest.raises(ConfigError, match=f"{key} out"):
            main([*arguments(), key])
    with pytest.raises(ConfigError, match=r"TRAIN\.EPOCS: unknown key"):
        main([*arguments(), "TRAIN.EPOCS=1"])
    with pytest.raises(DataError):
        main([*arguments(), "DATA.NAME=cifar10", "DATA.PATH=nowhere"])
    with pytest.raises(SystemExit):
        main([*arguments(), "--nonsense"])
    assert not (folder / "output").exists()
    with locked(folder / "output"), pytest.raises(ConfigError, match="another run works in output"):
        main(arguments())
    main(arguments("--count", "1", "--repeats", "1"))
    for other in ("TRAIN.LR=0.5", "--seed=1"):
        with pytest.raises(ConfigError, match="holds trainings of another recipe or seed"):
            main([*arguments("--repeats", "1"), other])


def test_a_full_disk_while_collecting_leaves_what_was(folder: Path) -> None:
    main(arguments("--count", "2", "--repeats", "1"))
    output = folder / "output"
    before = {name: (output / name).read_bytes() for name in ("all_data.json", "nasbench101.safetensors")}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, limits[1]))  # a result fits, all of them do not
    try:
        with pytest.raises(StorageError, match=r"all_data\.json cannot be written \(File too large\)"):
            main(arguments("--repeats", "2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {name: (output / name).read_bytes() for name in before} == before
    assert not list(output.glob(".*.tmp"))
    trained = starts(folder)
    main(arguments("--repeats", "2"))
    assert starts(folder) == trained
    assert all(len(one["repeats"]) == 2 for one in json.loads((output / "all_data.json").read_text()).values())


def become_tool(command: list[str], log: str, environment: dict[str, str]) -> None:
    """In a process of its own: the command as a user starts it."""
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
    os.chdir(Path(log).parent)
    os.environ.update(environment)
    training.PROGRAM = FAKE
    handle_signals()
    run(lambda: main(command))


@pytest.fixture(scope="module")
def spawn() -> Iterator[Callable[..., ForkServerProcess]]:
    """Start the tool in a fork of a process that has imported it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tools.nasbench101.__main__", "tools.speed.sharing"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        forkserver.ensure_running()
    started: list[ForkServerProcess] = []

    def start(folder: Path, *command: str, **environment: str) -> ForkServerProcess:
        process = context.Process(target=become_tool, args=([*command], str(folder / "tool.log"), environment))
        process.start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_tool_is_ended_and_continued(folder: Path, spawn: Callable[..., ForkServerProcess], number: int) -> None:
    """Its workers save and end, whatever ended it; the same command goes on where they were."""
    command, log = arguments("--count", "3", "--repeats", "1", "--per-device", "2"), folder / "tool.log"
    process = spawn(folder, *command, FAKE_SECONDS="1")
    wait_until(lambda: len(list(folder.glob("output/cells/*/*/progress.txt"))) == 2)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == (-9 if number == signal.SIGKILL else 128 + number), log.read_text()
    again = spawn(folder, *command)
    again.join(60)
    assert again.exitcode == 0, log.read_text()
    saved = {path.parent.parent.name: int(path.read_text()) for path in folder.glob("output/cells/*/*/saved.txt")}
    assert len(saved) == 2
    for name, steps in starts(folder).items():
        key = name.partition("/")[0]
        assert steps == ([0, saved[key]] if key in saved else [0])
    collected = json.loads((folder / "output" / "all_data.json").read_text())
    assert [[one["status"] for one in entry["repeats"][0]["attempts"]] for entry in collected.values()] == [[0]] * 3
    assert "Traceback" not in log.read_text()


def test_a_second_run_on_the_same_folder_refuses(folder: Path, spawn: Callable[..., ForkServerProcess]) -> None:
    first = spawn(folder, *arguments("--count", "1", "--repeats", "1"), FAKE_SECONDS="1.5")
    wait_until(lambda: (folder / "output" / "cells").is_dir())
    second = spawn(folder, *arguments("--count", "1", "--repeats", "1"))
    second.join(60)
    assert second.exitcode == 1
    assert "error: another run works in output: wait until it has ended" in (folder / "tool.log").read_text()
    first.join(60)
    assert first.exitcode == 0
    assert list(starts(folder).values()) == [[0]]


def test_sharing_a_device_is_measured(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = ["--cfg", "digits.yaml", "--device", "cpu"]
    sharing.main([*recipe, "--cells", "1", "--rounds", "2", "--json", *KEYS])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["device"], shown["cells"], shown["seconds"].keys()) == ("cpu", 1, {"1", "2"})
    ratios = [alone / shared for alone, shared in zip(*shown["seconds"].values(), strict=True)]
    assert len(ratios) == 2
    assert shown["gain"] == pytest.approx(sum(ratios) / 2, rel=0.1)
    plan(monkeypatch, Path.cwd(), repeat_1=["fail"])
    with pytest.raises(TrainingError, match="out of luck"):
        sharing.main([*recipe, "--cells", "1", *KEYS])


@pytest.mark.parametrize("name", ["train_single_arch", "train_mutiple_archs", "train_multiple_archs"])
@pytest.mark.parametrize("place", [ROOT, ROOT / "test"])
def test_the_published_scripts_start_the_tool(folder: Path, name: str, place: Path) -> None:
    """From the root and from test/; the interpreter is a stand-in that tells its arguments."""
    teller = folder / "python"
    teller.write_text('#!/bin/sh\necho "$PWD|$*"\n')
    teller.chmod(0o755)
    script = (ROOT / "test" / f"{name}.sh").relative_to(place) if place == ROOT else f"{name}.sh"
    environment = {**os.environ, "PYTHON": str(teller)}
    ran = subprocess.run(
        ["bash", str(script), "--seed", "1", "TRAIN.EPOCHS=2"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
    )
    count, file = ("1", "single_arch --repeats 1") if "single" in name else ("5", "train_arch")
    expected = f"-m tools.nasbench101 train --count {count} --architectures {file} --seed 1 TRAIN.EPOCHS=2"
    assert ran.stdout.strip() == f"{ROOT}|{expected}", ran.stderr
    head = (ROOT / "test" / f"{name}.sh").read_text().splitlines()[:5]
    assert [line.partition("=")[0] for line in head if "=" in line and line[0] != "#"][:2] == ["num", "arch_file"]
