"""What spaces of cells have in common: a network around the cell, fitted to images, and no shared weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from configs.errors import SpaceError

if TYPE_CHECKING:
    from typing_extensions import Self


class CellSpace:
    """A space whose architectures are cells.

    Attributes:
        description_class: of what surrounds the cells; its defaults are the published network's.
        encodings: ways to share weights; none: each architecture is trained by itself.
    """

    description_class: ClassVar[type[Any]]
    encodings: tuple[str, ...] = ()

    def __init__(self, description: Any = None) -> None:
        self.description = description or self.description_class()
        self.name: str = self.description.name
        self.resolution: int = self.description.resolution
        self.channels: int = self.description.channels
        self.classes: int = self.description.classes

    def adapted(self, *, channels: int, classes: int, resolution: int) -> Self:
        """The same space for a data set's channels and classes, at a resolution; costs follow."""
        update = {"channels": channels, "classes": classes, "resolution": resolution}
        return type(self)(self.description.model_copy(update=update))

    def at_resolution(self, resolution: int) -> Self:
        """The same space for other images; costs follow."""
        return self.adapted(channels=self.channels, classes=self.classes, resolution=resolution)

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> Any:
        """Refused, but by spaces that have one.

        Raises:
            SpaceError: always.
        """
        raise SpaceError(
            f"{self.name} shares no weights between its cells, so there is no supernet: train one with retrain.py"
        )

    def extract(self, supernet: Any, architecture: Any) -> Any:
        """Refused as `build_supernet`."""
        self.build_supernet("")
