"""A folder that one run works in at a time."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from configs.errors import ConfigError
from runtime.console import logger
from runtime.files import explained, make_folder

RUN, WORKERS = ".run.lock", ".workers.lock"
PATIENCE = 90.0  # seconds for the workers of a run that was killed to save and end
POLL = 0.1


@contextmanager
def locked(folder: Path) -> Iterator[int]:
    """Hold a folder, made if missing; yields a descriptor for worker processes to inherit, which then hold it as well.

    The kernel lets go of both locks when the processes that hold them end, however they end. Where a run was killed
    and only its workers are left, they are waited for.

    Raises:
        ConfigError: another run holds the folder; StorageError: it cannot be written.
    """
    with explained(folder):
        make_folder(folder)
        run, workers = ((folder / name).open("w") for name in (RUN, WORKERS))
    with run, workers:
        if not _try(run):
            raise ConfigError(f"another run works in {folder}: wait until it has ended, or choose another folder")
        _await(workers, folder)
        yield workers.fileno()


def _await(workers: IO[str], folder: Path) -> None:
    deadline, told = time.monotonic() + PATIENCE, False
    while not _try(workers):
        if time.monotonic() > deadline:
            raise ConfigError(f"workers of a run that was killed are still at work in {folder}: end them first")
        if not told:
            logger.info("waiting for the workers of a run that was killed: they save and end")
            told = True
        time.sleep(POLL)


def _try(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
