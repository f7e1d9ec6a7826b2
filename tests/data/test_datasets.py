from __future__ import annotations

import gzip
import hashlib
import pickle
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from image_samples import write_class_folders
from PIL import Image

from configs.errors import DataError
from configs.schema import Data
from data.datasets import Dataset, count_classes, open_dataset
from data.idx import read_idx
from runtime.compatibility import import_torchvision

import_torchvision()

from torchvision.datasets import CIFAR10  # noqa: E402


def opened(name: str, path: Path) -> Dataset:
    config = Data(NAME=name, PATH=str(path))
    dataset = open_dataset(config)
    assert count_classes(config) == (len(dataset.classes), dataset.channels)
    return dataset


def write_idx(path: Path, array: np.ndarray) -> None:
    content = struct.pack(">BBBB", 0, 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def write_fashion_mnist(folder: Path, suffix: str, counts: tuple[int, int] = (20, 10)) -> None:
    for split, count in zip(("train", "t10k"), counts):
        pixels = np.random.default_rng(count).integers(0, 256, (count, 28, 28), dtype=np.uint8)
        write_idx(folder / f"{split}-images-idx3-ubyte{suffix}", pixels)
        write_idx(folder / f"{split}-labels-idx1-ubyte{suffix}", np.arange(count, dtype=np.uint8) % 10)


def test_an_image_folder_prefers_test_to_val(folder: Path) -> None:
    assert len(opened("image_folder", folder).test.labels) == 13
    write_class_folders(folder / "test", {"cat": 1, "dog": 2, "fox": 1})
    dataset = opened("image_folder", folder)
    assert dataset.test.labels.tolist() == [0, 1, 1, 2]
    assert dataset.test.read(3).size == (12, 12)


def test_hidden_and_foreign_files_are_no_images(folder: Path) -> None:
    (folder / "train/cat/._000.png").write_bytes(b"resource fork")
    (folder / "train/cat/notes.txt").write_text("notes")
    (folder / "train/.ipynb_checkpoints").mkdir()
    (folder / "train/cat/more").mkdir()
    shutil.copy(folder / "train/cat/000.png", folder / "train/cat/more/x.PNG")
    dataset = opened("image_folder", folder)
    assert len(dataset.train.labels) == 42
    assert dataset.train.name(14).endswith("train/cat/more/x.PNG")


def test_classes_are_counted_before_images_are_listed(folder: Path) -> None:
    for path in folder.glob("*/*/*"):
        path.unlink()
    assert count_classes(Data(PATH=str(folder))) == (3, 3)


def test_grey_images_of_16_bits_keep_their_tones(folder: Path) -> None:
    tones = np.linspace(0, 65535, 144).reshape(12, 12).astype(np.uint16)
    Image.fromarray(tones).save(folder / "train/cat/000.png")
    read = np.asarray(opened("image_folder", folder).train.read(0))
    assert (read == (tones >> 8)[..., None]).all()


def test_a_missing_path_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"DATA.PATH .*nowhere does not exist"):
        opened("image_folder", tmp_path / "nowhere")


@pytest.mark.parametrize(("missing", "message"), [("train", "no folder train"), ("val", "no folder val nor test")])
def test_a_missing_split_is_named(folder: Path, missing: str, message: str) -> None:
    shutil.rmtree(folder / missing)
    with pytest.raises(DataError, match=message):
        opened("image_folder", folder)


def test_folders_without_classes_or_images_are_refused(folder: Path) -> None:
    for split in ("train", "val"):
        (folder / split / "empty").mkdir()
    with pytest.raises(DataError, match="no images in empty; remove"):
        opened("image_folder", folder)
    for path in folder.glob("train/*/*"):
        path.unlink()
    with pytest.raises(DataError, match="no images in its 4 class folders"):
        opened("image_folder", folder)
    shutil.rmtree(folder / "train")
    (folder / "train").mkdir()
    with pytest.raises(DataError, match="no class folders"):
        opened("image_folder", folder)


def test_splits_with_different_classes_are_refused_by_name(folder: Path) -> None:
    (folder / "val/fox").rename(folder / "val/wolf")
    with pytest.raises(DataError, match=r"only in train: fox; only in val: wolf"):
        opened("image_folder", folder)


@pytest.mark.parametrize(
    ("below", "suffix"),
    [("", ""), ("", ".gz"), ("FashionMNIST/raw", ""), ("usr/share/datasets/fashion-mnist", ".gz")],
)
def test_fashion_mnist_is_found_in_the_usual_layouts(tmp_path: Path, below: str, suffix: str) -> None:
    write_fashion_mnist(tmp_path / below, suffix)
    dataset = opened("fashion_mnist", tmp_path)
    assert dataset.channels == 1
    assert dataset.train.labels.tolist() == list(range(10)) * 2
    expected = np.random.default_rng(10).integers(0, 256, (10, 28, 28), dtype=np.uint8)
    assert np.array_equal(np.asarray(dataset.test.read(4)), expected[4])


def test_missing_fashion_mnist_names_the_tool(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"tools\.prepare_data fashion-mnist"):
        opened("fashion_mnist", tmp_path)


def test_labels_that_do_not_match_are_refused(tmp_path: Path) -> None:
    write_fashion_mnist(tmp_path, "")
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(19, dtype=np.uint8))
    with pytest.raises(DataError, match=r"20 images .* 19 labels"):
        opened("fashion_mnist", tmp_path)


def test_damaged_idx_files_are_refused(tmp_path: Path) -> None:
    plain, packed = tmp_path / "a", tmp_path / "a.gz"
    write_idx(plain, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    write_idx(packed, np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    assert read_idx(packed, 3).tolist() == read_idx(plain, 3).tolist() == np.arange(24).reshape(2, 3, 4).tolist()
    with pytest.raises(DataError, match="1 axes"):
        read_idx(plain, 1)
    content = plain.read_bytes()
    for damaged in (content[:-1], content + b"x"):
        plain.write_bytes(damaged)
        with pytest.raises(DataError, match="2 x 3 x 4 = 24"):
            read_idx(plain, 3)
    for damaged in (b"", content[:10], b"\0\0\x0d\x03" + content[4:], b"<html>" + content):
        plain.write_bytes(damaged)
        with pytest.raises(DataError, match="not an idx file"):
            read_idx(plain, 3)
    whole = packed.read_bytes()
    for damaged in (whole[:-9], whole[:20] + b"\xff\xff\xff" + whole[23:], b"plain text"):
        packed.write_bytes(damaged)
        with pytest.raises(DataError, match="cannot be read"):
            read_idx(packed, 3)


@pytest.fixture
def cifar_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's layout with 6 train and 4 test images, under their own checksums."""
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def write(name: str, content: dict[str, object]) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def images(count: int) -> dict[str, object]:
        pixels = np.random.default_rng(count).integers(0, 256, (count, 3072), dtype=np.uint8)
        return {"data": pixels, "labels": list(range(count))}

    names = [f"class {index}" for index in range(10)]
    monkeypatch.setattr(CIFAR10, "train_list", [write("data_batch_1", images(6))])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", images(4))])
    meta = write("batches.meta", {"label_names": names})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": meta[0], "key": "label_names", "md5": meta[1]})
    return tmp_path


def test_cifar_in_torchvisions_layout(cifar_batches: Path) -> None:
    dataset = opened("cifar10", cifar_batches)
    assert (dataset.classes[3], dataset.channels, dataset.train.labels.tolist()) == ("class 3", 3, [0, 1, 2, 3, 4, 5])
    planes = np.random.default_rng(4).integers(0, 256, (4, 3, 32, 32), dtype=np.uint8)
    assert np.array_equal(np.asarray(dataset.test.read(2)), planes[2].transpose(1, 2, 0))


def test_damaged_cifar_is_refused_before_unpickling(cifar_batches: Path) -> None:
    (cifar_batches / CIFAR10.base_folder / "test_batch").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(DataError, match="incomplete or damaged"):
        opened("cifar10", cifar_batches)


def test_cifar_as_class_folders(folder: Path, tmp_path: Path) -> None:
    (folder / "val").rename(folder / "test")
    assert len(opened("cifar100", folder).train.labels) == 41
    with pytest.raises(DataError, match=r"neither cifar-100-python/ .* nor train/<class>/"):
        opened("cifar100", tmp_path)


def test_digits_keep_a_fifth_for_the_test(tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the digits data set comes with scikit-learn")
    dataset = opened("digits", tmp_path)
    assert (len(dataset.train.labels), len(dataset.test.labels), dataset.channels) == (1438, 359, 1)
    assert dataset.train.read(0).size == (8, 8)
    pixels = np.stack([np.asarray(dataset.train.read(index)) for index in range(1438)]) / 255
    assert (pixels.mean(), pixels.std()) == pytest.approx(
        (dataset.statistics[0][0], dataset.statistics[1][0]), abs=0.01
    )


def test_digits_without_scikit_learn_say_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(DataError, match="pip install scikit-learn"):
        opened("digits", tmp_path)
