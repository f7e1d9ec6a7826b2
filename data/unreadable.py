"""Damaged images: a few are replaced and named in a warning, many are an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import numpy as np

from configs.errors import DataError
from data.examples import Examples
from runtime.console import logger
from runtime.seeds import derive_seed

TOLERATED_COUNT = 9
ATTEMPTS = 20

_T = TypeVar("_T")


class UnreadableImages:
    """The unreadable images of a split that were met so far."""

    def __init__(self, examples: Examples, total: int, limit: float) -> None:
        self._examples = examples
        self._total = total
        self._limit = limit
        self._known: set[int] = set()

    def report(self, indices: Iterable[int]) -> None:
        """Warn of images not known yet.

        Raises:
            DataError: more than the share `limit` of the split (0: any; else at least 10 images) are unreadable.
        """
        new = sorted(set(indices) - self._known)
        if not new:
            return
        self._known.update(new)
        if len(self._known) > (max(TOLERATED_COUNT, self._limit * self._total) if self._limit else 0):
            self.fail()
        logger.warning("unreadable, replaced by another image (%d so far): %s", len(self._known), self._names(new))

    def fail(self) -> None:
        """Raise DataError that names the first few."""
        raise DataError(
            f"{len(self._known)} of {self._total} images are unreadable, more than DATA.UNREADABLE_LIMIT="
            f"{self._limit:g} lets pass; repair or remove them: {self._names(sorted(self._known))}"
        )

    def _names(self, indices: list[int]) -> str:
        return ", ".join(self._examples.name(index) for index in indices[:5]) + " …" * (len(indices) > 5)


def read_or_replace(
    read: Callable[[int], _T], indices: np.ndarray, position: int, seed: int
) -> tuple[int, _T | None, list[int]]:
    """Read the image at a position of a split, or in place of an unreadable one another of the same split.

    The replacement depends on the seed and the image alone, never on the batch, so that any number of processes see
    the same.

    Args:
        read: index -> the image; what it raises means that it is unreadable.
        indices: (N,) the images of the split.
        position: which of them to read.
        seed: of the job.

    Returns:
        The index that was read, what `read` gave (None: no luck in many attempts), and the unreadable indices met.
    """
    wanted = index = int(indices[position])
    unreadable: list[int] = []
    for attempt in range(ATTEMPTS):
        try:
            return index, read(index), unreadable
        except Exception:  # Pillow's decoders raise about any type for damaged files
            unreadable.append(index)
        index = int(indices[derive_seed(seed, "replacement", wanted, attempt) % len(indices)])
    return index, None, unreadable
