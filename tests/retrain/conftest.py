from __future__ import annotations

import pytest
import torch
import yaml

from configs.schema import Data
from data.loading import Images, load_images
from runtime.world import World
from supernet.catalog import Selection
from supernet.spaces.description import SpaceDescription
from supernet.spaces.mbconv import MBConvSpace

SPACE = """\
name: little
resolution: 8
channels: 1
classes: 10
stem: {channels: 8, kernel: 3, stride: 1, activation: swish}
operations:
  - {kernel: 3, expansion: 2, squeeze_excite: 0.25, activation: swish}
  - {kernel: 5, expansion: 4, activation: swish}
  - {block: skip}
stages:
  - {channels: 8, stride: 1, depth: [1, 3]}
  - {channels: 16, stride: 2, depth: [1, 2]}
head: {channels: 32, activation: swish}
"""


@pytest.fixture(scope="session")
def selection() -> Selection:
    """A network of four blocks, one of them skipped."""
    space = MBConvSpace(SpaceDescription.model_validate(yaml.safe_load(SPACE)))
    return Selection("chosen", space, space.parse("[[1,2,0],[1,0]]"))


@pytest.fixture(scope="session")
def digits() -> Images:
    """scikit-learn's digits, 8x8."""
    config = Data(NAME="digits", AUGMENT={"FLIP": 0.0, "SCALE": None, "CROP_PADDING": 1})
    return load_images(config, 0, 8, world=World(), device=torch.device("cpu"))
