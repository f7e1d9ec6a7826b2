"""CIFAR-10 in TFRecords: what is written is read, as TensorFlow's files are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from image_samples import write_class_folders

from configs.errors import DataError
from configs.schema import Data
from data.cifar_tfrecords import CLASSES, SAMPLE, TEST, TRAIN, VALIDATION, read_cifar_tfrecords, write_cifar_tfrecords
from data.datasets import open_dataset
from data.loading import Images
from runtime.tfrecords import write_tfrecords
from tools.prepare_data import main

Open = Callable[..., Images]
# tf.train.Example with int64 label [7] packed and unpacked, and the map's entries in either order, as protobuf allows.
LABELS = {"packed": b"\x1a\x03\x0a\x01\x07", "unpacked": b"\x1a\x02\x08\x07"}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """55 training and 20 test images of the ten classes."""
    folder = tmp_path_factory.mktemp("cifar")
    write_class_folders(folder / "images/train", dict.fromkeys(CLASSES, 5) | {"cat": 10}, (32, 32))
    write_class_folders(folder / "images/test", dict.fromkeys(CLASSES, 2), (32, 32))
    main(["cifar10-tfrecords", str(folder / "images"), "--out", str(folder / "records")])
    return folder / "records"


def test_the_files_hold_the_images(records: Path) -> None:
    names = (*TRAIN, VALIDATION, TEST, SAMPLE)
    assert sorted(path.name for path in records.iterdir()) == sorted(names)
    read = {name: read_cifar_tfrecords([records / name]) for name in names}
    assert [len(labels) for _, labels in read.values()] == [11, 11, 11, 11, 11, 20, 55]
    source = open_dataset(Data(NAME="cifar10", PATH=str(records.parent / "images")))
    expected = sorted(
        (int(label), np.asarray(source.train.read(i)).tobytes()) for i, label in enumerate(source.train.labels)
    )
    trained = [read[name] for name in (*TRAIN, VALIDATION)]
    found = sorted((int(label), image.tobytes()) for images, labels in trained for image, label in zip(images, labels))
    assert found == expected
    assert set(read[VALIDATION][1]) == set(range(10)), "each class is in the validation set"
    images, labels = read[TEST]
    assert np.array_equal(labels, source.test.labels)
    assert np.array_equal(images[3], np.asarray(source.test.read(3)))


def _key(pair: tuple[np.ndarray, int]) -> tuple[int, bytes]:
    return int(pair[1]), pair[0].tobytes()


def test_the_validation_set_is_the_search_split(records: Path, open_images: Open) -> None:
    images = open_images(NAME="cifar10", PATH=str(records), SEARCH_FRACTION=0.3)
    assert images.sizes == {"train": 44, "search": 11, "test": 20}
    assert images.classes == CLASSES
    (batch,) = images.evaluation("search", 11)
    assert sorted(batch.labels.tolist()) == sorted(read_cifar_tfrecords([records / VALIDATION])[1].tolist())
    assert open_images(NAME="cifar10", PATH=str(records), SEARCH_FRACTION=0.0).sizes["train"] == 55


def test_published_bytes_are_kept(tmp_path: Path) -> None:
    pixels = np.arange(3072, dtype=np.uint8).reshape(1, 32, 32, 3)
    write_cifar_tfrecords(tmp_path / "file", pixels, np.array([7]))
    payload = (tmp_path / "file").read_bytes()[12:-4]
    red_first = pixels.transpose(0, 3, 1, 2).tobytes()
    image = b"\x0a\x83\x18\x0a\x80\x18" + red_first
    assert payload == _example([(b"image", image), (b"label", LABELS["packed"])])


def _varint(value: int) -> bytes:
    return bytes([value & 127 | 128, value >> 7]) if value > 127 else bytes([value])


def _example(features: list[tuple[bytes, bytes]]) -> bytes:
    entries = b""
    for key, value in features:
        entry = b"\x0a" + _varint(len(key)) + key + b"\x12" + _varint(len(value)) + value
        entries += b"\x0a" + _varint(len(entry)) + entry
    return b"\x0a" + _varint(len(entries)) + entries


def _frame(path: Path, payload: bytes) -> Path:
    with path.open("wb") as file:
        write_tfrecords(file, [payload])
    return path


@pytest.mark.parametrize("label", LABELS.values(), ids=LABELS)
@pytest.mark.parametrize("reverse", [False, True])
def test_what_tensorflow_may_write_is_read(tmp_path: Path, label: bytes, reverse: bool) -> None:
    image = b"\x0a\x83\x18\x0a\x80\x18" + bytes(range(256)) * 12
    features = [(b"image", image), (b"label", label)]
    path = _frame(tmp_path / "file", _example(features[::-1] if reverse else features))
    pixels, labels = read_cifar_tfrecords([path])
    assert labels.tolist() == [7]
    assert pixels.transpose(0, 3, 1, 2).tobytes() == bytes(range(256)) * 12


@pytest.mark.parametrize(
    ("payload", "trouble"),
    [
        (_example([(b"label", LABELS["packed"])]), "no image or no label"),
        (_example([(b"image", b"\x0a\x03\x0a\x01\x00"), (b"label", LABELS["packed"])]), "1 bytes"),
        (_example([(b"image", b"\x0a"), (b"label", LABELS["packed"])]), "cut off"),
        (b"\x0a\x05xyz", "cut off"),
        (_example([(b"image", b""), (b"label", b"")]), "record 0 is none of CIFAR-10"),
    ],
)
def test_another_content_is_refused(tmp_path: Path, payload: bytes, trouble: str) -> None:
    with pytest.raises(DataError, match=trouble):
        read_cifar_tfrecords([_frame(tmp_path / "file", payload)])


def test_missing_files_and_small_images_are_refused(records: Path, folder: Path, tmp_path: Path) -> None:
    for name in TRAIN:
        (tmp_path / name).write_bytes((records / name).read_bytes())
    with pytest.raises(DataError, match=r"validation\.tfrecords cannot be read"):
        open_dataset(Data(NAME="cifar10", PATH=str(tmp_path)))
    (folder / "val").rename(folder / "test")
    with pytest.raises(DataError, match="is no image of 32 x 32"):
        main(["cifar10-tfrecords", str(folder), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()
