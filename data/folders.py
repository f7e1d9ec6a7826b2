"""Class folders on disk: FOLDER/<class>/<image>."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import numpy as np

from configs.errors import DataError

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def is_image_name(name: str) -> bool:
    """Whether a file name is an image's; hidden files are none."""
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


def list_classes(folder: Path) -> tuple[str, ...]:
    """Sorted names of the class folders; no image is listed.

    Raises:
        DataError: there are none, or the folder cannot be listed.
    """
    try:
        classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    except OSError as error:
        _refuse_unlisted(error)
    if not classes:
        raise DataError(f"{folder} has no class folders; images belong in {folder}/<class>/")
    return classes


def list_images(folder: Path, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    """The images below each class folder, in sorted order.

    Returns:
        Image paths relative to `folder`; labels (N,) int64, indices of the class names.

    Raises:
        DataError: a class has no images, or a folder cannot be listed.
    """
    names: list[str] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        found = _images_below(folder / name)
        names += (os.path.join(name, image) for image in found)
        labels += [label] * len(found)
    _refuse_empty(folder, classes, labels)
    return names, np.array(labels, dtype=np.int64)


def _images_below(folder: Path) -> list[str]:
    found = []
    for parent, subfolders, files in os.walk(folder, onerror=_refuse_unlisted, followlinks=True):
        subfolders[:] = [name for name in subfolders if name[0] != "."]
        below = os.path.relpath(parent, folder)
        found += [os.path.normpath(os.path.join(below, name)) for name in files if is_image_name(name)]
    return sorted(found)


def _refuse_unlisted(error: OSError) -> NoReturn:
    raise DataError(f"{error.filename} cannot be listed ({error.strerror}); make it readable, or remove it") from error


def _refuse_empty(folder: Path, classes: tuple[str, ...], labels: list[int]) -> None:
    filled = set(labels)
    if not filled:
        raise DataError(f"{folder} has no images in its {len(classes)} class folders ({', '.join(EXTENSIONS)})")
    if empty := [name for label, name in enumerate(classes) if label not in filled]:
        raise DataError(f"{folder}: no images in {', '.join(empty[:5])}{' …' * (len(empty) > 5)}; remove or fill them")
