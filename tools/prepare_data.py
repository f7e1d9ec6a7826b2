"""Bring a data set into the layout that DATA.PATH expects: `python -m tools.prepare_data NAME …`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.preparation.archives import count_images, unpack_image_folders
from data.preparation.fashion_mnist import prepare_fashion_mnist
from data.preparation.imagenet_val import sort_validation_images
from runtime.scripts import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one preparation; a second run with the same output says that it is there.

    Raises:
        DataError: the data cannot be obtained, is damaged or incomplete.
    """
    options = _parser().parse_args(arguments)
    options.prepare(options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.prepare_data", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="NAME")

    fashion = commands.add_parser("fashion-mnist", help="obtain it: Debian's package, else torchvision's download")
    fashion.add_argument("--out", type=Path, default=Path("data/fashion-mnist"), help="default: %(default)s")
    fashion.set_defaults(prepare=_fashion_mnist)

    cifar = commands.add_parser("cifar10", help="unpack an archive of train/<class>/* and test/<class>/* images")
    cifar.add_argument("archive", type=Path, help="tar (any compression) or zip")
    cifar.add_argument("--out", type=Path, default=Path("data/cifar10"), help="default: %(default)s")
    cifar.set_defaults(prepare=_cifar10)

    imagenet = commands.add_parser("imagenet-val", help="sort the flat validation images into class folders")
    imagenet.add_argument("folder", type=Path, help="holds ILSVRC2012_val_00000001.JPEG …")
    imagenet.add_argument("--devkit", type=Path, required=True, help="ILSVRC2012_devkit_t12, folder or tar archive")
    imagenet.add_argument("--synsets", type=Path, help="lines such as 'n02119789 1 kit_fox' (replaces meta.mat, scipy)")
    imagenet.add_argument("--out", type=Path, help="hard-link there; default: move inside FOLDER")
    imagenet.set_defaults(prepare=_imagenet_val)
    return parser


def _fashion_mnist(options: argparse.Namespace) -> None:
    obtained = prepare_fashion_mnist(options.out)
    print(f"Fashion-MNIST is {'now' if obtained else 'already'} in {options.out}: 60000 train, 10000 test images")


def _cifar10(options: argparse.Namespace) -> None:
    there = any(count_images(options.out).values())
    if not there:
        unpack_image_folders(options.archive, options.out)
    for split, classes in count_images(options.out).items():
        print(f"{options.out / split}: {'already there, ' * there}{classes.total()} images of {len(classes)} classes")


def _imagenet_val(options: argparse.Namespace) -> None:
    counts = sort_validation_images(options.folder, options.devkit, options.out, options.synsets)
    print(f"{options.out or options.folder}: {sum(counts.values())} images in {len(counts)} class folders")


if __name__ == "__main__":
    run(main)
