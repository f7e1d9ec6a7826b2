"""One image at a time on the CPU, by timm: evaluation geometry and training augmentation, up to the pixels.

Importing timm and torchvision takes seconds, so this module is imported only where single images are transformed.
"""

from __future__ import annotations

from configs.errors import ConfigError
from configs.schema import Augment
from data.geometry import Geometry, Transform
from runtime.compatibility import import_torchvision

import_torchvision()

from timm.data import create_transform  # noqa: E402
from torchvision import transforms  # noqa: E402


def evaluation_transform(geometry: Geometry) -> Transform:
    """PIL image -> pixels (C, size, size) uint8."""
    return create_transform(
        geometry.size,
        is_training=False,
        interpolation=geometry.interpolation,
        crop_pct=geometry.crop_fraction,
        normalize=False,
    )


def training_transform(geometry: Geometry, augment: Augment, color_jitter: float) -> Transform:
    """PIL image -> augmented pixels (C, size, size) uint8, nothing erased; draws from the global generators.

    Raises:
        ConfigError: timm does not know the policy.
    """
    _check_policy(augment.policy)
    crop, color, final = create_transform(
        geometry.size,
        is_training=True,
        scale=augment.scale,
        ratio=augment.ratio,
        hflip=augment.flip,
        color_jitter=color_jitter,
        auto_augment=augment.policy or None,
        interpolation=geometry.interpolation,
        mean=tuple(geometry.mean),  # auto-augment fills with it
        normalize=False,
        separate=True,
    )
    if augment.scale is None:
        crop = _padded_crop(geometry, augment)
    return transforms.Compose([crop, color, final])


def _check_policy(policy: str) -> None:
    try:
        create_transform(32, is_training=True, auto_augment=policy or None)
    except (AssertionError, ValueError, KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"DATA.AUGMENT.POLICY {policy!r} is none that timm knows ({error}); write one such as rand-m9-mstd0.5, "
            "augmix-m5-w4, or original"
        ) from error


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
