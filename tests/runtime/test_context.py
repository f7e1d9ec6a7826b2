import json
from collections.abc import Callable
from pathlib import Path

import pytest

from configs.errors import CheckpointError, ConfigError
from configs.loading import load_config
from configs.schema import Config
from runtime.checkpoint import save_file, step_name
from runtime.context import resume_source, start
from runtime.environment import describe_command


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(variable, raising=False)


def make_config(folder: Path, **keys: object) -> Config:
    return Config(SAVE_PATH=str(folder), RUNTIME={"DEVICE": "cpu", "THREADS": 1}, **keys)


def make_run(folder: Path, *steps: int) -> Path:
    (folder / "checkpoints").mkdir(parents=True)
    for step in steps:
        save_file({"step": step}, folder / "checkpoints" / step_name(step))
    return folder


def test_a_run_folder_tells_how_it_was_made(tmp_path: Path) -> None:
    config = make_config(tmp_path / "a" / "run", SEED=5)
    with start(config, "train") as runtime:
        runtime.describe(config)
        runtime.log("hello")
        runtime.tracker.log(1, {"loss": 1.0})
        runtime.checkpointer.save({"step": 1}, step_name(1))
        assert runtime.resume is None
    assert load_config(runtime.folder / "config.yaml") == config
    environment = json.loads((runtime.folder / "environment.json").read_text())
    assert environment["processes"] == 1
    assert environment["device"]
    assert {"python", "torch", "timm"} <= set(environment["versions"])
    assert environment["command"] == describe_command()
    with start(config.model_copy(update={"resume_path": "auto"}), "train") as resumed:
        assert resumed.resume is not None
        assert resumed.checkpointer.load(resumed.resume) == {"step": 1}
        assert (runtime.folder / "metrics.jsonl").read_text().count("\n") == 1


@pytest.mark.parametrize("job", ["train", "retrain", "test"])
def test_a_run_that_is_refused_before_it_is_described_leaves_no_trace(tmp_path: Path, job: str) -> None:
    with pytest.raises(ConfigError), start(make_config(tmp_path / "run"), job):
        raise ConfigError("refused")
    assert not list(tmp_path.iterdir())
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n')
    with pytest.raises(ConfigError), start(make_config(tmp_path), job):
        raise ConfigError("refused")
    assert [path.read_text() for path in tmp_path.iterdir()] == ['{"step": 1}\n']


def test_testing_leaves_a_run_as_it_is(tmp_path: Path) -> None:
    make_run(tmp_path, 1)
    with start(make_config(tmp_path), "test") as runtime:
        assert runtime.resume is None


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(ConfigError, match=r"SAVE_PATH=.* cannot be written \(Not a directory\)"),
        start(make_config(tmp_path / "file" / "run"), "train"),
    ):
        pass


def test_a_read_only_disk_is_a_clear_error(mount: Callable[[str], Path]) -> None:
    """Permission bits do not tell: root may write wherever they stand."""
    for folder in (mount("ro"), mount("ro") / "run"):
        with (
            pytest.raises(ConfigError, match=r"cannot be written \(Read-only file system\); choose another folder"),
            start(make_config(folder), "train"),
        ):
            pass


def test_what_a_killed_process_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".pick.json.4711.tmp").write_text("{")
    config = make_config(tmp_path)
    with start(config, "train") as runtime:
        runtime.describe(config)
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "environment.json"}


def test_a_new_run_never_mixes_with_another(tmp_path: Path) -> None:
    run, other = make_run(tmp_path / "run", 1), make_run(tmp_path / "other", 2)
    for resume_path in ("", str(other)):
        with pytest.raises(CheckpointError, match="RESUME_PATH=auto continues it"):
            resume_source(make_config(run, RESUME_PATH=resume_path))


def test_auto_continues_what_is_there_or_starts(tmp_path: Path) -> None:
    config = make_config(tmp_path / "run", RESUME_PATH="auto")
    assert resume_source(config) is None
    assert resume_source(make_config(tmp_path / "run")) is None
    make_run(tmp_path / "run", 1)
    assert resume_source(config) == tmp_path / "run" / "checkpoints"


def test_a_named_checkpoint_must_exist(tmp_path: Path) -> None:
    other = make_run(tmp_path / "other", 2)
    assert resume_source(make_config(tmp_path / "run", RESUME_PATH=str(other))) == other
    file = other / "checkpoints" / step_name(2)
    assert resume_source(make_config(other, RESUME_PATH=str(file))) == file
    for missing in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(CheckpointError, match=r"is not there|holds no checkpoint"):
            resume_source(make_config(tmp_path / "run", RESUME_PATH=str(missing)))


@pytest.mark.parametrize("resume_path", ["", "other"])
def test_a_restarted_process_group_continues_its_own_run(tmp_path: Path, monkeypatch, resume_path: str) -> None:
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    make_run(tmp_path / "other", 2)
    source = str(tmp_path / resume_path) if resume_path else ""
    config = make_config(tmp_path / "run", RESUME_PATH=source)
    assert resume_source(config) == (Path(source) if source else None)
    make_run(tmp_path / "run", 3)
    assert resume_source(config) == tmp_path / "run" / "checkpoints"
