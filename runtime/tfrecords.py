"""TFRecord files: length, its checksum, payload, its checksum; read in batches, every checksum verified.

The checksum is CRC-32C (RFC 3720, appendix B.4), rotated right by 15 bits plus a constant. It is linear, so that the
checksums of many payloads are sums over tables, one for each distance of a byte from the end.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError

POLYNOMIAL = 0x82F63B78
BLOCK = 4 << 20  # bytes read at once
LIMIT = 1 << 16  # bytes of a payload: what is longer is no record of a benchmark or a small image
HEAD, TAIL = 12, 4  # bytes around a payload
Words = NDArray[np.uint32]


@dataclass(frozen=True)
class Batch:
    """Consecutive payloads, the number of the first in its file (from 0), and the bytes they took there."""

    first: int
    payloads: list[bytes]
    size: int


def read_tfrecords(path: Path) -> Iterator[Batch]:
    """The payloads of a file, streaming.

    Raises:
        DataError: the file is not there, cut off or corrupt; the message names the record.
    """
    rest, number = b"", 0
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                data = rest + block
                starts, lengths = _frames(data)
                end = int(starts[-1] + lengths[-1]) + TAIL if len(starts) else 0
                _verify(path, number, data, starts, lengths)
                payloads = [data[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist())]
                yield Batch(number, payloads, end)
                rest, number = data[end:], number + len(payloads)
                if len(rest) > HEAD + LIMIT + TAIL:  # a length that cannot be one
                    break
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if rest:
        raise DataError(f"{path}: record {number} is cut off or corrupt; get the file again")


def write_tfrecords(file: BinaryIO, payloads: Sequence[bytes]) -> None:
    """Append payloads of at most LIMIT bytes in TFRecord framing; fastest with many in one call."""
    lengths = np.fromiter(map(len, payloads), np.int64, len(payloads))
    heads = lengths.astype("<u8").view(np.uint8).reshape(-1, 8)
    ends = lengths.cumsum()
    tails = _checksums(np.frombuffer(b"".join(payloads), np.uint8), ends - lengths, lengths).astype("<u4").tobytes()
    framed = np.concatenate([heads, masked_crc32c(heads).astype("<u4")[:, None].view(np.uint8)], 1).tobytes()
    for place, payload in enumerate(payloads):
        file.write(framed[HEAD * place : HEAD * (place + 1)] + payload + tails[TAIL * place : TAIL * (place + 1)])


def masked_crc32c(rows: NDArray[np.uint8]) -> Words:
    """The checksums (N,) of payloads (N, length)."""
    length = rows.shape[1]
    tables, of_zeros = _tables(1 << max(length - 1, 0).bit_length())
    places = rows + np.arange(length - 1, -1, -1, dtype=np.intp) * 256
    crc = np.bitwise_xor.reduce(tables.take(places), 1) ^ of_zeros[length]
    return (crc >> np.uint32(15) | crc << np.uint32(17)) + np.uint32(0xA282EAD8)


@cache
def _tables(length: int) -> tuple[Words, Words]:
    """What each byte adds at each distance from the end, flat (length * 256,), and the CRC of up to `length` zeros."""
    first: Words = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = first >> np.uint32(1) ^ (first & np.uint32(1)) * np.uint32(POLYNOMIAL)
    tables = np.empty((max(length, 1), 256), np.uint32)
    tables[0] = first
    for distance in range(1, length):
        tables[distance] = tables[distance - 1] >> 8 ^ first[tables[distance - 1] & 255]
    state, of_zeros = 0xFFFFFFFF, []
    for _ in range(length + 1):
        of_zeros.append(state ^ 0xFFFFFFFF)
        state = state >> 8 ^ int(first[state & 255])
    return tables.ravel(), np.array(of_zeros, np.uint32)


def _frames(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where whole payloads start, and their lengths; the walk ends at a length that cannot be one."""
    starts, lengths, place, size = [], [], 0, len(data)
    unpack = struct.Struct("<Q").unpack_from
    while place + HEAD <= size:
        (length,) = unpack(data, place)
        if length > LIMIT or place + HEAD + length + TAIL > size:
            break
        starts.append(place + HEAD)
        lengths.append(length)
        place += HEAD + length + TAIL
    return np.array(starts, np.int64), np.array(lengths, np.int64)


def _verify(path: Path, number: int, data: bytes, starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> None:
    """Raise DataError, naming the first record whose checksums are wrong."""
    content = np.frombuffer(data, np.uint8)
    wrong = masked_crc32c(_gather(content, starts - HEAD, 8)) != _words(content, starts - TAIL)
    wrong |= _checksums(content, starts, lengths) != _words(content, starts + lengths)
    if wrong.any():
        raise DataError(f"{path}: record {number + int(wrong.argmax())} is corrupt: its checksum differs; get it again")


def _checksums(content: NDArray[np.uint8], starts: NDArray[np.int64], lengths: NDArray[np.int64]) -> Words:
    """Of payloads of many lengths."""
    checksums = np.empty(len(starts), np.uint32)
    for length in np.unique(lengths).tolist():
        chosen = np.flatnonzero(lengths == length)
        checksums[chosen] = masked_crc32c(_gather(content, starts[chosen], length))
    return checksums


def _gather(content: NDArray[np.uint8], starts: NDArray[np.int64], length: int) -> NDArray[np.uint8]:
    """Rows (N, length) of bytes."""
    if length == 0:
        return np.empty((len(starts), 0), np.uint8)
    return np.lib.stride_tricks.sliding_window_view(content, length)[starts]


def _words(content: NDArray[np.uint8], starts: NDArray[np.int64]) -> Words:
    return np.ascontiguousarray(_gather(content, starts, 4)).view("<u4").ravel()
