"""The kinds of spaces, and the space that a description says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from supernet.spaces.description import SpaceDescription
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.nasbench101.space import NasBench101Space
from supernet.spaces.nasbench201.space import NasBench201Space
from supernet.spaces.nasnet.space import NasNetSpace

# Each is made from its own kind of description, without one the published.
CELL_SPACES: dict[str, type[Any]] = {
    "nasbench101": NasBench101Space,
    "nasbench201": NasBench201Space,
    "nasnet": NasNetSpace,
}


def restore_space(description: Mapping[str, Any]) -> Any:
    """The space whose `description`, as plain values, a checkpoint or a pick.json keeps.

    Raises:
        ValueError: it describes none.
    """
    if (kind := description.get("kind")) in CELL_SPACES:
        return CELL_SPACES[kind](CELL_SPACES[kind].description_class.model_validate(description))
    return MBConvSpace(SpaceDescription.model_validate(description))
