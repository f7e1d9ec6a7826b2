"""What the jobs need of a space, whichever kind its architectures are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from supernet.cost import Cost

if TYPE_CHECKING:
    from pydantic import BaseModel

    from supernet.networks.nasbench101 import CellNetwork
    from supernet.networks.nasbench201 import TinyNetwork
    from supernet.networks.nasnet import NasNetwork
    from supernet.networks.plain import MBConvNetwork

    PlainNetwork = MBConvNetwork | CellNetwork | TinyNetwork | NasNetwork


class SearchSpace(Protocol):
    """A space as retrain.py, test.py and the tools of one network see it: that of MBConv layers, or one of cells.

    Its architectures are immutable, hashable values, of a class of the space's own, with `to_list()`, which `parse`
    reads back. A space without weight sharing refuses `build_supernet` and `extract` with a SpaceError. `description`
    is all that a checkpoint keeps of the space (`supernet.catalog.restore_space`).
    """

    name: str
    resolution: int
    channels: int
    classes: int

    @property
    def description(self) -> BaseModel:
        """The space itself, as plain values."""

    def adapted(self, *, channels: int, classes: int, resolution: int) -> SearchSpace:
        """The same space for a data set's channels and classes, at a resolution; costs follow."""

    def at_resolution(self, resolution: int) -> SearchSpace:
        """The same space for other images; costs follow."""

    def parse(self, text: Any) -> Any:
        """An architecture from its text form or nested list; SpaceError where it is none."""

    def text(self, architecture: Any) -> str:
        """The text form that `parse` reads."""

    def validate(self, architecture: Any) -> Any:
        """Return the architecture, or raise SpaceError."""

    def sample(self, generator: torch.Generator) -> Any:
        """One architecture, uniform over the whole space."""

    def cost(self, architecture: Any, resolution: int | None = None) -> Cost:
        """Exact MACs for one image and parameters."""

    def build_network(self, architecture: Any, generator: torch.Generator | None = None) -> PlainNetwork:
        """The plain network of an architecture, freshly initialised."""

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> nn.Module:
        """The weight-sharing network that holds every architecture."""

    def extract(self, supernet: Any, architecture: Any) -> PlainNetwork:
        """The plain network of an architecture with the supernet's weights."""
