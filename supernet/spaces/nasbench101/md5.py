"""MD5 of many short texts of one length at once (RFC 1321), each step on a vector with one lane a text."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]
LANES = 16384  # of one step; more do not pay

SINES = [np.uint32(int(abs(math.sin(step + 1)) * 2**32)) for step in range(64)]
SHIFTS = [(7, 12, 17, 22), (5, 9, 14, 20), (4, 11, 16, 23), (6, 10, 15, 21)]
ORDERS = [(1, 0), (5, 1), (3, 5), (7, 0)]  # step i of a round reads word (factor * i + offset) % 16
STEPS = [
    (step // 16, SINES[step], (ORDERS[step // 16][0] * step + ORDERS[step // 16][1]) % 16, SHIFTS[step // 16][step % 4])
    for step in range(64)
]
INITIAL = (0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)


def md5_texts(texts: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The digests (N, 16) of texts (N, length)."""
    count, length = texts.shape
    blocks = (length + 8) // 64 + 1
    padded = np.zeros((count, 64 * blocks), np.uint8)
    padded[:, :length] = texts
    padded[:, length] = 0x80
    padded[:, -8:] = np.frombuffer((8 * length).to_bytes(8, "little"), np.uint8)
    words = padded.view("<u4")
    digests = np.empty((count, 4), "<u4")
    for start in range(0, count, LANES):
        lanes = np.ascontiguousarray(words[start : start + LANES].T).reshape(blocks, 16, -1)
        digests[start : start + LANES] = np.stack(_digest(lanes), 1)
    return digests.view(np.uint8)


def _digest(lanes: Words) -> list[Words]:
    """The state after all blocks (blocks, 16, lanes)."""
    state = [np.full(lanes.shape[2], word, np.uint32) for word in INITIAL]
    for block in lanes:
        state = [before + after for before, after in zip(state, _mix(block, *state))]
    return state


def _mix(block: Words, a: Words, b: Words, c: Words, d: Words) -> tuple[Words, Words, Words, Words]:
    a, b, c, d = a.copy(), b.copy(), c.copy(), d.copy()  # their memory is written over
    mixed, rotated = np.empty_like(a), np.empty_like(a)
    for kind, sine, word, shift in STEPS:
        if kind == 0:  # (b & c) | (~b & d)
            np.bitwise_xor(c, d, mixed)
            mixed &= b
            mixed ^= d
        elif kind == 1:  # (b & d) | (c & ~d)
            np.bitwise_xor(b, c, mixed)
            mixed &= d
            mixed ^= c
        elif kind == 2:
            np.bitwise_xor(b, c, mixed)
            mixed ^= d
        else:
            np.bitwise_not(d, mixed)
            mixed |= b
            mixed ^= c
        mixed += a
        mixed += sine
        mixed += block[word]
        np.right_shift(mixed, np.uint32(32 - shift), rotated)
        mixed <<= np.uint32(shift)
        mixed |= rotated
        mixed += b
        a, b, c, d, mixed = d, mixed, b, c, a
    return a, b, c, d
