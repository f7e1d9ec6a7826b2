"""Bring a data set into the layout that DATA.PATH expects: `python -m tools.prepare_data NAME …`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from data.cifar_tfrecords import TRAIN
from data.preparation.archives import count_images, unpack_image_folders
from data.preparation.cifar_tfrecords import write_tfrecords_of_cifar
from data.preparation.fashion_mnist import prepare_fashion_mnist
from data.preparation.imagenet_val import sort_validation_images
from data.preparation.shards import Shrinking, pack_shards
from data.shards import INDEX, open_shards
from runtime.scripts import run
from runtime.world import count_cores
from tools.arguments import positive


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

    records = commands.add_parser("cifar10-tfrecords", help="write CIFAR-10 as NAS-Bench-101's training reads it")
    records.add_argument("folder", type=Path, help="CIFAR-10 in any layout of DATA.NAME=cifar10")
    records.add_argument("--out", type=Path, default=Path("data/cifar10-tfrecords"), help="default: %(default)s")
    records.set_defaults(prepare=_cifar10_tfrecords)

    imagenet = commands.add_parser("imagenet-val", help="sort the flat validation images into class folders")
    imagenet.add_argument("folder", type=Path, help="holds ILSVRC2012_val_00000001.JPEG …")
    imagenet.add_argument("--devkit", type=Path, required=True, help="ILSVRC2012_devkit_t12, folder or tar archive")
    imagenet.add_argument("--synsets", type=Path, help="lines such as 'n02119789 1 kit_fox' (replaces meta.mat, scipy)")
    imagenet.add_argument("--out", type=Path, help="hard-link there; default: move inside FOLDER")
    imagenet.set_defaults(prepare=_imagenet_val)

    shards = commands.add_parser("shards", help="pack an image folder into a few tar files with an index")
    shards.add_argument("folder", type=Path, help="holds train/<class>/* and val/ or test/; or shards, to pack again")
    shards.add_argument("--out", type=Path, required=True, help="DATA.PATH of the shards")
    shards.add_argument(
        "--shorter-side", type=positive, help="shrink larger images to this many pixels; default: bytes as they are"
    )
    shards.add_argument("--quality", type=quality, default=95, help="of a shrunk image's JPEG; default: %(default)s")
    shards.add_argument("--megabytes", type=positive, default=1000, help="of a tar; default: %(default)s")
    shards.add_argument("--threads", type=positive, default=count_cores(), help="default: all cores")
    shards.set_defaults(prepare=_shards)
    return parser


def quality(text: str) -> int:
    """A JPEG quality, 1 to 100; for argparse."""
    value = positive(text)
    if value > 100:
        raise argparse.ArgumentTypeError("a JPEG's quality is 1 to 100")
    return value


def _fashion_mnist(options: argparse.Namespace) -> None:
    obtained = prepare_fashion_mnist(options.out)
    print(f"Fashion-MNIST is {'now' if obtained else 'already'} in {options.out}: 60000 train, 10000 test images")


def _cifar10(options: argparse.Namespace) -> None:
    there = any(count_images(options.out).values())
    if not there:
        unpack_image_folders(options.archive, options.out)
    for split, classes in count_images(options.out).items():
        print(f"{options.out / split}: {'already there, ' * there}{classes.total()} images of {len(classes)} classes")


def _cifar10_tfrecords(options: argparse.Namespace) -> None:
    if (options.out / TRAIN[0]).is_file():
        print(f"{options.out} is there already")
        return
    for name, count in write_tfrecords_of_cifar(options.folder, options.out).items():
        print(f"{options.out / name}: {count} images")


def _imagenet_val(options: argparse.Namespace) -> None:
    counts = sort_validation_images(options.folder, options.devkit, options.out, options.synsets)
    print(f"{options.out or options.folder}: {sum(counts.values())} images in {len(counts)} class folders")


def _shards(options: argparse.Namespace) -> None:
    shrinking = Shrinking(options.shorter_side, options.quality) if options.shorter_side else None
    if (options.out / INDEX).is_file():
        counts = {split: len(images.labels) for split, images in open_shards(options.out)[1].items()}
        print(f"{options.out} is there already: {counts} images")
        return
    counts = pack_shards(options.folder, options.out, shrinking, 1_000_000 * options.megabytes, options.threads)
    print(f"{options.out}: {counts} images")


if __name__ == "__main__":
    run(main)
