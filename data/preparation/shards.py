"""Packing an image folder into shards, as it is or with smaller images."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import cast

from PIL import Image

from configs.errors import DataError
from configs.schema import Data
from data.datasets import open_dataset
from data.examples import EncodedImages, as_rgb
from data.preparation.staging import staged_folder
from data.shards import SPLITS, ShardWriter
from runtime.console import logger
from runtime.files import explained
from runtime.progress import track

_AT_ONCE = 256  # images in memory


@dataclass(frozen=True)
class Shrinking:
    """Images with a longer shorter side are resized to this one and stored as JPEG; others stay as they are."""

    shorter_side: int
    quality: int

    def __call__(self, member: str, content: bytes) -> tuple[str, bytes]:
        """(path, bytes) of an image -> those to store; an unreadable image stays as it is, for the reader to tell."""
        try:
            with Image.open(io.BytesIO(content)) as image:
                if min(image.size) <= self.shorter_side:
                    return member, content
                share = self.shorter_side / min(image.size)
                width, height = (max(self.shorter_side, round(side * share)) for side in image.size)
                shrunk = as_rgb(image).resize((width, height), Image.Resampling.BICUBIC)
        except Exception:  # Pillow's decoders raise about any type for damaged files
            logger.warning("%s is unreadable; packed as it is", member)
            return member, content
        stored = io.BytesIO()
        shrunk.save(stored, "JPEG", quality=self.quality)
        return str(PurePosixPath(member).with_suffix(".jpg")), stored.getvalue()


def pack_shards(folder: Path, out: Path, shrinking: Shrinking | None, shard_size: int, threads: int) -> dict[str, int]:
    """Pack the train and the test (or val) images of a folder, all or nothing; the number of images of each split.

    Raises:
        DataError: no image folder, or `out` holds something.
        StorageError: `out` cannot be written.
    """
    dataset = open_dataset(Data(NAME="image_folder", PATH=str(folder)))
    with explained(out), staged_folder(out) as staging, ThreadPoolExecutor(threads) as pool:
        writer = ShardWriter(staging, dataset.classes, shard_size)
        counts = {}
        for split, examples in zip(SPLITS, (dataset.train, dataset.test)):
            images = _packed(cast(EncodedImages, examples), shrinking, pool)  # an image folder's are
            counts[split] = writer.write(split, track(images, len(examples.labels), f"packing {split}", "images"))
        writer.close()
    return counts


def _packed(
    examples: EncodedImages, shrinking: Shrinking | None, pool: ThreadPoolExecutor
) -> Iterator[tuple[str, bytes, int]]:
    for start in range(0, len(examples.labels), _AT_ONCE):
        chosen = range(start, min(start + _AT_ONCE, len(examples.labels)))
        stored = pool.map(partial(_pack, examples, shrinking), chosen)
        yield from ((*one, int(examples.labels[index])) for index, one in zip(chosen, stored))


def _pack(examples: EncodedImages, shrinking: Shrinking | None, index: int) -> tuple[str, bytes]:
    try:
        member, content = examples.member(index), examples.encoded(index)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{examples.name(index)} cannot be read ({reason}); repair or remove it") from error
    return shrinking(member, content) if shrinking else (member, content)
