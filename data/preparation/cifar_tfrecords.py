"""CIFAR-10 into the TFRecords of NAS-Bench-101's training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from configs.errors import DataError
from configs.schema import Data
from data.cifar_tfrecords import SAMPLE, SAMPLED, SIZE, TEST, TRAIN, VALIDATION, write_cifar_tfrecords
from data.datasets import open_dataset
from data.examples import Examples, ImageArray
from data.preparation.staging import staged_folder
from data.splits import stratified_order
from runtime.progress import track
from runtime.seeds import make_generator


def write_tfrecords_of_cifar(folder: Path, out: Path) -> dict[str, int]:
    """Write the seven files, all or nothing; the number of images in each.

    The last fifth of the training images is the validation set, the rest are four files: with torchvision's layout
    data_batch_1 to 4, and data_batch_5, as published. Folders of images are shuffled first, classes in proportion.

    Raises:
        DataError: no CIFAR-10, an unreadable image or one of another size, or `out` holds something.
        StorageError: `out` cannot be written.
    """
    dataset = open_dataset(Data(NAME="cifar10", PATH=str(folder)))
    train, test = dataset.train, dataset.test
    order = np.arange(len(train.labels))
    if not isinstance(train, ImageArray):
        order = stratified_order(train.labels, make_generator(0, "cifar10-tfrecords"))
    held_out = len(order) // 5
    parts = dict(zip(TRAIN, np.array_split(order[: len(order) - held_out], len(TRAIN))))
    parts |= {VALIDATION: order[len(order) - held_out :], SAMPLE: order[:SAMPLED]}
    with staged_folder(out) as staging:
        for name, indices in parts.items():
            write_cifar_tfrecords(staging / name, _read(train, indices, name), train.labels[indices])
        everything = np.arange(len(test.labels))
        write_cifar_tfrecords(staging / TEST, _read(test, everything, TEST), test.labels)
    return {**{name: len(indices) for name, indices in parts.items()}, TEST: len(everything)}


def _read(examples: Examples, indices: np.ndarray, name: str) -> np.ndarray:
    """Images (N, 32, 32, 3)."""
    images = [_pixels(examples, int(index)) for index in track(indices, len(indices), f"reading {name}", "images")]
    return np.stack(images)


def _pixels(examples: Examples, index: int) -> np.ndarray:
    try:
        pixels = np.asarray(examples.read(index))
    except Exception as error:  # Pillow's decoders raise about any type for damaged files
        raise DataError(f"{examples.name(index)} cannot be read ({error}); repair or remove it") from error
    if pixels.shape != (SIZE, SIZE, 3):
        raise DataError(f"{examples.name(index)} is no image of {SIZE} x {SIZE} pixels in three colours")
    return pixels
