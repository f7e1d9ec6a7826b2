"""A folder is one run's, until its last process has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from configs.errors import ConfigError, StorageError
from runtime import locks
from runtime.locks import locked


def test_a_second_run_is_refused_at_once_and_a_later_one_goes_on(tmp_path: Path) -> None:
    with locked(tmp_path / "out"), pytest.raises(ConfigError, match="another run works in"):
        locked(tmp_path / "out").__enter__()
    with locked(tmp_path / "out"):
        pass


def test_workers_that_are_left_alone_are_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with locked(tmp_path) as lock:
        sleeper = "import sys; sys.stdin.read()"
        worker = subprocess.Popen([sys.executable, "-S", "-c", sleeper], stdin=subprocess.PIPE, pass_fds=[lock])
    monkeypatch.setattr(locks, "PATIENCE", 0.2)
    with pytest.raises(ConfigError, match="workers of a run that was killed"):
        locked(tmp_path).__enter__()
    monkeypatch.setattr(locks, "PATIENCE", 10.0)
    monkeypatch.setattr(locks.time, "sleep", lambda seconds: worker.communicate())  # they end while it waits
    with locked(tmp_path):
        assert worker.returncode == 0


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="file/out cannot be written"):
        locked(tmp_path / "file" / "out").__enter__()
