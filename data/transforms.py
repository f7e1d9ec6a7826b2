"""One image at a time on the CPU, by timm: evaluation geometry and training augmentation."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from torchvision import transforms

from configs.schema import Augment
from runtime.seeds import derive_seed

Transform = Callable[[Image.Image], torch.Tensor]


@dataclass(frozen=True)
class Geometry:
    """How an image becomes `size` x `size` pixels, and their channel means and deviations in [0, 1].

    Evaluation resizes the shorter side to size / crop_fraction and keeps the central square.
    """

    size: int
    crop_fraction: float
    interpolation: str
    mean: Sequence[float]
    std: Sequence[float]


def evaluation_transform(geometry: Geometry, normalize: bool = True) -> Transform:
    """PIL image -> (C, size, size): normalised float32, or the uint8 pixels before normalisation."""
    return create_transform(
        geometry.size,
        is_training=False,
        interpolation=geometry.interpolation,
        mean=tuple(geometry.mean),
        std=tuple(geometry.std),
        crop_pct=geometry.crop_fraction,
        normalize=normalize,
    )


def training_transform(geometry: Geometry, augment: Augment, color_jitter: float) -> Transform:
    """PIL image -> augmented, normalised (C, size, size) float32; draws from the global generators."""
    crop, color, final = create_transform(
        geometry.size,
        is_training=True,
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=augment.flip,
        color_jitter=color_jitter,
        auto_augment=augment.policy or None,
        interpolation=geometry.interpolation,
        mean=tuple(geometry.mean),
        std=tuple(geometry.std),
        re_prob=augment.erasing,
        separate=True,
    )
    if augment.scale is None:
        crop = _padded_crop(geometry, augment)
    return transforms.Compose([crop, color, final])


def _padded_crop(geometry: Geometry, augment: Augment) -> Transform:
    interpolation = transforms.InterpolationMode(geometry.interpolation)
    return transforms.Compose(
        [
            transforms.Resize(geometry.size, interpolation),
            transforms.CenterCrop(geometry.size),
            transforms.RandomCrop(geometry.size, padding=augment.crop_padding),
            transforms.RandomHorizontalFlip(augment.flip),
        ]
    )


@contextmanager
def seeded_libraries(seed: int, *tags: int | str) -> Iterator[None]:
    """Seed the global CPU generators that timm and torchvision draw from, and put their states back afterwards.

    `torch.manual_seed` would reset the accelerator's generators too, which the caller is using.
    """
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    value = derive_seed(seed, *tags)
    random.seed(value)
    np.random.seed(value % 2**32)
    torch.default_generator.manual_seed(value)
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])
