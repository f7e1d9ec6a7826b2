"""CIFAR-10 as NAS-Bench-101's training reads it: TFRecords of `tf.train.Example`s, with a validation set of their own.

The files are those of the published `generate_cifar10_tfrecords.py`: `image` is 3 x 32 x 32 bytes, `label` an integer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from configs.errors import DataError
from runtime.files import open_atomic
from runtime.protobuf import BYTES, Field, read_fields, read_varint, write_bytes, write_varint
from runtime.tfrecords import read_tfrecords, write_tfrecords

TRAIN = tuple(f"train_{number}.tfrecords" for number in range(1, 5))
VALIDATION, TEST, SAMPLE = "validation.tfrecords", "test.tfrecords", "sample.tfrecords"
SAMPLED = 100  # images of the published sample
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIZE = 32


def read_cifar_tfrecords(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """The images of some files, behind each other: (N, 32, 32, 3) uint8, and their labels (N,) int64.

    Raises:
        DataError: a file is missing, cut off, corrupt or of another content; the message names the record.
    """
    images: list[bytes] = []
    labels: list[int] = []
    for path in paths:
        for batch in read_tfrecords(path):
            for place, payload in enumerate(batch.payloads):
                try:
                    image, label = _read_example(payload)
                except ValueError as error:
                    raise DataError(f"{path}: record {batch.first + place} is none of CIFAR-10: {error}") from None
                images.append(image)
                labels.append(label)
    planes = np.frombuffer(b"".join(images), np.uint8).reshape(-1, 3, SIZE, SIZE)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), np.array(labels, np.int64)


def write_cifar_tfrecords(path: Path, pixels: np.ndarray, labels: np.ndarray) -> None:
    """Write images (N, 32, 32, 3) uint8 with labels (N,).

    Raises:
        StorageError: the file cannot be written.
    """
    planes = pixels.transpose(0, 3, 1, 2)
    payloads = [_write_example(image.tobytes(), int(label)) for image, label in zip(planes, labels)]
    with open_atomic(path) as file:
        write_tfrecords(file, payloads)


def _read_example(message: bytes) -> tuple[bytes, int]:
    """Example { Features features = 1 { map<string, Feature> feature = 1 } }."""
    features: dict[bytes, Field] = {}
    for outer in _messages(message, 0, len(message)):
        for entry in _messages(message, outer.value, outer.end):
            key, value = read_fields(message, entry.value, entry.end)
            features[message[key.value : key.end]] = value
    if not {b"image", b"label"} <= features.keys():
        raise ValueError("it has no image or no label")
    image, number = (_innermost(message, features[name]) for name in (b"image", b"label"))
    label = read_varint(message, number.value, number.end)[0]
    pixels = message[image.value : image.end]
    if len(pixels) != 3 * SIZE**2 or label >= len(CLASSES):
        raise ValueError(f"its image has {len(pixels)} bytes, its label is {label}")
    return pixels, label


def _messages(message: bytes, place: int, end: int) -> Iterator[Field]:
    return (field for field in read_fields(message, place, end) if (field.number, field.kind) == (1, BYTES))


def _innermost(message: bytes, field: Field) -> Field:
    """The one value of Feature { BytesList bytes_list = 1 | Int64List int64_list = 3 }, each { repeated value = 1 }."""
    (values,) = read_fields(message, field.value, field.end)
    (value,) = read_fields(message, values.value, values.end)
    return value


def _write_example(image: bytes, label: int) -> bytes:
    numbers = write_bytes(1, write_varint(label))  # packed, as TensorFlow writes it
    features = {b"image": write_bytes(1, write_bytes(1, image)), b"label": write_bytes(3, numbers)}
    entries = (write_bytes(1, write_bytes(1, key) + write_bytes(2, value)) for key, value in features.items())
    return write_bytes(1, b"".join(entries))
