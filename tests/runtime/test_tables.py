"""Tables: written at once, mapped, and read by the library whose format they have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from configs.errors import DataError, StorageError
from runtime.tables import cache_folder, open_table, write_table

ARRAYS = {
    "bytes": np.arange(5, dtype=np.uint8),
    "values": np.arange(12, dtype=np.float64).reshape(3, 4)[:, ::2],
    "empty": np.empty((0, 3), np.int32),
    "codes": np.array([7 << 29], np.uint32),
}


def assert_equal(found: dict[str, np.ndarray]) -> None:
    assert found.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_the_library_reads_what_was_written_and_the_other_way_round(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    write_table(path, ARRAYS, {"kind": "mine"})
    assert_equal(load_file(path))
    table = open_table(path)
    assert_equal(table.tensors)
    assert table.metadata == {"kind": "mine"}
    assert all(not tensor.flags.writeable and tensor.flags.aligned for tensor in table.tensors.values())
    save_file({name: np.ascontiguousarray(array) for name, array in ARRAYS.items()}, path)
    assert_equal(open_table(path).tensors)


def test_broken_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    write_table(path, ARRAYS, {})
    content = path.read_bytes()
    for broken in (content[:-1], content[:20], b"", b"\xff" * 100):
        path.write_bytes(broken)
        with pytest.raises(DataError, match="cannot be read as a safetensors table"):
            open_table(path)
    save_file({"half": np.zeros(3, np.float16)}, path)
    with pytest.raises(DataError, match="holds values of type F16"):
        open_table(path)
    with pytest.raises(DataError, match="cannot be read"):
        open_table(tmp_path / "nowhere")


def test_a_table_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "table.safetensors"
    write_table(path, ARRAYS, {})
    with pytest.raises(KeyError):
        write_table(path, {"half": np.zeros(3, np.float16)}, {})
    assert_equal(open_table(path).tensors)
    with pytest.raises(StorageError):
        write_table(tmp_path / "nowhere" / "table", ARRAYS, {})


def test_the_cache_folder_is_where_the_user_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEPATH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "onepath"
    assert cache_folder().is_dir()
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    (tmp_path / "file").touch()
    monkeypatch.setenv("ONEPATH_CACHE", str(tmp_path / "file" / "below"))
    with pytest.raises(StorageError):
        cache_folder()
