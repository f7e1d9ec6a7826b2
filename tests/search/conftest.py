from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from tiny_search import open_digits, tiny_space

from data.loading import Images
from supernet.spaces.mbconv import MBConvSpace


@pytest.fixture(scope="session")
def digits() -> Images:
    """scikit-learn's digits, 8x8, split by a fixed seed."""
    return open_digits()


@pytest.fixture(scope="session")
def space() -> MBConvSpace:
    """468 architectures of at most 0.18 M MACs."""
    return tiny_space()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny networks lose more than they gain by threads, and sums in one thread have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
