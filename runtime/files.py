"""Files that are either old or new, never half written, whatever happens to the process, the disk or the machine."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from configs.errors import StorageError

_REMEDIES = {
    errno.EDQUOT: "remove files, or write where no quota binds",
    errno.EFBIG: "raise the limit on the size of a file (ulimit -f)",
}


@contextmanager
def open_atomic(path: Path, size: int = 0) -> Iterator[BinaryIO]:
    """A binary file that replaces `path` when the block ends: temporary file, fsync, rename, fsync of the folder.

    An exception in the block leaves `path` as it was; a crash may leave a `.NAME.PID.tmp` beside it
    (`remove_leftovers`).

    Args:
        size: bytes that will be written, as far as they are known; said where the disk is full.

    Raises:
        StorageError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with explained(path, size):
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
    """Replace a file's content by UTF-8 text; raises as `open_atomic`."""
    content = text.encode()
    with open_atomic(path, len(content)) as file:
        file.write(content)


def write_json_atomic(path: Path, value: Any) -> None:
    """Replace a file's content by indented JSON; raises as `open_atomic`."""
    write_text_atomic(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def append(path: Path, content: bytes) -> None:
    """Add to the end of a file; a crash may leave the beginning of `content`.

    Raises:
        StorageError: the file cannot be written.
    """
    with explained(path, len(content)), path.open("ab", buffering=0) as file:
        if file.write(content) < len(content):  # the disk took a part: only the next call says why
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def make_folder(folder: Path) -> None:
    """A folder and those above it, made to last through a power failure."""
    missing = [place for place in (folder, *folder.parents) if not place.is_dir()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        _sync_folder(place.parent)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of processes that were killed while they wrote."""
    for path in folder.glob(".*.[0-9]*.tmp"):
        path.unlink(missing_ok=True)


@contextmanager
def explained(path: Path, size: int = 0) -> Iterator[None]:
    """Tell which file cannot be written, why, and how to mend it.

    Raises:
        StorageError: in place of the block's OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise StorageError(f"{path} cannot be written ({reason}): {_remedy(error, path, size)}") from error


def _remedy(error: OSError, path: Path, size: int) -> str:
    if error.errno != errno.ENOSPC:
        return _REMEDIES.get(error.errno or 0, "write to another folder")
    free = shutil.disk_usage(path.parent).free
    missing = max(size - free, 0) / 1e6 + 0.1
    sizes = f"it needs {size / 1e6:.1f} MB, {free / 1e6:.1f} MB are free"
    return f"{sizes}; make room for {missing:.1f} MB at least, or write to another disk"


def _sync_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure (a folder is synced through its own descriptor)."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
