"""Files that are either old or new, never half written, whatever happens to the process or the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


@contextmanager
def open_atomic(path: Path) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` when the block ends: temporary file, fsync, rename, fsync of the folder.

    An exception in the block leaves `path` as it was; a crash may leave a `.NAME.PID.tmp` beside it.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_text_atomic(path: Path, text: str) -> None:
    """Replace a file's content by UTF-8 text."""
    with open_atomic(path) as file:
        file.write(text.encode())


def write_json_atomic(path: Path, value: Any) -> None:
    """Replace a file's content by indented JSON."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure (a folder is synced through its own descriptor)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
