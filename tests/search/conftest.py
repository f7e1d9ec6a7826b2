from __future__ import annotations

import pytest
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
