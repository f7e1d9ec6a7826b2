"""Unpacking an archive of image folders, trusting nothing in it."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO

import rich.progress

from configs.errors import DataError
from data.folders import is_image_name
from data.preparation.staging import staged_folder
from runtime.console import console

SPLITS = ("train", "test")

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, lzma.LZMAError, zlib.error, EOFError, OSError)


def unpack_image_folders(archive: Path, out: Path) -> None:
    """Unpack `train/<class>/*` and `test/<class>/*` of a tar (any compression) or zip into `out`, all or nothing.

    Folders around the two splits are dropped, files that are no images are left out.

    Raises:
        DataError: no such archive, damaged, an entry that is a link or leaves the folder, or no such images in it.
    """
    with staged_folder(out) as staging:
        try:
            for name, content in _entries(archive):
                if target := _target(name, archive):
                    _write(content, staging / target)
        except _DAMAGED as error:
            raise DataError(f"{archive} cannot be unpacked into {out.parent}: {error}") from error
        counts = count_images(staging)
        if missing := [split for split in SPLITS if not counts[split]]:
            raise DataError(f"{archive} has no images {' and no images '.join(f'{m}/<class>/*' for m in missing)}")


def count_images(folder: Path) -> dict[str, Counter[str]]:
    """Images of each class, for each split: {"train": {"cat": 5000, …}, "test": {…}}."""
    return {split: Counter(path.parent.name for path in (folder / split).glob("*/*")) for split in SPLITS}


def _entries(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file, with a progress bar over the archive's bytes."""
    if not archive.is_file():
        raise DataError(f"{archive} does not exist")
    with rich.progress.open(
        archive, "rb", description=f"unpacking {archive.name}", console=console, disable=not console.is_terminal
    ) as file:
        yield from (_zip_entries if zipfile.is_zipfile(archive) else _tar_entries)(archive, file)


def _tar_entries(archive: Path, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(fileobj=file, mode="r|*") as tar:
        for member in tar:
            if member.isfile() and (content := tar.extractfile(member)):
                yield member.name, content
            elif not member.isdir():
                raise DataError(f"{archive}: {member.name!r} is a link or device; such an archive is not unpacked")


def _zip_entries(archive: Path, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(file) as zipped:
        for info in zipped.infolist():
            if not info.is_dir():
                with zipped.open(info) as content:
                    yield info.filename, content


def _target(name: str, archive: Path) -> Path | None:
    """Where an entry belongs below the output folder; None: nowhere."""
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or ":" in name:
        raise DataError(f"{archive}: the entry {name!r} leaves the folder; such an archive is not unpacked")
    inner = path.parts[-3:]
    return Path(*inner) if len(inner) == 3 and inner[0] in SPLITS and is_image_name(inner[2]) else None


def _write(content: IO[bytes], path: Path) -> None:
    if path.exists():
        raise DataError(f"the archive holds {'/'.join(path.parts[-3:])} twice; unpack one copy by hand")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        shutil.copyfileobj(content, file)
