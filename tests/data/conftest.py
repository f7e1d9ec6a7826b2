from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from image_samples import TEST, TRAIN, write_class_folders

from configs.schema import Data
from data.loading import Images, load_images

CROP = {"SCALE": None, "CROP_PADDING": 2, "COLOR_JITTER": 0.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image folder: 41 train and 13 test PNGs of 12x12 in three classes."""
    write_class_folders(tmp_path / "images/train", TRAIN)
    write_class_folders(tmp_path / "images/val", TEST)
    return tmp_path / "images"


@pytest.fixture
def open_images(folder: Path) -> Callable[..., Images]:
    """Open the image folder for one rank; keys of DATA as keywords."""

    def open_rank(rank: int = 0, size: int = 1, **keys: Any) -> Images:
        keys = {"PATH": str(folder), "LOADER": "resident", "WORKERS": 0, "CROP_FRACTION": 1.0, "AUGMENT": CROP, **keys}
        world = SimpleNamespace(rank=rank, size=size)
        return load_images(Data(**keys), 7, 12, world=world, device=torch.device("cpu"))

    return open_rank
