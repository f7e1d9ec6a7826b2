import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from configs.errors import CheckpointError, DeviceError
from configs.schema import Runtime as RuntimeConfig
from runtime.checkpoint import save_file, step_name
from runtime.world import World, start_world

ROOT = Path(__file__).parents[2]
LAUNCHERS = {"launch": "torch.distributed.launch", "torchrun": "torch.distributed.run"}
VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def find_free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def launch(launcher: str, scenario: str, folder: Path) -> subprocess.CompletedProcess[str]:
    recipe = folder / "recipe.yaml"
    recipe.write_text("RUNTIME: {DEVICE: cpu, THREADS: 1, TIMEOUT_MINUTES: 0.5}\n")
    command = [sys.executable, "-m", LAUNCHERS[launcher], "--nproc_per_node=2", f"--master_port={find_free_port()}"]
    script = ["tests/runtime/two_processes.py", scenario, "--cfg", str(recipe), f"SAVE_PATH={folder / 'run'}"]
    environment = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *script], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def test_two_processes_speak(tmp_path: Path) -> None:
    result = launch("launch", "collectives", tmp_path)
    assert result.returncode == 0, result.stderr
    seen = [json.loads((tmp_path / "run" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    for rank in (0, 1):
        assert seen[rank] == {
            "sum": [2.0, 1.0],
            "mean": [1.0, 0.5],
            "gather": [{"rank": 0}, {"rank": 1}],
            "broadcast": ["from 0", "from 1"],
            "agree": 0,
            "world": [rank, rank, 2, 2],
            "threads": 1,
            "loaded": 1,
        }
    assert result.stderr.count("told once") == 1
    assert result.stderr.count("told by each") == 2
    assert "[rank 1] warning:" in result.stderr
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 1


def test_a_run_that_all_processes_refuse_is_refused_once(tmp_path: Path) -> None:
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    save_file({"step": 1}, tmp_path / "run" / "checkpoints" / step_name(1))
    result = launch("torchrun", "collectives", tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("already holds the checkpoints of a run") == 1
    assert 'two_processes.py", line' not in result.stderr


@pytest.mark.slow
def test_an_error_of_one_process_is_told_without_tracebacks(tmp_path: Path) -> None:
    result = launch("torchrun", "fail_on_rank_1", tmp_path)
    assert result.returncode == 1
    assert result.stderr.count("[rank 1] error: picture 7 is broken") == 1
    assert 'two_processes.py", line' not in result.stderr


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    return monkeypatch


def test_without_a_launcher_there_is_one_process_and_no_group(alone: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    world = start_world(RuntimeConfig(DEVICE="cpu", THREADS=1))
    assert not torch.distributed.is_initialized()
    assert torch.get_num_threads() == 1
    torch.set_num_threads(threads)
    tensor = torch.tensor([3.0])
    assert world.sum(tensor) is tensor
    assert world.mean(tensor) is tensor
    assert tensor.item() == 3
    assert world.gather("x") == ["x"]
    assert world.broadcast("y") == "y"
    world.barrier()


@pytest.mark.parametrize(
    ("variables", "part"),
    [({"WORLD_SIZE": "2"}, "RANK is not set"), ({"WORLD_SIZE": "2", "RANK": "a"}, "RANK is 'a'")],
)
def test_half_a_launcher_is_refused(alone: pytest.MonkeyPatch, variables: dict[str, str], part: str) -> None:
    for name, value in variables.items():
        alone.setenv(name, value)
    with pytest.raises(DeviceError, match=part):
        start_world(RuntimeConfig(DEVICE="cpu"))


def test_processes_that_do_not_meet_are_told_in_one_message(alone: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "LOCAL_RANK": "0"}.items():
        alone.setenv(name, value)
    with pytest.raises(DeviceError, match=r"did not meet \(gloo\).*MASTER_ADDR"):
        start_world(RuntimeConfig(DEVICE="cpu", THREADS=torch.get_num_threads()))


def test_what_the_main_process_refuses_is_raised() -> None:
    def refuse() -> None:
        raise CheckpointError("no")

    with pytest.raises(CheckpointError, match="no"):
        World().agree(refuse)
