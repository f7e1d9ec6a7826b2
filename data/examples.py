"""Labelled images as stored: an array in memory or files on disk. Reading one gives a PIL image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image


class Examples(Protocol):
    """A list of labelled images."""

    @property
    def labels(self) -> np.ndarray:
        """(N,) int64, the class of each image."""

    def read(self, index: int) -> Image.Image:
        """The image. Anything that Pillow or the disk raises means that it is unreadable."""

    def name(self, index: int) -> str:
        """What to call the image in a message."""


@dataclass(frozen=True, eq=False)
class ImageArray:
    """Images in memory: `pixels` (N, H, W, C) uint8 with C = 1 or 3."""

    pixels: np.ndarray
    labels: np.ndarray

    def read(self, index: int) -> Image.Image:
        pixels = self.pixels[index]
        return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)

    def name(self, index: int) -> str:
        return f"image {index}"


class EncodedImages(Examples, Protocol):
    """Labelled images that are files, or parts of one."""

    def encoded(self, index: int) -> bytes:
        """The image as its file holds it."""

    def member(self, index: int) -> str:
        """Its path below the folder of its split: <class>/<image>."""


@dataclass(frozen=True, eq=False)
class ImageFiles:
    """Image files below `folder`, read as RGB."""

    folder: Path
    names: np.ndarray = field(repr=False)  # bytes: one block that forked workers share, where a list would be copied
    labels: np.ndarray = field(repr=False)

    @classmethod
    def from_names(cls, folder: Path, names: Sequence[str], labels: np.ndarray) -> ImageFiles:
        """Files by their paths relative to `folder`."""
        return cls(folder, np.array([os.fsencode(name) for name in names]), labels)

    def read(self, index: int) -> Image.Image:
        with Image.open(self.name(index)) as image:
            return as_rgb(image)

    def name(self, index: int) -> str:
        return os.path.join(self.folder, self.member(index))

    def encoded(self, index: int) -> bytes:
        return Path(self.name(index)).read_bytes()

    def member(self, index: int) -> str:
        return os.fsdecode(self.names[index])


def as_rgb(image: Image.Image) -> Image.Image:
    """8 bits a channel. Pillow alone would clip grey images of 16 bits to white, and those of floats to black."""
    if image.mode == "RGB":
        image.load()  # `convert` would copy it
        return image
    if image.mode == "F":
        raise ValueError("float pixels have no known range")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8))
    return image.convert("RGB")
