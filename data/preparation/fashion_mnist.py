"""Obtaining Fashion-MNIST: Debian's package, else torchvision's downloader."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from configs.errors import DataError
from data.fashion_mnist import FILES, read_fashion_mnist
from data.preparation.staging import staged_folder
from runtime.compatibility import import_torchvision

PACKAGE = "dataset-fashion-mnist"


def prepare_fashion_mnist(out: Path) -> bool:
    """Put the four checked idx files into `out`; False if they are there already.

    Raises:
        DataError: neither way works; the message names both and why each failed.
    """
    if is_complete(out):
        return False
    with staged_folder(out) as staging, tempfile.TemporaryDirectory() as scratch:
        for archive in _obtain(Path(scratch)).glob("*-ubyte.gz"):
            shutil.copyfile(archive, staging / archive.name)
        _check(staging)
    return True


def is_complete(folder: Path) -> bool:
    """Whether `folder` holds all of Fashion-MNIST, undamaged."""
    try:
        _check(folder)
    except DataError:
        return False
    return True


def _check(folder: Path) -> None:
    for split, expected in zip(FILES, (60_000, 10_000)):
        pixels, _ = read_fashion_mnist(folder, split)
        if len(pixels) != expected:
            raise DataError(f"Fashion-MNIST in {folder} has {len(pixels)} {split} images instead of {expected}")


def _obtain(scratch: Path) -> Path:
    """The folder below `scratch` that now holds the compressed files."""
    failures = []
    for way, obtain in (("Debian's package", _unpack_debian_package), ("torchvision's download", _download)):
        try:
            return obtain(scratch)
        except (DataError, OSError, RuntimeError) as error:
            failures.append(f"{way}: {str(error).strip()}")
    raise DataError(
        "Fashion-MNIST could not be obtained.\n  - " + "\n  - ".join(failures) + "\n"
        f"On Debian or Ubuntu run `apt-get update`, `apt-get download {PACKAGE}` and `dpkg -x` the package; elsewhere, "
        "on a machine with a network, `torchvision.datasets.FashionMNIST(ROOT, download=True)`. "
        "DATA.PATH takes either folder."
    )


def _unpack_debian_package(scratch: Path) -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise DataError("apt-get and dpkg are not on this machine")
    try:
        _run("apt-get", "download", PACKAGE, folder=scratch)
    except DataError:  # no package lists yet, as in a fresh container: fetch them aside, which needs no root
        options = _private_apt(scratch)
        _run("apt-get", *options, "update", folder=scratch)
        _run("apt-get", *options, "download", PACKAGE, folder=scratch)
    for package in scratch.glob(f"{PACKAGE}_*.deb"):
        _run("dpkg", "-x", str(package), "unpacked", folder=scratch)
    return scratch / "unpacked/usr/share/datasets/fashion-mnist"


def _private_apt(scratch: Path) -> list[str]:
    for folder in ("lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    options = [f"Dir::State::lists={scratch / 'lists'}", f"Dir::Cache={scratch / 'cache'}"]
    if os.geteuid() == 0:
        options.append("APT::Sandbox::User=root")
    return [word for option in options for word in ("-o", option)]


def _run(*command: str, folder: Path) -> None:
    finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if finished.returncode:
        raise DataError(f"`{' '.join(command)}` failed: {finished.stderr.strip() or finished.stdout.strip()}")


def _download(scratch: Path) -> Path:
    import_torchvision()
    from torchvision.datasets import FashionMNIST

    FashionMNIST(str(scratch), download=True)
    return scratch / "FashionMNIST/raw"
