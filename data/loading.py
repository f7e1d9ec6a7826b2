"""One door to the images of a job: its splits and their loaders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch

from configs.errors import ConfigError, DataError
from configs.schema import Config, Data
from data.augmentation import BatchAugmentation, Normalization, RandomErasing
from data.batches import Batch, Destination, EvaluationLoader, TrainingLoader
from data.datasets import Dataset, count_classes, open_dataset
from data.examples import Examples
from data.geometry import Geometry
from data.resident import ResidentImages, ResidentTraining, iterate_resident, load_resident
from data.split_files import apply_split_file
from data.splits import HALVES, GlobalOrder, halve_test, split_search, take_subset
from data.workers import TransformedImages, WorkerBatches, WorkerTraining
from runtime.console import logger
from runtime.context import Runtime


class World(Protocol):
    """This process among all."""

    @property
    def rank(self) -> int:
        """From 0."""

    @property
    def size(self) -> int:
        """Number of processes."""


def read_shape(config: Data, resolution: int) -> dict[str, int]:
    """What a search space is fitted to: {"channels": …, "classes": …, "resolution": …}, before any image is listed.

    Args:
        config: the DATA section.
        resolution: pixels of each side where DATA.IMAGE_SIZE is null.

    Raises:
        DataError, ConfigError: as `load_images`, as far as it can be told without listing images.
    """
    classes, channels = count_classes(config)
    _check_keys(config, channels)
    return {"channels": channels, "classes": classes, "resolution": config.image_size or resolution}


def open_images(config: Config, resolution: int, runtime: Runtime) -> Images:
    """`load_images` for a job's configuration and runtime; says what it found."""
    images = load_images(
        config.data,
        config.seed,
        resolution,
        world=runtime.world,
        device=runtime.device,
        channels_last=runtime.memory_format is torch.channels_last,
    )
    runtime.log(f"{images.sizes} images of {images.num_classes} classes, {images.image_size} pixels")
    return images


def load_images(
    config: Data, seed: int, resolution: int, *, world: World, device: torch.device, channels_last: bool = False
) -> Images:
    """Open the data set of a job.

    Args:
        config: the DATA section.
        seed: SEED; the search split, orders and augmentation derive from it.
        resolution: pixels of each side where DATA.IMAGE_SIZE is null.
        world: this process among all.
        device: where batches arrive.
        channels_last: memory format of the batches.

    Raises:
        DataError: the data set is missing, damaged or inconsistent.
        ConfigError: keys of the section contradict each other or the data set.
    """
    dataset = open_dataset(config)
    if config.split_file:
        dataset = apply_split_file(dataset, config.split_file)
    _check_keys(config, dataset.channels)
    return Images(config, dataset, seed, config.image_size or resolution, world, Destination(device, channels_last))


class Images:
    """A data set's three splits, never mixed: train, search (held out of the training images by the seed) and test.

    "xvalid" and "xtest" are halves of the test split, under the names of NAS-Bench-201. Images are decoded when a
    loader first needs their split, so that a search never touches the test images.
    """

    def __init__(
        self, config: Data, dataset: Dataset, seed: int, image_size: int, world: World, destination: Destination
    ) -> None:
        self.classes = dataset.classes
        self.channels = dataset.channels
        self.image_size = image_size
        self._config = config
        self._dataset = dataset
        self._seed = seed
        self._world = world
        self._destination = destination
        self._geometry = _geometry(config, dataset, image_size)
        self._normalize = Normalization(self._geometry.mean, self._geometry.std, image_size, destination.device)
        self._split_seed = seed if config.split_seed is None else config.split_seed
        train, search = split_search(dataset.train.labels, config.search_fraction, self._split_seed, dataset.held_out)
        _check_split(dataset, train, search, config.search_fraction)
        self._splits = {"train": train, "search": search, "test": np.arange(len(dataset.test.labels))}
        self._residents: dict[str, ResidentImages] = {}

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)

    @property
    def sizes(self) -> dict[str, int]:
        """Images of each split: {"train": …, "search": …, "test": …}."""
        return {split: len(indices) for split, indices in self._splits.items()}

    def describe(self) -> dict[str, Any]:
        """Class names, and how an image becomes pixels: what a network's users need to know, as plain values."""
        return {"classes": list(self.classes), **asdict(self._geometry)}

    def training(
        self,
        batch_size: int,
        split: str = "train",
        steps_per_epoch: int | None = None,
        across_epochs: bool = False,
    ) -> TrainingLoader:
        """Augmented batches of "train", or of "train+search" for a network that is not compared on the search split.

        Args:
            batch_size: images of a step on this rank.
            split: the images.
            steps_per_epoch: at most so many; None: all.
            across_epochs: what an epoch leaves over begins the next one's first batch.

        Raises:
            DataError: fewer images than one global batch, or too many of them unreadable.
        """
        if split not in ("train", "train+search"):
            raise ValueError(f"{split!r} is not a split to train on")
        indices = np.concatenate([self._splits[part] for part in split.split("+")])
        world, config = self._world, self._config
        order = GlobalOrder(
            len(indices), batch_size, self._seed, world.rank, world.size, steps_per_epoch, across_epochs
        )
        if _is_resident(config):
            augment = BatchAugmentation(config.augment, self._normalize, config.interpolation)
            return ResidentTraining(self._resident("train"), indices, order, augment, self._destination)
        from data.transforms import training_transform  # slow to import

        transform = training_transform(self._geometry, config.augment, _color_jitter(config))
        images = TransformedImages(self._dataset.train, indices, transform, self._seed, config.unreadable_limit)
        erase = RandomErasing(config.augment)

        def finish(pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
            return erase(self._normalize(pixels), draws)

        return WorkerTraining(images, order, finish, self._destination, config.workers)

    def evaluation(
        self, split: str, batch_size: int, limit: int | None = None, shard: bool = True, keep: bool = False
    ) -> EvaluationLoader:
        """Batches of a split under the evaluation transform.

        Args:
            split: "train", "search", "test", "xvalid" or "xtest".
            batch_size: images of a batch on this rank.
            limit: so many images only, always the same, with the classes in proportion; None: all.
            shard: this rank's share, so that all ranks together see each image once; False: the same on every rank.
            keep: hold the batches on the device after the first pass.

        Raises:
            DataError: the split is empty, or too many of its images are unreadable.
        """
        indices = self._subset(split, limit)
        own = np.arange(len(indices))[self._world.rank :: self._world.size] if shard else np.arange(len(indices))
        iterate = self._iterate_resident if _is_resident(self._config) else self._iterate_workers
        return EvaluationLoader(len(own), iterate(split, indices, own, batch_size), keep)

    def _subset(self, split: str, limit: int | None) -> np.ndarray:
        if split in HALVES and split not in self._splits:
            halves = halve_test(self._dataset.test.labels, self._split_seed, self._dataset.test_halves)
            self._splits |= zip(HALVES, halves)
        indices = self._splits[split]
        if not len(indices):
            raise DataError(f"no images are held out as {split} split; raise DATA.SEARCH_FRACTION")
        if limit is None or limit >= len(indices):
            return indices
        labels = self._examples(split).labels
        return indices[take_subset(labels[indices], limit, self._seed, split)]

    def _examples(self, split: str) -> Examples:
        return self._dataset.test if split in ("test", *HALVES) else self._dataset.train

    def _iterate_resident(
        self, split: str, indices: np.ndarray, own: np.ndarray, batch_size: int
    ) -> Callable[[], Iterator[Batch]]:
        resident = self._resident("test" if self._examples(split) is self._dataset.test else "train")
        chosen = resident.locate(indices, self._seed)[own]
        return partial(iterate_resident, resident, chosen, batch_size, self._normalize, self._destination)

    def _iterate_workers(
        self, split: str, indices: np.ndarray, own: np.ndarray, batch_size: int
    ) -> Callable[[], Iterator[Batch]]:
        from data.transforms import evaluation_transform  # slow to import

        transform, limit = evaluation_transform(self._geometry), self._config.unreadable_limit
        images = TransformedImages(self._examples(split), indices, transform, self._seed, limit)
        keys = [[(0, int(p)) for p in own[start : start + batch_size]] for start in range(0, len(own), batch_size)]
        workers = min(self._config.workers, len(keys))

        def finish(pixels: torch.Tensor, draws: torch.Tensor) -> torch.Tensor:
            return self._normalize(pixels)

        return WorkerBatches(images, keys, finish, self._destination, workers, persistent=False).__iter__

    def _resident(self, source: str) -> ResidentImages:
        if source not in self._residents:
            self._residents[source] = load_resident(
                self._examples(source),
                self._geometry,
                self._destination.device,
                self._config.unreadable_limit,
                self._config.workers,
                self._world.rank == 0,
            )
        return self._residents[source]


def _check_split(dataset: Dataset, train: np.ndarray, search: np.ndarray, fraction: float) -> None:
    """Refuse to train without a class; a class that is only missing where accuracy is measured is a warning."""
    labels = dataset.train.labels
    if missing := _missing_classes(dataset, labels[train]):
        raise DataError(f"DATA.SEARCH_FRACTION={fraction:g} leaves no training image of class {missing}; lower it")
    if len(search) and (missing := _missing_classes(dataset, labels[search])):
        logger.warning("DATA.SEARCH_FRACTION=%g holds out no image of class %s", fraction, missing)


def _missing_classes(dataset: Dataset, labels: np.ndarray) -> str:
    missing = np.flatnonzero(np.bincount(labels, minlength=len(dataset.classes)) == 0)
    more = f" … ({len(missing)} classes)" if len(missing) > 5 else ""
    return ", ".join(dataset.classes[label] for label in missing[:5]) + more


def _geometry(config: Data, dataset: Dataset, image_size: int) -> Geometry:
    mean, std = dataset.statistics
    crop_fraction = config.crop_fraction if config.name == "image_folder" else 1.0
    return Geometry(image_size, crop_fraction, config.interpolation, config.mean or mean, config.std or std)


def _is_resident(config: Data) -> bool:
    return config.loader == "resident" or (config.loader == "auto" and config.name != "image_folder")


def _color_jitter(config: Data) -> float:
    return config.augment.color_jitter if config.name == "image_folder" else 0.0


def _check_keys(config: Data, channels: int) -> None:
    augment = config.augment
    for key, values in (("MEAN", config.mean), ("STD", config.std)):
        if values is not None and len(values) != channels:
            raise ConfigError(f"DATA.{key} has {len(values)} numbers; {config.name} images have {channels} channels")
    if augment.scale and augment.crop_padding:
        raise ConfigError("DATA.AUGMENT.CROP_PADDING and SCALE are two ways to crop; set SCALE=null or CROP_PADDING=0")
    if augment.policy and _is_resident(config):
        raise ConfigError("DATA.AUGMENT.POLICY works on single images; set DATA.LOADER=workers, or POLICY=''")
    if _color_jitter(config) and _is_resident(config):
        logger.warning("DATA.AUGMENT.COLOR_JITTER has no effect with DATA.LOADER=resident")
