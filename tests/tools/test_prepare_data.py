from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from data.preparation import fashion_mnist
from runtime.compatibility import import_torchvision
from tools.prepare_data import main

import_torchvision()  # the tests replace a part of it

Entries = dict[str, bytes]
IMAGES: Entries = {
    f"{split}/{name}/{index}.png": f"{split} {name} {index}".encode()
    for split, count in (("train", 3), ("test", 2))
    for name in ("cat", "dog")
    for index in range(count)
}


def write_tar(path: Path, entries: Entries) -> None:
    with tarfile.open(path, "w:xz") as tar:
        for name, content in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


def write_zip(path: Path, entries: Entries) -> None:
    with zipfile.ZipFile(path, "w") as zipped:
        for name, content in entries.items():
            zipped.writestr(name, content)


def contents(folder: Path) -> Entries:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("write", [write_tar, write_zip])
@pytest.mark.parametrize("prefix", ["", "CIFAR-10-images-master/"])
def test_an_archive_of_image_folders_is_unpacked(
    tmp_path: Path, write: Callable[[Path, Entries], None], prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    entries = {prefix + name: content for name, content in {**IMAGES, "README.md": b"text"}.items()}
    write(tmp_path / "archive", entries)
    command = ["cifar10", str(tmp_path / "archive"), "--out", str(tmp_path / "out")]
    main(command)
    assert contents(tmp_path / "out") == IMAGES
    assert "train: 6 images of 2 classes" in capsys.readouterr().out
    main(command)
    assert "test: already there, 4 images of 2 classes" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["../train/cat/evil.png", "/train/cat/evil.png", "train/../../evil.png", "C:\\x.png"])
@pytest.mark.parametrize("write", [write_tar, write_zip])
def test_an_entry_that_leaves_the_folder_is_refused(
    tmp_path: Path, write: Callable[[Path, Entries], None], name: str
) -> None:
    archive = tmp_path / "inner/archive"
    archive.parent.mkdir()
    write(archive, {**IMAGES, name: b"evil"})
    with pytest.raises(DataError, match="leaves the folder"):
        main(["cifar10", str(archive), "--out", str(tmp_path / "inner/out")])
    assert contents(tmp_path).keys() == {"inner/archive"}


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    with tarfile.open(tmp_path / "archive", "w") as tar:
        member = tarfile.TarInfo("train/cat")
        member.type, member.linkname = kind, "/etc"
        tar.addfile(member)
        tar.addfile(tarfile.TarInfo("train/cat/passwd.png"))
    with pytest.raises(DataError, match="'train/cat' is a link or device"):
        main(["cifar10", str(tmp_path / "archive"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def test_unusable_archives_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    archive, out = tmp_path / "archive", tmp_path / "out"

    def unpack() -> None:
        main(["cifar10", str(archive), "--out", str(out)])

    with pytest.raises(DataError, match="does not exist"):
        unpack()
    write_tar(archive, {**IMAGES, "train/cat/noise.png": np.random.default_rng(0).bytes(9000)})
    archive.write_bytes(archive.read_bytes()[:4000])
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack()
    write_tar(archive, {name: content for name, content in IMAGES.items() if name.startswith("train")})
    with pytest.raises(DataError, match="no images test/<class>"):
        unpack()
    write_tar(archive, {**IMAGES, "copy/train/cat/0.png": b"another"})
    with pytest.raises(DataError, match=r"train/cat/0\.png twice"):
        unpack()
    assert contents(tmp_path).keys() == {"archive"}
    write_tar(archive, IMAGES)
    out.mkdir()
    (out / "notes").write_text("mine")
    with pytest.raises(DataError, match="choose another --out"):
        unpack()


def write_gzipped_idx(path: Path, shape: tuple[int, ...]) -> None:
    header = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
    path.write_bytes(gzip.compress(header + bytes(int(np.prod(shape))), compresslevel=1))


@pytest.fixture
def package_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """apt-get without package lists until it updates, and a dpkg that unpacks the folder returned."""
    content, tools = tmp_path / "content", tmp_path / "bin"
    content.mkdir()
    tools.mkdir()
    for split, count in (("train", 60_000), ("t10k", 10_000)):
        write_gzipped_idx(content / f"{split}-images-idx3-ubyte.gz", (count, 28, 28))
        write_gzipped_idx(content / f"{split}-labels-idx1-ubyte.gz", (count,))
    scripts = {
        "apt-get": 'case "$*" in *update) touch new;; *) test -e new && touch dataset-fashion-mnist_1.deb; esac',
        "dpkg": f"mkdir -p $3/usr/share/datasets && cp -r {content} $3/usr/share/datasets/fashion-mnist",
    }
    for name, script in scripts.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    return content


def fail_to_download(*arguments: object, **keys: object) -> None:
    raise RuntimeError("no network")


def test_fashion_mnist_comes_from_debians_package_once(
    tmp_path: Path, package_tools: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fail_to_download)
    command = ["fashion-mnist", "--out", str(tmp_path / "data/fashion-mnist")]
    main(command)
    assert contents(tmp_path / "data/fashion-mnist") == contents(package_tools)
    assert "is now in" in capsys.readouterr().out
    main(command)
    assert "is already in" in capsys.readouterr().out


def test_damaged_fashion_mnist_never_appears(tmp_path: Path, package_tools: Path) -> None:
    write_gzipped_idx(package_tools / "t10k-labels-idx1-ubyte.gz", (9_999,))
    with pytest.raises(DataError, match=r"10000 images .* 9999 labels"):
        main(["fashion-mnist", "--out", str(tmp_path / "data/fashion-mnist")])
    assert not any((tmp_path / "data").iterdir())


def test_unobtainable_fashion_mnist_names_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("torchvision.datasets.FashionMNIST", fail_to_download)
    with pytest.raises(DataError) as caught:
        main(["fashion-mnist", "--out", str(tmp_path / "out")])
    for part in ("apt-get and dpkg are not", "no network", fashion_mnist.PACKAGE, "download=True"):
        assert part in str(caught.value)
    assert not any(tmp_path.iterdir())


WNIDS = {1: "n00000003", 2: "n00000001", 3: "n00000002"}
TRUTH = (2, 1, 3, 2, 1)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Five flat validation images, and beside them a devkit whose synsets are in text."""
    folder, data = tmp_path / "flat", tmp_path / "devkit/data"
    folder.mkdir()
    data.mkdir(parents=True)
    for number in range(1, len(TRUTH) + 1):
        (folder / f"ILSVRC2012_val_{number:08d}.JPEG").write_text(str(number))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{number}\n" for number in TRUTH))
    (data / "map_clsloc.txt").write_text("".join(f"{wnid} {number} name\n" for number, wnid in WNIDS.items()))
    return folder


def expected_places() -> Entries:
    return {
        f"{WNIDS[number]}/ILSVRC2012_val_{index:08d}.JPEG": str(index).encode() for index, number in enumerate(TRUTH, 1)
    }


def test_validation_images_move_into_class_folders_and_restart(
    flat: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit")]
    early = flat / WNIDS[2] / "ILSVRC2012_val_00000001.JPEG"  # an interrupted run moved one
    early.parent.mkdir()
    (flat / early.name).rename(early)
    for _ in range(2):
        main(command)
        assert contents(flat) == expected_places()
        assert "5 images in 3 class folders" in capsys.readouterr().out


def test_validation_images_are_linked_from_a_devkit_archive(flat: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "devkit.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "devkit", "ILSVRC2012_devkit_t12")
    out = tmp_path / "imagenet/val"
    main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit.tar.gz"), "--out", str(out)])
    assert contents(out) == expected_places()
    assert len(contents(flat)) == 5
    first = "ILSVRC2012_val_00000001.JPEG"
    assert (out / WNIDS[2] / first).samefile(flat / first)


def test_synsets_come_from_meta_mat_or_a_given_text(flat: Path, tmp_path: Path) -> None:
    io_module = pytest.importorskip("scipy.io", reason="meta.mat is read by scipy")
    (tmp_path / "devkit/data/map_clsloc.txt").unlink()
    synsets = np.array(
        [(number, wnid, "words") for number, wnid in WNIDS.items()],
        dtype=[("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O")],
    )
    io_module.savemat(tmp_path / "devkit/data/meta.mat", {"synsets": synsets})
    main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit"), "--out", str(tmp_path / "mat")])
    text = tmp_path / "synsets.txt"
    text.write_text("".join(f"{number} {wnid}\n" for number, wnid in WNIDS.items()))
    command = ["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit"), "--out", str(tmp_path / "text")]
    main([*command, "--synsets", str(text)])
    assert contents(tmp_path / "mat") == contents(tmp_path / "text") == expected_places()


def test_missing_validation_images_are_named_and_nothing_moves(flat: Path, tmp_path: Path) -> None:
    (flat / "ILSVRC2012_val_00000003.JPEG").unlink()
    before = contents(flat)
    with pytest.raises(DataError, match=r"1 of 5 images are not in .*ILSVRC2012_val_00000003\.JPEG; nothing was moved"):
        main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit")])
    assert contents(flat) == before


@pytest.mark.parametrize(
    ("truth", "synsets", "message"),
    [
        ("2\n4\n", "n00000001 1\n", "do not belong together"),
        ("1\nx\n", "n00000001 1\n", "do not belong together"),
        ("1\n", "tench\n", "class number and a wnid"),
        ("1\n", "n00000001 tench\n", "class number and a wnid"),
    ],
)
def test_a_broken_devkit_is_refused(flat: Path, tmp_path: Path, truth: str, synsets: str, message: str) -> None:
    data = tmp_path / "devkit/data"
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth)
    (data / "map_clsloc.txt").write_text(synsets)
    with pytest.raises(DataError, match=message):
        main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "devkit")])


def test_a_missing_devkit_is_refused(flat: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "nowhere")])
    with pytest.raises(DataError, match="not complete"):
        main(["imagenet-val", str(flat), "--devkit", str(flat)])
    (tmp_path / "nowhere").write_text("no archive")
    with pytest.raises(DataError, match="cannot be unpacked"):
        main(["imagenet-val", str(flat), "--devkit", str(tmp_path / "nowhere")])


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in ("fashion-mnist", "cifar10", "imagenet-val"))
