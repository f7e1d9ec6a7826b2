"""Which images belong to which split, to which rank, and in which order: pure functions of the seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch

from configs.errors import DataError
from runtime.position import StepsPerEpoch, steps_before
from runtime.seeds import make_generator

HALVES = ("xvalid", "xtest")  # of the test split


def stratified_order(labels: np.ndarray, generator: torch.Generator) -> np.ndarray:
    """A random order of the images in which every prefix holds the classes in proportion.

    With C classes, n_c images of class c and n in all, the first m hold m * n_c / n of class c to within
    1 + C * n_c / n; exactly, where the classes are equally large and C divides m.

    Args:
        labels: (N,) int64, the class of each image.
        generator: drawn from for the order within a class and among classes.

    Returns:
        (N,) int64, a permutation of 0 … N - 1.
    """
    order = torch.randperm(len(labels), generator=generator).numpy()
    shuffled = labels[order]
    counts = np.bincount(labels)
    by_class = np.argsort(shuffled, kind="stable")
    rank_in_class = np.empty(len(labels))
    rank_in_class[by_class] = np.arange(len(labels)) - np.repeat(counts.cumsum() - counts, counts)
    return order[np.argsort((rank_in_class + 0.5) / counts[shuffled], kind="stable")]


def split_search(
    labels: np.ndarray, fraction: float, seed: int, held_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Hold out `fraction` of the training images, stratified by class: sorted indices (train, search).

    Where the data set says itself which images are `held_out`, it is these at any fraction above 0.
    """
    if held_out is not None and fraction:
        return np.setdiff1d(np.arange(len(labels)), held_out), held_out
    order = stratified_order(labels, make_generator(seed, "search split"))
    count = round(fraction * len(labels))
    return np.sort(order[count:]), np.sort(order[:count])


def halve_test(
    labels: np.ndarray, seed: int, halves: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Two halves of the test images, stratified by class: sorted indices; `halves`, where the data set says them."""
    if halves is not None:
        return halves
    order = stratified_order(labels, make_generator(seed, "test halves"))
    return np.sort(order[: len(labels) // 2]), np.sort(order[len(labels) // 2 :])


def take_subset(labels: np.ndarray, limit: int, seed: int, split: str) -> np.ndarray:
    """Positions of the same `limit` images at each call, classes in proportion."""
    return stratified_order(labels, make_generator(seed, "subset", split))[:limit]


class Share(NamedTuple):
    """This rank's part of a step: positions in the split (B,) int64, and the epoch that each is of (B,) int64."""

    step: int
    positions: torch.Tensor
    epochs: torch.Tensor


@dataclass(frozen=True)
class GlobalOrder:
    """The order of an epoch over all ranks, so that N ranks together see what one rank with N-fold batches sees.

    Step s takes entries s * G … (s + 1) * G of the epoch's permutation, G = batch_size * world_size; each rank has a
    contiguous slice of it. What is left after the last whole global batch is dropped, or, with `across_epochs`, comes
    before the next epoch's permutation: the batches are cut from the endless stream of permutations.
    """

    count: int
    batch_size: int
    seed: int
    rank: int = 0
    world_size: int = 1
    limit: int | None = None
    across_epochs: bool = False

    def __post_init__(self) -> None:
        if self.count < self.global_batch:
            raise DataError(
                f"{self.count} training images are fewer than one global batch of {self.global_batch} "
                f"({self.batch_size} on each of {self.world_size} processes); lower TRAIN.BATCH_SIZE "
                "(or TRAIN.ACCUMULATION)"
            )

    @property
    def global_batch(self) -> int:
        """Images in a step over all ranks."""
        return self.batch_size * self.world_size

    @property
    def steps(self) -> StepsPerEpoch:
        """Steps in an epoch."""
        if self.across_epochs:
            return Fraction(self.count, self.global_batch)
        available = self.count // self.global_batch
        return available if self.limit is None else min(available, self.limit)

    @property
    def own(self) -> slice:
        """This rank's part of a global batch."""
        return slice(self.rank * self.batch_size, (self.rank + 1) * self.batch_size)

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Share]:
        """This rank's share of an epoch's steps, from `first_step` on."""
        left = epoch * self.count % self.global_batch if self.across_epochs else 0
        order = self._permutation(epoch)
        if left:
            order = torch.cat([self._permutation(epoch - 1)[-left:], order])
        epochs = torch.full_like(order, epoch)
        epochs[:left] -= 1
        for step in range(first_step, steps_before(epoch + 1, self.steps) - steps_before(epoch, self.steps)):
            start = step * self.global_batch
            yield Share(step, order[start:][self.own], epochs[start:][self.own])

    def _permutation(self, epoch: int) -> torch.Tensor:
        return torch.randperm(self.count, generator=make_generator(self.seed, "order", epoch))
