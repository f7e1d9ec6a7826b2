"""What the jobs need of a space, whichever kind its architectures are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn

from configs.errors import SpaceError
from supernet.cost import Cost

if TYPE_CHECKING:
    from pydantic import BaseModel

    from supernet.networks.nasbench101 import CellNetwork
    from supernet.networks.nasbench201 import TinyNetwork
    from supernet.networks.nasnet import NasNetwork
    from supernet.networks.plain import MBConvNetwork
    from supernet.networks.supernets import Supernet
    from supernet.window import FlopsWindow
    from supernet.window_costed import CostedWindow, SearchWindow

    PlainNetwork = MBConvNetwork | CellNetwork | TinyNetwork | NasNetwork


class SearchSpace(Protocol):
    """A space as retrain.py, test.py and the tools of one network see it: that of MBConv layers, or one of cells.

    Its architectures are immutable, hashable values, of a class of the space's own, with `to_list()`, which `parse`
    reads back. A space without weight sharing refuses `build_supernet` and `extract` with a SpaceError. `description`
    is all that a checkpoint keeps of the space (`supernet.spaces.kinds.restore_space`).
    """

    name: str
    resolution: int
    channels: int
    classes: int

    @property
    def encodings(self) -> tuple[str, ...]:
        """The ways in which `build_supernet` shares weights; none in a space without a supernet."""

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


class SharedSpace(SearchSpace, Protocol):
    """A space as train.py sees it, which shares weights and has a window: `MBConvSpace`, `NasBench201Space`.

    Its architectures have `stages`: for each stage the index of the operation at each of its layers.
    """

    @property
    def count(self) -> int:
        """Number of architectures."""

    @property
    def depths(self) -> tuple[int, ...]:
        """The number of layers of each stage, at the largest depth."""

    def operations(self, stage: int) -> tuple[Any, ...]:
        """The candidates of a stage; architectures hold indices into this tuple."""

    def choices(self, stage: int, layer: int) -> Mapping[int, Any]:
        """Operations offered at a layer, by their indices."""

    def at_resolution(self, resolution: int) -> SharedSpace:
        """The same space for other images; costs follow."""

    def adapted(self, *, channels: int, classes: int, resolution: int) -> SharedSpace:
        """The same space for a data set's channels and classes, at a resolution; costs follow."""

    def window(self, minimum: int, maximum: int, resolution: int | None = None) -> FlopsWindow | CostedWindow[Any]:
        """The architectures with minimum <= MACs <= maximum; WindowError when there is none."""

    def window_of(self, minimum: int, maximum: int, resolutions: Sequence[int] | None) -> SearchWindow:
        """The window of a search: over architectures, or over pairs with one of these resolutions."""

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> Supernet:
        """The weight-sharing network that holds every architecture, freshly initialised."""


def check_encoding(space: SearchSpace, encoding: str) -> None:
    """Refuse an encoding of weights that a space does not have.

    Raises:
        SpaceError: the message names those that it has.
    """
    if encoding not in space.encodings:
        raise SpaceError(
            f"{space.name} shares weights only as SUPERNET.ENCODING={', '.join(space.encodings)}, not {encoding}"
        )
