from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

SHARED = Path(os.environ.get("ONEPATH_SHARED") or Path(__file__).parents[2] / "shared")


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str], Path]:
    """The path of a file beside the repository (`data/…`, `reference/…`); the test is skipped where it is absent."""

    def find(name: str) -> Path:
        path = SHARED / name
        if not path.is_file():
            pytest.skip(f"{path} is not here; set ONEPATH_SHARED to the folder that holds {name}")
        return path

    return find


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Tiny networks lose more than they gain by threads, and sums in one thread have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
