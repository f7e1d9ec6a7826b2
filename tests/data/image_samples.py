"""Small image folders for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

TRAIN = {"cat": 14, "dog": 14, "fox": 13}
TEST = {"cat": 5, "dog": 4, "fox": 4}


def write_class_folders(folder: Path, counts: dict[str, int], size: tuple[int, int] = (12, 12)) -> None:
    """Write PNGs of noise, all different, as folder/<class>/000.png …"""
    noise = np.random.default_rng(sum(counts.values()))
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = noise.integers(0, 256, (*size, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index:03}.png")
