"""Packed images are those of the folder."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from configs.errors import DataError, StorageError
from configs.schema import Data
from data.datasets import Dataset, count_classes, open_dataset
from data.preparation.shards import Shrinking, pack_shards
from data.shards import FORMAT, INDEX
from runtime.tables import write_table
from tools.prepare_data import main


def opened(folder: Path) -> Dataset:
    return open_dataset(Data(PATH=str(folder)))


def pack(folder: Path, out: Path, shrinking: Shrinking | None = None, shard_size: int = 10**6) -> Path:
    pack_shards(folder, out, shrinking, shard_size, threads=2)
    return out


def list_tar(path: Path) -> list[str]:
    with tarfile.open(path) as tar:
        return tar.getnames()


@pytest.mark.parametrize("shard_size", [1, 4000, 10**6])
def test_shards_hold_the_folder(folder: Path, tmp_path: Path, shard_size: int) -> None:
    out = pack(folder, tmp_path / "shards", shard_size=shard_size)
    ours, theirs = opened(out), opened(folder)
    assert ours.classes == theirs.classes
    assert count_classes(Data(PATH=str(out))) == (3, 3)
    for mine, other in ((ours.train, theirs.train), (ours.test, theirs.test)):
        assert np.array_equal(mine.labels, other.labels)
        for index in range(len(other.labels)):
            assert mine.encoded(index) == other.encoded(index)
            assert mine.member(index) == other.member(index)
            assert np.array_equal(mine.read(index), other.read(index))
    tars = sorted(out.glob("train-*.tar"))
    assert len(tars) == {1: 41, 4000: 41 // 4 + 1, 10**6: 1}[shard_size]
    assert [name for path in tars for name in list_tar(path)] == [theirs.train.member(index) for index in range(41)]


def test_packing_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "first")
    os.utime(folder / "train/cat/000.png", (0, 0))
    again = pack(folder, tmp_path / "again")
    from_shards = pack(first, tmp_path / "from_shards")
    for path in first.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes() == (from_shards / path.name).read_bytes()


def test_large_images_shrink_and_small_ones_stay(folder: Path, tmp_path: Path) -> None:
    Image.linear_gradient("L").resize((60, 40)).save(folder / "train/cat/wide.png")
    theirs = opened(folder)
    ours = opened(pack(folder, tmp_path / "shards", Shrinking(20, quality=90)))
    members = [theirs.train.member(index) for index in range(42)]
    wide = members.index("cat/wide.png")
    assert ours.train.member(wide) == "cat/wide.jpg"
    shrunk = ours.train.read(wide)
    assert shrunk.size == (30, 20)
    expected = theirs.train.read(wide).resize((30, 20), Image.Resampling.BICUBIC)
    assert np.abs(np.asarray(shrunk, float) - np.asarray(expected, float)).max() < 12
    others = [index for index in range(42) if index != wide]
    assert all(ours.train.encoded(index) == theirs.train.encoded(index) for index in others)


def test_an_unreadable_image_is_packed_and_named(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = folder / "train/dog/005.png"
    path.write_bytes(path.read_bytes()[:60])
    dataset = opened(pack(folder, tmp_path / "shards", Shrinking(5, quality=90)))
    assert "dog/005.png is unreadable" in caplog.text
    with pytest.raises(OSError, match=r"truncated|cannot identify"):
        dataset.train.read(19)
    assert dataset.train.name(19) == f"{tmp_path}/shards/train-00000.tar: dog/005.png"


def test_a_long_name_is_kept_or_cut(folder: Path, tmp_path: Path) -> None:
    name = "x" * 180 + ".png"
    (folder / "train/fox/000.png").rename(folder / "train/fox" / name)
    ours, theirs = opened(pack(folder, tmp_path / "shards")), opened(folder)
    last = next(index for index in range(41) if theirs.train.member(index).endswith(name))
    assert ours.train.encoded(last) == theirs.train.encoded(last)
    assert ours.train.member(last).startswith("fox/xxx")


def test_damaged_shards_are_refused(folder: Path, tmp_path: Path) -> None:
    out = pack(folder, tmp_path / "shards")
    tar = out / "test-00000.tar"
    content = tar.read_bytes()
    tar.write_bytes(content[:-512])
    with pytest.raises(DataError, match=r"test-00000.tar has \d+ bytes, not"):
        opened(out)
    tar.unlink()
    with pytest.raises(DataError, match=r"test-00000\.tar is missing"):
        opened(out)
    tar.write_bytes(content)
    index = (out / INDEX).read_bytes()
    (out / INDEX).write_bytes(index[:-20])
    with pytest.raises(DataError, match="cannot be read as a safetensors table"):
        opened(out)
    write_table(out / INDEX, {"labels": np.zeros(3)}, {"format": FORMAT, "classes": "[]", "train": "{}"})
    with pytest.raises(DataError, match="no index of shards"):
        opened(out)
    write_table(out / INDEX, {"labels": np.zeros(3)}, {})
    with pytest.raises(DataError, match="no index of shards"):
        opened(out)


def test_packing_is_all_or_nothing(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").touch()
    with pytest.raises(DataError, match="choose another --out"):
        pack(folder, tmp_path / "there")
    (folder / "train/fox/000.png").unlink()
    (folder / "train/fox/000.png").mkdir()
    (folder / "train/fox/000.png/inner.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"inner\.png cannot be read"):
        pack(folder, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "there"]


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be written"):
        pack(folder, tmp_path / "file/out")


def test_the_command_packs_once(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["shards", str(folder), "--out", str(tmp_path / "shards"), "--shorter-side", "8"]
    main(command)
    assert "{'train': 41, 'test': 13} images" in capsys.readouterr().out
    main(command)
    assert "is there already" in capsys.readouterr().out
    assert opened(tmp_path / "shards").train.read(0).size == (8, 8)
    with pytest.raises(SystemExit):
        main([*command, "--quality", "101"])
