"""The idx format of MNIST and its kin: a big-endian header, then bytes. http://yann.lecun.com/exdb/mnist/"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from configs.errors import DataError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Read an idx file of unsigned bytes, plain or gzip-compressed.

    Args:
        path: the file; `.gz` is decompressed.
        dimensions: how many axes it must have (1 for labels, 3 for images).

    Returns:
        A writable uint8 array of the shape that the header states.

    Raises:
        DataError: unreadable, of another type or number of axes, or longer or shorter than its header says.
    """
    content = _read_bytes(path)
    header = 4 + 4 * dimensions
    if len(content) < header or tuple(content[:4]) != (0, 0, _UNSIGNED_BYTE, dimensions):
        raise DataError(f"{path} is not an idx file of bytes with {dimensions} axes; fetch the data set again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    expected = int(np.prod(shape, dtype=np.int64))
    if len(content) - header != expected:
        raise DataError(
            f"{path} holds {len(content) - header} bytes where its header says {' x '.join(map(str, shape))} "
            f"= {expected}; fetch the data set again"
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _read_bytes(path: Path) -> bytearray:
    try:
        raw = path.read_bytes()
        return bytearray(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); fetch the data set again") from error
