"""Images decoded and augmented one at a time by DataLoader processes, which send bytes: the device normalises."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from configs.errors import DataError
from data.augmentation import RandomErasing
from data.batches import Batch, Destination
from data.examples import Examples
from data.geometry import Transform
from data.splits import GlobalOrder
from data.unreadable import UnreadableImages, read_or_replace
from runtime.position import StepsPerEpoch
from runtime.seeds import borrowed_libraries

Key = tuple[int, int]  # (epoch, position in the split)
Finish = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_NOTHING = torch.empty(0)
_BROKEN_CONNECTION = (EOFError, ConnectionError, FileNotFoundError)  # a worker died while handing over a batch


class LoadedBatch(NamedTuple):
    """What a worker sends.

    Attributes:
        pixels: (B, H, W, C) uint8.
        draws: (B, RandomErasing.DRAWS) uniform numbers, each image's own.
        labels: (B,) int64.
        unreadable: the unreadable images that were met.
        complete: whether all of them were replaced.
    """

    pixels: torch.Tensor
    draws: torch.Tensor
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
        pixels, draws, labels, unreadable = [], [], [], []
        with borrowed_libraries(self._seed) as reseed:
            for epoch, position in keys:
                index, image, damaged = read_or_replace(self.examples.read, self.indices, position, self._seed)
                unreadable += damaged
                if image is not None:
                    reseed("augment", epoch, index)
                    pixels.append(self._transform(image).permute(1, 2, 0))
                    draws.append(torch.rand(RandomErasing.DRAWS))
                    labels.append(int(self.examples.labels[index]))
        if len(pixels) < len(keys):
            return LoadedBatch(_NOTHING, _NOTHING, _NOTHING, unreadable, complete=False)
        return LoadedBatch(torch.stack(pixels), torch.stack(draws), torch.tensor(labels), unreadable, complete=True)


class WorkerBatches:
    """A DataLoader over lists of keys whose batches arrive on the device, where `finish` makes images of them.

    Args:
        finish: (pixels, draws) of a `LoadedBatch`, on the device -> normalised images (B, C, H, W).

    Raises (while iterating):
        DataError: too many images are unreadable, or a worker process died.
    """

    def __init__(
        self,
        images: TransformedImages,
        keys: Iterable[list[Key]],
        finish: Finish,
        destination: Destination,
        workers: int,
        persistent: bool,
    ) -> None:
        self._unreadable = UnreadableImages(images.examples, len(images.indices), images.unreadable_limit)
        self._finish, self._destination = finish, destination
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
            device = self._destination.device
            pixels, draws = (values.to(device, non_blocking=True) for values in (loaded.pixels, loaded.draws))
            yield self._destination.receive(self._finish(pixels, draws), loaded.labels)

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

    def __init__(
        self,
        images: TransformedImages,
        order: GlobalOrder,
        finish: Finish,
        destination: Destination,
        workers: int,
    ) -> None:
        self._keys = _EpochKeys(order)
        self._batches = WorkerBatches(images, self._keys, finish, destination, workers, persistent=True)

    @property
    def steps(self) -> StepsPerEpoch:
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
        for _, positions, epochs in self.order.epoch(epoch, first_step):
            yield list(zip(epochs.tolist(), positions.tolist()))
