"""Random numbers as pure functions of (SEED, purpose, position), so that resuming needs no generator's state.

Generators are passed, never global. Library code that knows only the global generators (dropout, timm's augmentation)
is re-seeded at each step or sample by `seed_libraries`, which makes it a pure function of the position too.
"""

import hashlib
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive_seed(seed: int, *tags: int | str) -> int:
    """A 63-bit seed that depends on every tag: `derive_seed(0, "paths", epoch)`; independent tags do not collide."""
    digest = hashlib.blake2b(repr((seed, *tags)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def make_generator(seed: int, *tags: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh torch generator for one purpose and position."""
    return torch.Generator(device).manual_seed(derive_seed(seed, *tags))


def seed_libraries(seed: int, *tags: int | str) -> None:
    """Seed the global generators of random, numpy and torch for code that accepts no generator."""
    value = derive_seed(seed, *tags)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.manual_seed(value)


@contextmanager
def borrowed_libraries(seed: int) -> Iterator[Callable[..., None]]:
    """Yield a function of tags that seeds the global CPU generators, which timm and torchvision draw from.

    The generators' states are put back at the end. `torch.manual_seed` would reset the accelerator's generators too,
    which the caller is using.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()

    def reseed(*tags: int | str) -> None:
        value = derive_seed(seed, *tags)
        random.seed(value)
        np.random.seed(value % 2**32)
        torch.default_generator.manual_seed(value)

    try:
        yield reseed
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
