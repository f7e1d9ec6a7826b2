"""Exact random integers: below bounds of any size, below many bounds at once, and in a shuffled order without a list.

All are pure functions of a generator's state; no bound is met by a remainder or a rounded float, which would be biased.
"""

from __future__ import annotations

from hashlib import blake2b
from math import isqrt

import numpy as np
import torch

WORD_BITS = 62  # the widest power of two that torch draws from without a remainder
ROUNDS = 8


def uniform_words(count: int, generator: torch.Generator, bits: int = WORD_BITS) -> np.ndarray:
    """(count,) independent int64, uniform in [0, 2**bits), bits <= 62."""
    return torch.randint(2**bits, (count,), generator=generator, device=generator.device).cpu().numpy()


def uniform_below(bounds: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """(N,) independent int64, each exactly uniform in [0, bound) for its own bound in (N,), 1 <= bound <= 2**62.

    A word beyond the largest multiple of its bound is drawn again, so that every remainder is equally likely.
    """
    words = uniform_words(len(bounds), generator)
    while True:
        numbers = words % bounds
        again = np.flatnonzero(words - numbers > 2**WORD_BITS - bounds)
        if not len(again):
            return numbers
        words[again] = uniform_words(len(again), generator)


def uniform_integers(bound: int, count: int, generator: torch.Generator) -> list[int]:
    """`count` independent integers, exactly uniform in [0, bound) for a bound of any size.

    Random words are cut to the bound's bits, and draws beyond the bound are rejected (fewer than half of them).
    """
    bits = (bound - 1).bit_length()
    words = -(-bits // 32)
    accepted: list[int] = []
    while len(accepted) < count:
        missing = count - len(accepted)
        draws = uniform_words(missing * words, generator, 32).reshape(missing, words)
        numbers = [int.from_bytes(row.tobytes(), "little") >> (32 * words - bits) for row in draws.astype("<u4")]
        accepted += [number for number in numbers if number < bound]
    return accepted


class Shuffle:
    """A pseudo-random order of 0 … size - 1 for any size: `shuffle[i]` is the i-th number, each occurs once.

    A Feistel network (Luby and Rackoff 1988) permutes the pairs below isqrt(size - 1) + 1, with keyed BLAKE2b as its
    round function; where it leaves the range, it is applied again (cycle walking, Black and Rogaway 2002).

    Args:
        size: how many numbers.
        generator: gives the key of 128 bits.
    """

    def __init__(self, size: int, generator: torch.Generator):
        self._size, self._side = size, isqrt(size - 1) + 1
        self._bytes = -(-self._side.bit_length() // 8)
        key = uniform_words(4, generator, 32).astype("<u4").tobytes()
        self._rounds = [blake2b(key=key, digest_size=16, salt=bytes([index])) for index in range(ROUNDS)]

    def __getitem__(self, position: int) -> int:
        number = self._permute(position)
        while number >= self._size:
            number = self._permute(number)
        return number

    def _permute(self, number: int) -> int:
        left, right = divmod(number, self._side)
        for keyed in self._rounds:
            hashed = keyed.copy()
            hashed.update(right.to_bytes(self._bytes, "little"))
            left, right = right, (left + int.from_bytes(hashed.digest(), "little")) % self._side
        return left * self._side + right
