"""Sorting ImageNet's flat validation images into class folders by the devkit's ground truth."""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from configs.errors import DataError
from runtime.progress import track

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
SYNSETS = "meta.mat"
SYNSETS_TEXT = "map_clsloc.txt"


def sort_validation_images(folder: Path, devkit: Path, out: Path | None, synsets: Path | None) -> dict[str, int]:
    """Place ILSVRC2012_val_00000001.JPEG … in one folder for each class (wnid).

    Can be started again after an interruption: what is in place stays.

    Args:
        folder: holds the flat images.
        devkit: ILSVRC2012_devkit_t12, as folder or tar archive.
        out: images are hard-linked (copied on another file system) to `out/<wnid>/`; None: moved to `folder/<wnid>/`.
        synsets: text with the class number and wnid in each line, used instead of the devkit's meta.mat.

    Returns:
        The number of images of each class.

    Raises:
        DataError: devkit files are missing or disagree, or images are missing (named; nothing is moved then).
    """
    with _opened_devkit(devkit) as data:
        wnids = _image_wnids(data, synsets)
    destination = out or folder
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in range(1, len(wnids) + 1)]
    pending = {folder / name: destination / wnid / name for name, wnid in zip(names, wnids)}
    pending = {source: target for source, target in pending.items() if not target.exists()}
    _refuse_missing([source for source in pending if not source.is_file()], len(names))
    for source, target in track(pending.items(), len(pending), "sorting", "images"):
        target.parent.mkdir(parents=True, exist_ok=True)
        _link(source, target) if out else source.rename(target)
    return {wnid: wnids.count(wnid) for wnid in sorted(set(wnids))}


@contextmanager
def _opened_devkit(devkit: Path) -> Iterator[Path]:
    """The folder that holds the ground truth: `devkit`, `devkit/data` or the archive's, unpacked for the time."""
    if devkit.is_dir():
        yield next((folder for folder in (devkit, devkit / "data") if (folder / GROUND_TRUTH).is_file()), devkit)
        return
    if not devkit.is_file():
        raise DataError(f"the devkit {devkit} does not exist; pass ILSVRC2012_devkit_t12 as --devkit")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            with tarfile.open(devkit) as tar:
                for member in tar:
                    name = Path(member.name).name
                    if member.isfile() and name in (GROUND_TRUTH, SYNSETS, SYNSETS_TEXT):
                        Path(scratch, name).write_bytes(tar.extractfile(member).read())  # type: ignore[union-attr]
        except (tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"the devkit {devkit} cannot be unpacked ({error})") from error
        yield Path(scratch)


def _image_wnids(data: Path, synsets: Path | None) -> Sequence[str]:
    """The wnid of each validation image, in the images' order."""
    try:
        numbers = [int(line) for line in (data / GROUND_TRUTH).read_text().split()]
        wnids = _read_synsets(data, synsets)
        return [wnids[number] for number in numbers]
    except OSError as error:
        raise DataError(f"the devkit is not complete: {error}") from error
    except (KeyError, ValueError) as error:
        raise DataError(f"{GROUND_TRUTH} and the synsets do not belong together ({error})") from error


def _read_synsets(data: Path, synsets: Path | None) -> Mapping[int, str]:
    """ILSVRC2012_ID -> wnid."""
    text = synsets or data / SYNSETS_TEXT
    if text.is_file():
        return _parse_synsets(text)
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise DataError(
            f"{SYNSETS} needs scipy: `pip install scipy`, or pass --synsets FILE, lines such as 'n02119789 1 kit_fox'"
        ) from error
    records = loadmat(data / SYNSETS, squeeze_me=True)["synsets"]
    return {int(record["ILSVRC2012_ID"]): str(record["WNID"]) for record in records}


def _parse_synsets(path: Path) -> Mapping[int, str]:
    wnids = {}
    for line in path.read_text().splitlines():
        if match := re.match(r"(?:(?P<number>\d+)\s+)?(?P<wnid>n\d{8})\b\s*(?P<after>\d+)?", line):
            wnids[int(match["number"] or match["after"] or 0)] = match["wnid"]
    if not wnids or 0 in wnids:
        raise DataError(f"{path}: each line needs a class number and a wnid, such as 'n02119789 1 kit_fox'")
    return wnids


def _refuse_missing(missing: Sequence[Path], total: int) -> None:
    if missing:
        names = ", ".join(path.name for path in missing[:5]) + (" …" if len(missing) > 5 else "")
        raise DataError(f"{len(missing)} of {total} images are not in {missing[0].parent}: {names}; nothing was moved")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        partial = target.with_suffix(".partial")
        shutil.copyfile(source, partial)
        partial.rename(target)
