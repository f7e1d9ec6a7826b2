"""The data sets of DATA.NAME, opened from disk; nothing is ever downloaded here."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import DataError
from configs.schema import Data
from data import cifar_tfrecords
from data.examples import Examples, ImageArray, ImageFiles
from data.fashion_mnist import CLASSES, read_fashion_mnist
from data.folders import list_classes, list_images
from data.shards import INDEX, open_shards, read_classes
from runtime.compatibility import import_torchvision

Statistics = tuple[tuple[float, ...], tuple[float, ...]]

IMAGENET: Statistics = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CIFAR_10: Statistics = ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))
CIFAR_100: Statistics = ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762))
FASHION_MNIST: Statistics = ((0.2860,), (0.3530,))
DIGITS: Statistics = ((0.3053,), (0.3760,))


_NAMED_SHAPES = {"cifar10": (10, 3), "cifar100": (100, 3), "fashion_mnist": (10, 1), "digits": (10, 1)}


@dataclass(frozen=True)
class Dataset:
    """A data set: its classes, the training and test examples, and its own channel means and deviations in [0, 1].

    `held_out` (N,): which training examples are the search split of a data set that says so itself; `test_halves`: the
    same of two halves of the test examples.
    """

    classes: tuple[str, ...]
    train: Examples
    test: Examples
    statistics: Statistics
    held_out: np.ndarray | None = None
    test_halves: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def channels(self) -> int:
        """1 for grey images, else 3."""
        return len(self.statistics[0])


def open_dataset(config: Data) -> Dataset:
    """Open DATA.NAME at DATA.PATH.

    Raises:
        DataError: missing, in another layout, damaged, or with splits that disagree on the classes.
    """
    return _OPENERS[config.name](_existing(config))


def count_classes(config: Data) -> tuple[int, int]:
    """Classes and channels of the data set that `open_dataset` would open; no image is listed, which may take minutes.

    Raises:
        DataError: missing, in another layout, or with splits that disagree on the classes.
    """
    path = _existing(config)
    if config.name == "image_folder" and (path / INDEX).is_file():
        return len(read_classes(path)), 3
    if config.name == "image_folder" or (config.name.startswith("cifar") and _has_folders(path)):
        return len(_agreed_classes(path, _test_folder(config.name, path))), 3
    return _NAMED_SHAPES[config.name]


def _existing(config: Data) -> Path:
    path = Path(config.path)
    if config.name != "digits" and not os.path.isdir(path):
        trouble = "is a file" if os.path.isfile(path) else "does not exist"
        raise DataError(f"DATA.PATH {path} {trouble}; set it to the folder of {config.name}")
    return path


def _open_image_folder(path: Path) -> Dataset:
    if (path / INDEX).is_file():
        classes, splits = open_shards(path)
        return Dataset(classes, splits["train"], splits["test"], IMAGENET)
    return _open_folders(path, _test_folder("image_folder", path), IMAGENET)


def _test_folder(name: str, path: Path) -> str:
    return "val" if name == "image_folder" and not (path / "test").is_dir() else "test"


def _has_folders(path: Path) -> bool:
    return (path / "train").is_dir()


def _open_folders(path: Path, test: str, statistics: Statistics) -> Dataset:
    classes = _agreed_classes(path, test)
    train, tested = (
        ImageFiles.from_names(path / split, *list_images(path / split, classes)) for split in ("train", test)
    )
    return Dataset(classes, train, tested, statistics)


def _agreed_classes(path: Path, test: str) -> tuple[str, ...]:
    for split in ("train", test):
        if not (path / split).is_dir():
            alternatives = "val nor test" if split == "val" else split
            raise DataError(
                f"{path} has no folder {alternatives}; expected {path}/train/<class>/ and {path}/{test}/<class>/"
            )
    classes = list_classes(path / "train")
    _refuse_other_classes(path, test, set(classes), set(list_classes(path / test)))
    return classes


def _refuse_other_classes(path: Path, test: str, train_classes: set[str], test_classes: set[str]) -> None:
    differences = {"train": train_classes - test_classes, test: test_classes - train_classes}
    if any(differences.values()):
        told = [f"only in {split}: {', '.join(sorted(names)[:10])}" for split, names in differences.items() if names]
        raise DataError(f"{path}: train and {test} have different classes ({'; '.join(told)}); make them alike")


def _open_cifar(path: Path, name: str, statistics: Statistics) -> Dataset:
    if _has_folders(path):
        return _open_folders(path, "test", statistics)
    if name == "CIFAR10" and (path / cifar_tfrecords.TRAIN[0]).is_file():
        return _open_cifar_tfrecords(path)
    import_torchvision()  # slow, and no other data set needs it
    from torchvision import datasets

    reader = getattr(datasets, name)
    if not (path / reader.base_folder).is_dir():
        others = "train/<class>/ folders" + f" nor {cifar_tfrecords.TRAIN[0]}" * (name == "CIFAR10")
        raise DataError(f"{path} has neither {reader.base_folder}/ (torchvision's layout) nor {others}")
    try:
        train, test = reader(str(path), train=True), reader(str(path), train=False)
    except RuntimeError as error:  # a checksum differs; nothing was unpickled then
        raise DataError(
            f"{path / reader.base_folder} is incomplete or damaged; unpack {reader.filename} again"
        ) from error
    return Dataset(tuple(train.classes), _cifar_array(train), _cifar_array(test), statistics)


def _open_cifar_tfrecords(path: Path) -> Dataset:
    """NAS-Bench-101's files: the validation set is the search split."""
    parts = [
        ImageArray(*cifar_tfrecords.read_cifar_tfrecords([path / name for name in names]))
        for names in (cifar_tfrecords.TRAIN, (cifar_tfrecords.VALIDATION,), (cifar_tfrecords.TEST,))
    ]
    train, validation, test = parts
    both = ImageArray(*(np.concatenate(pair) for pair in zip(*((p.pixels, p.labels) for p in (train, validation)))))
    held_out = np.arange(len(train.labels), len(both.labels))
    return Dataset(cifar_tfrecords.CLASSES, both, test, CIFAR_10, held_out)


def _cifar_array(split: Any) -> ImageArray:
    return ImageArray(np.ascontiguousarray(split.data), np.array(split.targets, dtype=np.int64))


def _open_fashion_mnist(path: Path) -> Dataset:
    train, test = (_grey_array(*read_fashion_mnist(path, split)) for split in ("train", "test"))
    return Dataset(CLASSES, train, test, FASHION_MNIST)


def _open_digits(path: Path) -> Dataset:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("the digits data set comes with scikit-learn: `pip install scikit-learn`") from error
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    tested = np.arange(len(pixels)) % 5 == 4
    train, test = (_grey_array(pixels[part], digits.target[part].astype(np.int64)) for part in (~tested, tested))
    return Dataset(tuple(map(str, digits.target_names)), train, test, DIGITS)


def _grey_array(pixels: np.ndarray, labels: np.ndarray) -> ImageArray:
    return ImageArray(pixels[..., None], labels)


_OPENERS: dict[str, Callable[[Path], Dataset]] = {
    "image_folder": _open_image_folder,
    "cifar10": lambda path: _open_cifar(path, "CIFAR10", CIFAR_10),
    "cifar100": lambda path: _open_cifar(path, "CIFAR100", CIFAR_100),
    "fashion_mnist": _open_fashion_mnist,
    "digits": _open_digits,
}
