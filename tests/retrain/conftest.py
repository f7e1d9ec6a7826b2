from __future__ import annotations

import pytest
import torch
from little_network import little_selection

from configs.schema import Data
from data.loading import Images, load_images
from runtime.world import World
from supernet.catalog import Selection


@pytest.fixture(scope="session")
def selection() -> Selection:
    """A network of four blocks, one of them skipped."""
    return little_selection()


@pytest.fixture(scope="session")
def digits() -> Images:
    """scikit-learn's digits, 8x8."""
    config = Data(NAME="digits", AUGMENT={"FLIP": 0.0, "SCALE": None, "CROP_PADDING": 1})
    return load_images(config, 0, 8, world=World(), device=torch.device("cpu"))
