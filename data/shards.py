"""Image folders packed into a few tar files, with an index: images are read from their places, in any order.

Small files are what slows a shared file system down. The tars are ordinary ones: `tar -tf` lists them, and readers of
tar shards can walk them.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from PIL import Image

from configs.errors import DataError
from data.examples import as_rgb
from runtime.tables import Table, open_table, write_table

INDEX = "shards.safetensors"
SPLITS = ("train", "test")
FORMAT = "onepath-shards-1"
_COLUMNS = {"shard": np.int32, "offset": np.int64, "length": np.int64, "label": np.int64}


@dataclass(frozen=True, eq=False)
class ImageShards:
    """Images of a split in tar files, read as RGB.

    Attributes:
        files: the tars.
        shards: (N,) which tar each image is in.
        offsets: (N,) where its bytes begin in there.
        lengths: (N,) how many they are.
        labels: (N,) int64.
    """

    files: tuple[Path, ...]
    shards: np.ndarray = field(repr=False)
    offsets: np.ndarray = field(repr=False)
    lengths: np.ndarray = field(repr=False)
    labels: np.ndarray = field(repr=False)

    def read(self, index: int) -> Image.Image:
        with Image.open(io.BytesIO(self.encoded(index))) as image:
            return as_rgb(image)

    def name(self, index: int) -> str:
        return f"{self.files[self.shards[index]]}: {self.member(index)}"

    def encoded(self, index: int) -> bytes:
        return self._bytes(index, int(self.offsets[index]), int(self.lengths[index]))

    def member(self, index: int) -> str:
        header = self._bytes(index, int(self.offsets[index]) - tarfile.BLOCKSIZE, tarfile.BLOCKSIZE)
        return tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape").name

    def _bytes(self, index: int, start: int, count: int) -> bytes:
        with self.files[self.shards[index]].open("rb", buffering=0) as file:  # no handle to share between processes
            return os.pread(file.fileno(), count, start)


def read_classes(folder: Path) -> tuple[str, ...]:
    """The class names of packed folders; raises as `open_shards`."""
    return _classes(_open_index(folder))


def open_shards(folder: Path) -> tuple[tuple[str, ...], dict[str, ImageShards]]:
    """The class names, and the images of each split.

    Raises:
        DataError: the index is damaged or of another format, or a tar is missing or has another size than when packed.
    """
    table = _open_index(folder)
    try:
        return _classes(table), {split: _open_split(folder, split, table) for split in SPLITS}
    except (KeyError, ValueError) as error:
        raise _no_index(folder) from error


def _classes(table: Table) -> tuple[str, ...]:
    return tuple(json.loads(table.metadata["classes"]))


def _open_index(folder: Path) -> Table:
    table = open_table(folder / INDEX)
    if table.metadata.get("format") != FORMAT or "classes" not in table.metadata:
        raise _no_index(folder)
    return table


def _no_index(folder: Path) -> DataError:
    return DataError(f"{folder / INDEX} is no index of shards; pack the images again (tools.prepare_data shards)")


def _open_split(folder: Path, split: str, table: Table) -> ImageShards:
    sizes: dict[str, int] = json.loads(table.metadata[split])
    for name, size in sizes.items():
        found = (folder / name).stat().st_size if (folder / name).is_file() else None
        if found != size:
            trouble = "is missing" if found is None else f"has {found} bytes, not {size}"
            raise DataError(f"{folder / name} {trouble}; copy it again, or pack the images again")
    columns = (table.tensors[f"{split}.{column}"] for column in _COLUMNS)
    return ImageShards(tuple(folder / name for name in sizes), *columns)


class ShardWriter:
    """Writes the tars of all splits into a folder, then the index.

    Args:
        shard_size: bytes of images after which the next tar begins.
    """

    def __init__(self, folder: Path, classes: Iterable[str], shard_size: int) -> None:
        self.folder, self.shard_size = folder, shard_size
        self.metadata = {"format": FORMAT, "classes": json.dumps(list(classes))}
        self.tensors: dict[str, np.ndarray] = {}

    def write(self, split: str, images: Iterable[tuple[str, bytes, int]]) -> int:
        """Write (path in the split, bytes, label) of every image; how many there were."""
        rows: list[tuple[int, ...]] = []
        names: list[str] = []
        left = iter(images)
        for first in left:
            names.append(f"{split}-{len(names):05}.tar")
            with tarfile.open(self.folder / names[-1], "w", format=tarfile.GNU_FORMAT) as tar:
                for member, content, label in chain([first], left):
                    rows.append((len(names) - 1, _add(tar, member, content), len(content), label))
                    if tar.offset >= self.shard_size:
                        break
        for column, values in zip(_COLUMNS, zip(*rows)):
            self.tensors[f"{split}.{column}"] = np.array(values, _COLUMNS[column])
        self.metadata[split] = json.dumps({name: (self.folder / name).stat().st_size for name in names})
        return len(rows)

    def close(self) -> None:
        """Write the index: from now on it is a data set."""
        write_table(self.folder / INDEX, self.tensors, self.metadata)


def _add(tar: tarfile.TarFile, member: str, content: bytes) -> int:
    """Add a file without time and owner, so that the same images give the same tar; where its bytes begin."""
    entry = tarfile.TarInfo(member)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
    blocks = -(-len(content) // tarfile.BLOCKSIZE)
    return tar.offset - blocks * tarfile.BLOCKSIZE
