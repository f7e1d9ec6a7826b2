"""Images decoded and augmented one at a time by DataLoader processes."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from configs.errors import DataError
from data.batches import Batch, Destination
from data.examples import Examples
from data.geometry import Transform
from data.splits import GlobalOrder
from data.unreadable import UnreadableImages, read_or_replace
from runtime.seeds import seeded_libraries

Key = tuple[int, int]  # (epoch, position in the split)

_BROKEN_CONNECTION = (EOFError, ConnectionError, FileNotFoundError)  # a worker died while handing over a batch


class LoadedBatch(NamedTuple):
    """What a worker sends: images, labels, the unreadable images that were met, and whether all were replaced."""

    images: torch.Tensor
    labels: torch.Tensor
    unreadable: list[int]
    complete: bool


class TransformedImages(TorchDataset):
    """The images of a split, transformed; read by whole batches of keys.

    A transform that draws from the global generators is a pure function of (seed, epoch, image).
    """

    def __init__(
        self, examples: Examples, indices: np.ndarray, transform: Transform, seed: int, unreadable_limit: float
    ) -> None:
        self.examples = examples
        self.indices = indices
        self.unreadable_limit = unreadable_limit
        self._transform = transform
        self._seed = seed

    def __getitems__(self, keys: Sequence[Key]) -> LoadedBatch:
        images, labels, unreadable = [], [], []
        for epoch, position in keys:
            index, image, damaged = read_or_replace(self.examples.read, self.indices, position, self._seed)
            unreadable += damaged
            if image is not None:
                with seeded_libraries(self._seed, "augment", epoch, index):
                    images.append(self._transform(image))
                labels.append(int(self.examples.labels[index]))
        stacked = torch.stack(images) if images else torch.empty(0)
        return LoadedBatch(stacked, torch.tensor(labels), unreadable, len(images) == len(keys))


class WorkerBatches:
    """A DataLoader over lists of keys whose batches arrive on the device.

    Raises (while iterating):
        DataError: too many images are unreadable, or a worker process died.
    """

    def __init__(
        self,
        images: TransformedImages,
        keys: Iterable[list[Key]],
        destination: Destination,
        workers: int,
        persistent: bool,
    ) -> None:
        self._unreadable = UnreadableImages(images.examples, len(images.indices), images.unreadable_limit)
        self._destination = destination
        self._loader = DataLoader(
            images,
            batch_sampler=keys,
            num_workers=workers,
            collate_fn=_unchanged,
            pin_memory=destination.device.type == "cuda",
            persistent_workers=persistent and workers > 0,
            generator=torch.Generator(),  # else each pass would draw from the global one
        )

    def __iter__(self) -> Iterator[Batch]:
        for loaded in self._loaded():
            self._unreadable.report(loaded.unreadable)
            if not loaded.complete:
                self._unreadable.fail()
            yield self._destination.receive(loaded.images, loaded.labels)

    def _loaded(self) -> Iterator[LoadedBatch]:
        try:
            with _child_signals_kept():
                batches = iter(self._loader)
            yield from batches
        except (RuntimeError, *_BROKEN_CONNECTION) as error:
            if isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error):
                raise
            raise DataError(
                f"a data loading process died ({str(error) or type(error).__name__}); the usual cause is too little "
                "memory or a small /dev/shm: lower DATA.WORKERS or TRAIN.BATCH_SIZE"
            ) from error


def _unchanged(batch: Any) -> Any:
    return batch


@contextmanager
def _child_signals_kept() -> Iterator[None]:
    """Undo the signal handler by which a dead worker would raise RuntimeError wherever the main thread happens to be.

    Without it the loader itself finds the death, within five seconds of waiting for a batch.
    """
    handler = signal.getsignal(signal.SIGCHLD)
    yield
    if handler is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, handler)


class WorkerTraining:
    """Training batches from workers that live as long as the loader."""

    def __init__(self, images: TransformedImages, order: GlobalOrder, destination: Destination, workers: int) -> None:
        self._keys = _EpochKeys(order)
        self._batches = WorkerBatches(images, self._keys, destination, workers, persistent=True)

    @property
    def steps(self) -> int:
        """Steps in an epoch."""
        return self._keys.order.steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch from `first_step` on."""
        self._keys.start = epoch, first_step
        yield from self._batches


class _EpochKeys:
    """The keys of the epoch that `start` (epoch, first step) names; it travels with the keys to living workers."""

    def __init__(self, order: GlobalOrder) -> None:
        self.order = order
        self.start = (0, 0)

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, first_step = self.start
        for _, positions in self.order.epoch(epoch, first_step):
            yield [(epoch, position) for position in positions.tolist()]
