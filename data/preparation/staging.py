"""Folders that appear only when they are complete."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from configs.errors import DataError


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside `out` that becomes `out` when the block ends, and vanishes when it fails.

    Raises:
        DataError: `out` exists and is not an empty folder.
    """
    refuse_occupied(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    try:
        yield staging
        staging.chmod(0o755)  # mkdtemp's is private
        staging.rename(out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def refuse_occupied(out: Path) -> None:
    """Raise DataError where `out` is a file or holds something."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(f"{out} exists but is not the finished data set; remove it or choose another --out")
