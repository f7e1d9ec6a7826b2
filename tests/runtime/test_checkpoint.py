import os
import pickle
import resource
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import nn

from configs.errors import CheckpointError, StorageError
from runtime.checkpoint import Checkpointer, list_checkpoints, load_file, save_file, step_name
from runtime.console import logger
from runtime.world import World


def make(folder: Path, keep: int = 2) -> Checkpointer:
    return Checkpointer(folder / "checkpoints", keep, World())


def names(checkpointer: Checkpointer) -> list[str]:
    return sorted(path.name for path in checkpointer.folder.iterdir())


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    checkpointer = make(tmp_path)
    assert list_checkpoints(checkpointer.folder) == []
    checkpointer.save_best({"step": 1})
    for step in (1, 9, 10, 100):
        checkpointer.save({"step": step}, step_name(step))
    assert names(checkpointer) == ["best.pth.tar", step_name(10), step_name(100)]
    assert list_checkpoints(checkpointer.folder)[0] == checkpointer.folder / step_name(100)
    assert checkpointer.load(tmp_path) == checkpointer.load(checkpointer.folder) == {"step": 100}
    assert checkpointer.load(checkpointer.folder / step_name(10)) == {"step": 10}


def test_a_run_that_went_back_drops_what_lay_beyond(tmp_path: Path) -> None:
    checkpointer = make(tmp_path)
    for step in (10, 20, 15):
        checkpointer.save({"step": step}, step_name(step))
    assert names(checkpointer) == [step_name(10), step_name(15)]


def test_only_the_main_process_writes(tmp_path: Path) -> None:
    checkpointer = Checkpointer(tmp_path / "checkpoints", 2, World(rank=1, size=2))
    checkpointer.save({"step": 1}, step_name(1))
    checkpointer.save_best({"step": 1})
    assert not checkpointer.folder.exists()


def test_states_come_back_as_compact_cpu_copies(tmp_path: Path) -> None:
    model = nn.BatchNorm1d(3)
    large = torch.arange(100_000.0)
    state = {
        "model": model.state_dict(),
        "view": large[:10],
        "list": [1, (2.5, None), True, "x"],
        "numbers": OrderedDict(a=np.float64(0.5), b=np.int64(3)),
        7: nn.Parameter(torch.ones(2)),
    }
    save_file(state, tmp_path / "a.pth.tar")
    loaded = load_file(tmp_path / "a.pth.tar")
    model.load_state_dict(loaded["model"])
    assert torch.equal(loaded["view"], large[:10])
    assert (tmp_path / "a.pth.tar").stat().st_size < 20_000
    assert loaded["list"] == [1, (2.5, None), True, "x"]
    assert loaded["numbers"] == {"a": 0.5, "b": 3}
    assert type(loaded[7]) is torch.Tensor


def test_a_value_that_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"state\['board'\]\[0\] is a Path|PosixPath"):
        save_file({"board": [tmp_path]}, tmp_path / "a.pth.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_crash_between_write_and_rename_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch) -> None:
    checkpointer = make(tmp_path)
    checkpointer.save({"step": 1}, step_name(1))
    if (child := os.fork()) == 0:  # a real death: no exception handler cleans up
        monkeypatch.setattr(os, "replace", lambda *_: os._exit(9))
        checkpointer.save({"step": 2}, step_name(2))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert len(names(checkpointer)) == 2
    assert any(name.endswith(".tmp") for name in names(checkpointer))
    assert checkpointer.load(tmp_path) == {"step": 1}
    checkpointer.save({"step": 2}, step_name(2))
    assert names(checkpointer) == [step_name(1), step_name(2)]


def test_a_full_disk_is_told_and_leaves_the_previous_checkpoint(mount: Callable[[str], Path]) -> None:
    checkpointer = make(mount("size=1m"))
    checkpointer.save({"weights": torch.ones(1000)}, step_name(1))
    message = (
        rf"{step_name(2)} cannot be written \(No space left on device\): it needs 4.0 MB, [\d.]+ MB are free; "
        r"make room for 3.\d MB at least, or write to another disk"
    )
    with pytest.raises(StorageError, match=message):
        checkpointer.save({"weights": [torch.ones(1000) for _ in range(1000)]}, step_name(2))
    assert names(checkpointer) == [step_name(1)]
    assert torch.equal(checkpointer.load(checkpointer.folder)["weights"], torch.ones(1000))


def test_a_limit_on_file_sizes_is_told(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"a.pth.tar cannot be written \(File too large\): raise the limit"):
            save_file({"weights": torch.ones(1 << 16)}, tmp_path / "a.pth.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(tmp_path.iterdir()) == []


STATE = {"epoch": 3, "seconds": 0.5, "state_dict": {"conv": torch.arange(500.0), "norm": torch.ones(3)}}


def equal(first: object, second: object) -> bool:
    if isinstance(first, dict) and isinstance(second, dict):
        return list(first) == list(second) and all(equal(first[key], second[key]) for key in first)
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return first.dtype == second.dtype and torch.equal(first, second)
    return type(first) is type(second) and first == second


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """The file of STATE, and what it holds."""
    path = tmp_path_factory.mktemp("damage") / "a.pth.tar"
    save_file(STATE, path)
    return path, path.read_bytes()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(place=0.5, bit=0)  # in the middle of a tensor
@settings(max_examples=300, deadline=None)
def test_a_flipped_bit_is_seen_or_does_not_matter(whole: tuple[Path, bytes], place: float, bit: int) -> None:
    path, content = whole
    damaged = bytearray(content)
    damaged[int(place * len(content))] ^= 1 << bit
    path.write_bytes(damaged)
    with suppress(CheckpointError):
        assert equal(load_file(path), STATE)


@given(length=st.floats(0, 1, exclude_max=True))
@settings(max_examples=100, deadline=None)
def test_a_truncated_file_is_seen(whole: tuple[Path, bytes], length: float) -> None:
    path, content = whole
    path.write_bytes(content[: int(length * len(content))])
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_file(path)


def test_the_bit_that_torch_does_not_see_makes_the_run_go_back(tmp_path: Path, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    checkpointer = make(tmp_path)
    for step in (1, 2):
        checkpointer.save({"step": step, "weights": torch.full((100,), 7.0)}, step_name(step))
    for name, previous in ((step_name(2), step_name(1)), (step_name(1), None)):
        path = checkpointer.folder / name
        path.write_bytes(path.read_bytes().replace(torch.full((1,), 7.0).numpy().tobytes(), b"\0\0\0\0", 1))
        assert torch.load(path)["weights"].unique().numel() == 2
        if previous:
            assert checkpointer.load(tmp_path)["step"] == 1
            assert f"{name} cannot be loaded: it is damaged" in caplog.text
            assert f"going back to {previous}" in caplog.text
    with pytest.raises(CheckpointError, match=r"no checkpoint of .* can be loaded; start anew with another SAVE_PATH"):
        checkpointer.load(tmp_path)


def test_files_without_checksums_load(tmp_path: Path) -> None:
    """Those of torch before 1.6, and archives written with `set_crc32_options(False)`, whose checksums are zero."""
    path = tmp_path / "published.pth.tar"
    torch.save(STATE, path, _use_new_zipfile_serialization=False)
    assert equal(load_file(path), STATE)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, path)
    finally:
        torch.serialization.set_crc32_options(True)
    assert equal(load_file(path), STATE)


def test_the_file_and_its_folders_are_synced(tmp_path: Path, monkeypatch) -> None:
    """What a power failure must not undo: the content before the rename, the rename, and new folders."""
    events: list[object] = []
    replace, fsync = os.replace, os.fsync
    monkeypatch.setattr(os, "replace", lambda *paths: (events.append("replace"), replace(*paths)))
    monkeypatch.setattr(
        os, "fsync", lambda file: (events.append(Path(os.readlink(f"/proc/self/fd/{file}"))), fsync(file))
    )
    make(tmp_path / "run").save({"step": 1}, step_name(1))
    folder = tmp_path / "run" / "checkpoints"
    temporary = folder / f".{step_name(1)}.{os.getpid()}.tmp"
    assert set(events[:2]) == {tmp_path, tmp_path / "run"}
    assert events[2:] == [temporary, "replace", folder]


@pytest.mark.parametrize("size", [0, 10, 700])
def test_a_truncated_newest_checkpoint_falls_back_with_a_warning(
    tmp_path: Path, caplog, monkeypatch, size: int
) -> None:
    monkeypatch.setattr(logger, "propagate", True)
    checkpointer = make(tmp_path)
    for step in (1, 2):
        checkpointer.save({"step": step, "weights": torch.ones(50)}, step_name(step))
    newest = checkpointer.folder / step_name(2)
    newest.write_bytes(newest.read_bytes()[:size])
    assert checkpointer.load(tmp_path)["step"] == 1
    assert f"{step_name(2)} cannot be loaded" in caplog.text
    assert f"going back to {step_name(1)}" in caplog.text
    with pytest.raises(CheckpointError, match=r"damaged(, truncated or not a checkpoint| or truncated)"):
        checkpointer.load(newest)
    (checkpointer.folder / step_name(1)).write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match=rf"{step_name(2)}(.|\n)*{step_name(1)}"):
        checkpointer.load(tmp_path)


def test_what_is_not_there_or_not_a_checkpoint_is_refused(tmp_path: Path) -> None:
    checkpointer = make(tmp_path)
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpointer.load(tmp_path)
    with pytest.raises(CheckpointError, match="there is no checkpoint file"):
        checkpointer.load(tmp_path / "x.pth.tar")
    torch.save([1], tmp_path / "list.pth.tar")
    with pytest.raises(CheckpointError, match="holds a list"):
        load_file(tmp_path / "list.pth.tar")


class Hostile:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("legacy", [False, True])
def test_a_hostile_pickle_is_refused_and_not_run(tmp_path: Path, legacy: bool) -> None:
    bomb = {"state_dict": Hostile(tmp_path / "executed")}
    path = tmp_path / "hostile.pth.tar"
    torch.save(bomb, path)
    if legacy:
        path.write_bytes(pickle.dumps(bomb, protocol=2))
    with pytest.raises(CheckpointError, match="could run code"):
        load_file(path)
    assert not (tmp_path / "executed").exists()
