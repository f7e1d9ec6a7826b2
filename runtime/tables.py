"""Tables on disk: named arrays in one safetensors file, written at once or not at all, mapped instead of read."""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from configs.errors import DataError
from runtime.files import explained, make_folder, open_atomic

NAMES = {  # the format's names of numpy's types
    "uint8": "U8",
    "int32": "I32",
    "uint32": "U32",
    "int64": "I64",
    "uint64": "U64",
    "float64": "F64",
}
TYPES = {name: np.dtype(kind) for kind, name in NAMES.items()}


@dataclass(frozen=True)
class Pieces:
    """An array that is written piece by piece along its first axis, so that it is never in memory as a whole."""

    shape: tuple[int, ...]
    dtype: np.dtype
    pieces: Callable[[], Iterable[np.ndarray]]

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.itemsize * int(np.prod(self.shape, dtype=np.int64))


Arrays = Mapping[str, "np.ndarray | Pieces"]


@dataclass(frozen=True)
class Table:
    """Read-only arrays over the mapped file, and the texts that were written with them."""

    tensors: dict[str, np.ndarray]
    metadata: dict[str, str]


def write_table(path: Path, tensors: Arrays, metadata: Mapping[str, str]) -> None:
    """Replace a safetensors file; arrays are written from where they are, without a copy of all.

    Raises:
        StorageError: the file cannot be written.
    """
    # Largest items first, as the safetensors library does: all arrays are aligned.
    ordered = dict(sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])))
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    end = 0
    for name, array in ordered.items():
        start, end = end, end + array.nbytes
        header[name] = {"dtype": NAMES[array.dtype.name], "shape": array.shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open_atomic(path, 8 + len(text) + end) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in ordered.values():
            for piece in array.pieces() if isinstance(array, Pieces) else [array]:
                file.write(np.ascontiguousarray(piece, array.dtype).reshape(-1).view(np.uint8).data)


def open_table(path: Path) -> Table:
    """Map a safetensors file; only what is looked at is read from disk.

    Raises:
        DataError: the file is not there, cut off, or none of this format.
    """
    try:
        with safe_open(path, framework="np") as file:  # the library checks the header against the file
            metadata = file.metadata() or {}
        with path.open("rb") as opened:
            mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a safetensors table: {error}") from error
    length = int.from_bytes(mapped[:8], "little")
    header = json.loads(mapped[8 : 8 + length])
    header.pop("__metadata__", None)
    try:
        return Table({name: _map_array(mapped, 8 + length, entry) for name, entry in header.items()}, metadata)
    except KeyError as error:
        raise DataError(f"{path} is no table: it holds values of type {error.args[0]}") from None


def _map_array(mapped: mmap.mmap, start: int, entry: Mapping[str, list[int]]) -> np.ndarray:
    kind, shape = TYPES[str(entry["dtype"])], entry["shape"]
    count = int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(mapped, kind, count, start + entry["data_offsets"][0]).reshape(shape)


def cache_folder() -> Path:
    """Where what can be made again is kept for the user: $ONEPATH_CACHE, $XDG_CACHE_HOME/onepath or ~/.cache/onepath.

    Raises:
        StorageError: it cannot be made.
    """
    named = os.environ.get("ONEPATH_CACHE")
    folder = Path(named) if named else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "onepath"
    with explained(folder):
        make_folder(folder)
    return folder
