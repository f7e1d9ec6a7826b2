"""A network that trains in milliseconds."""

from __future__ import annotations

import yaml

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


def little_selection() -> Selection:
    """A network of four blocks, one of them skipped."""
    space = MBConvSpace(SpaceDescription.model_validate(yaml.safe_load(SPACE)))
    return Selection("chosen", space, space.parse("[[1,2,0],[1,0]]"))
