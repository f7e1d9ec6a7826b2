"""Fashion-MNIST's four idx files, wherever the usual tools put them. https://github.com/zalandoresearch/fashion-mnist"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.errors import DataError
from data.idx import read_idx

FILES = {"train": "train", "test": "t10k"}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_FOLDERS = ("", "FashionMNIST/raw", "usr/share/datasets/fashion-mnist")  # plain, torchvision's, Debian's package


def read_fashion_mnist(folder: Path, split: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, 28, 28) uint8 and labels (N,) int64 of the "train" or "test" files below `folder`.

    Raises:
        DataError: a file is missing or damaged, or images and labels do not belong together.
    """
    images_path = _find(folder, f"{FILES[split]}-images-idx3-ubyte")
    pixels = read_idx(images_path, dimensions=3)
    labels = read_idx(_find(folder, f"{FILES[split]}-labels-idx1-ubyte"), dimensions=1)
    if len(pixels) != len(labels) or pixels.shape[1:] != (28, 28) or not len(labels) or labels.max() >= len(CLASSES):
        raise DataError(
            f"{images_path} and its labels are not Fashion-MNIST: {len(pixels)} images of {pixels.shape[1:]}, "
            f"{len(labels)} labels; fetch the data set again"
        )
    return pixels, labels.astype(np.int64)


def _find(folder: Path, name: str) -> Path:
    candidates = [folder / below / (name + suffix) for below in _FOLDERS for suffix in ("", ".gz")]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(
        f"Fashion-MNIST is not in {folder}: no {name}[.gz]. Get it with "
        f"`python -m tools.prepare_data fashion-mnist --out {folder}`, or set DATA.PATH"
    )
