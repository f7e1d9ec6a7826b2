"""How an image becomes pixels of one size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image
from torch import Tensor

Transform = Callable[[Image.Image], Tensor]


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
