"""Protocol buffers without a schema: the fields of a message and their places, and how to write one.

https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # wire types


@dataclass(frozen=True)
class Field:
    """One field of a message: number, wire type, and where its value starts and ends."""

    number: int
    kind: int
    value: int
    end: int


def read_fields(message: bytes, place: int, end: int) -> Iterator[Field]:
    """The fields between two places of a message, one after the other.

    Raises:
        ValueError: the message is malformed or cut off.
    """
    while place < end:
        tag, place = read_varint(message, place, end)
        kind = tag & 7
        if kind == VARINT:
            value, place = place, read_varint(message, place, end)[1]
        elif kind == BYTES:
            length, value = read_varint(message, place, end)
            place = value + length
        elif kind in (FIXED64, FIXED32):
            value, place = place, place + (8 if kind == FIXED64 else 4)
        else:
            raise ValueError(f"it has a field of wire type {kind}")
        if place > end:
            raise ValueError("its message is cut off")
        yield Field(tag >> 3, kind, value, place)


def read_varint(message: bytes, place: int, end: int) -> tuple[int, int]:
    """A variable-length integer, and the place behind it."""
    value = shift = 0
    while place < end and shift < 64:
        byte = message[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
    raise ValueError("its message is cut off")


def write_bytes(number: int, content: bytes) -> bytes:
    """A field of bytes, a text or a message."""
    return write_varint(number << 3 | BYTES) + write_varint(len(content)) + content


def write_varint(value: int) -> bytes:
    """A non-negative integer of variable length."""
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
