"""A small data set decoded once, kept on the device as uint8 and augmented there."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from data.augmentation import BatchAugmentation, Normalization
from data.batches import Batch, Destination
from data.examples import Examples, ImageArray
from data.geometry import Geometry
from data.splits import GlobalOrder
from data.unreadable import UnreadableImages, read_or_replace
from runtime.position import StepsPerEpoch
from runtime.progress import track
from runtime.seeds import make_generator

_RESIZED_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class ResidentImages:
    """pixels (N, H, W, C) uint8 and labels (N,) int64 on the device; the pixels of unreadable images are undefined."""

    pixels: torch.Tensor
    labels: torch.Tensor
    unreadable: frozenset[int] = frozenset()

    def locate(self, indices: np.ndarray, seed: int) -> torch.Tensor:
        """The images of a split as a tensor on the device, unreadable ones replaced by others of the split."""
        if self.unreadable:
            indices = np.array([read_or_replace(self._check, indices, p, seed)[0] for p in range(len(indices))])
        return torch.from_numpy(indices).to(self.pixels.device)

    def _check(self, index: int) -> None:
        if index in self.unreadable:
            raise ValueError(index)


def load_resident(
    examples: Examples,
    geometry: Geometry,
    device: torch.device,
    unreadable_limit: float,
    threads: int = 1,
    progress: bool = False,
) -> ResidentImages:
    """Decode and resize every image once, as the evaluation transform does before it normalises.

    Raises:
        DataError: too many images are unreadable.
    """
    labels = torch.from_numpy(examples.labels)
    unreadable: list[int] = []
    if isinstance(examples, ImageArray):
        pixels = _resize(torch.from_numpy(examples.pixels), geometry)
    else:
        pixels = _decode(examples, geometry, unreadable, threads, progress)
        UnreadableImages(examples, len(labels), unreadable_limit).report(unreadable)
    return ResidentImages(pixels.to(device), labels.to(device), frozenset(unreadable))


def _resize(pixels: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    if pixels.shape[1:3] == (geometry.size, geometry.size):
        return pixels
    return torch.cat([_resize_part(part, geometry) for part in pixels.split(_RESIZED_AT_ONCE)])


def _resize_part(pixels: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    planes = pixels.permute(0, 3, 1, 2).float()
    resized = F.interpolate(planes, (geometry.size,) * 2, mode=geometry.interpolation, antialias=True)
    return resized.round_().clamp_(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _decode(
    examples: Examples, geometry: Geometry, unreadable: list[int], threads: int, progress: bool
) -> torch.Tensor:
    from data.transforms import evaluation_transform  # slow to import

    transform = evaluation_transform(geometry)
    count, size = len(examples.labels), geometry.size
    pixels = torch.empty(count, size, size, len(geometry.mean), dtype=torch.uint8)

    def decode(index: int) -> None:
        try:
            image = examples.read(index)
        except Exception:  # Pillow's decoders raise about any type for damaged files
            unreadable.append(index)
        else:
            pixels[index] = transform(image).permute(1, 2, 0)

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        decoded = pool.map(decode, range(count))
        for _ in track(decoded, count, "decoding", "images", enabled=progress):
            pass
    return pixels


class ResidentTraining:
    """Training batches from resident images. Augmentation is drawn for the global batch, then sliced."""

    def __init__(
        self,
        resident: ResidentImages,
        indices: np.ndarray,
        order: GlobalOrder,
        augment: BatchAugmentation,
        destination: Destination,
    ) -> None:
        self._resident = resident
        self._indices = resident.locate(indices, order.seed)
        self._order = order
        self._augment = augment
        self._destination = destination

    @property
    def steps(self) -> StepsPerEpoch:
        """Steps in an epoch."""
        return self._order.steps

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """This rank's batches of an epoch from `first_step` on."""
        order, device = self._order, self._destination.device
        for step, positions, _ in order.epoch(epoch, first_step):
            draws = self._augment.draw(order.global_batch, make_generator(order.seed, "augment", epoch, step))
            chosen = self._indices[positions.to(device)]
            images = self._augment(self._resident.pixels[chosen], draws[order.own].to(device))
            yield self._destination.receive(images, self._resident.labels[chosen])


def iterate_resident(
    resident: ResidentImages,
    indices: torch.Tensor,
    batch_size: int,
    normalize: Normalization,
    destination: Destination,
) -> Iterator[Batch]:
    """Evaluation batches of the images `indices` (N,), in that order."""
    for chosen in indices.split(batch_size):
        yield destination.receive(normalize(resident.pixels[chosen]), resident.labels[chosen])
