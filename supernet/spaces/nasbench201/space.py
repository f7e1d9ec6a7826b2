"""The space `nasbench201`: its cells, what their networks cost, and the networks themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import torch

from configs.errors import SpaceError
from supernet.cost import Cost
from supernet.spaces.nasbench201.cell import COUNT, Cell, CellError, all_cells, cell_from_names, parse_cell
from supernet.spaces.nasbench201.costs import NasBench201Description, cell_cost

if TYPE_CHECKING:
    from supernet.networks.nasbench201 import TinyNetwork


class NasBench201Space:
    """All 15,625 cells, in a network of three stages of five of them."""

    def __init__(self, description: NasBench201Description | None = None) -> None:
        self.description = description or NasBench201Description()
        self.name: str = self.description.name
        self.resolution = self.description.resolution
        self.channels = self.description.channels
        self.classes = self.description.classes

    def adapted(self, *, channels: int, classes: int, resolution: int) -> NasBench201Space:
        """The same space for a data set's channels and classes, at a resolution; costs follow."""
        update = {"channels": channels, "classes": classes, "resolution": resolution}
        return NasBench201Space(self.description.model_copy(update=update))

    def at_resolution(self, resolution: int) -> NasBench201Space:
        """The same space for other images; costs follow."""
        return self.adapted(channels=self.channels, classes=self.classes, resolution=resolution)

    def parse(self, value: Any) -> Cell:
        """A cell from its architecture string, its official index, or its six operations' names.

        Raises:
            SpaceError: none of them.
        """
        if isinstance(value, list | tuple):
            return cell_from_names(value)
        text = str(value)
        if not text.isdecimal():
            return parse_cell(text)
        if int(text) >= COUNT:
            raise CellError(f"there is no cell {text} of NAS-Bench-201: indices go from 0 to {COUNT - 1}")
        return all_cells()[int(text)]

    def text(self, cell: Cell) -> str:
        """The architecture string."""
        return str(cell)

    def validate(self, cell: Cell) -> Cell:
        """Return the cell; every `Cell` is one of this space.

        Raises:
            SpaceError: an architecture of another space.
        """
        if not isinstance(cell, Cell):
            raise SpaceError(f"{cell!r} is no cell of space {self.name!r}")
        return cell

    @property
    def count(self) -> int:
        """Number of cells."""
        return COUNT

    def sample(self, generator: torch.Generator) -> Cell:
        """One cell, uniform over all of them."""
        return all_cells()[int(torch.randint(COUNT, (), generator=generator))]

    def cost(self, cell: Cell, resolution: int | None = None) -> Cost:
        """FLOPs for one image, as published (the classifier's biases count too), and parameters; both exact."""
        space = self.at_resolution(resolution) if resolution else self
        return cell_cost(space.description, self.validate(cell))

    def build_network(self, cell: Cell, generator: torch.Generator | None = None) -> TinyNetwork:
        """The network of a cell, freshly initialised (from seed 0 without a generator)."""
        from supernet.networks.nasbench201 import TinyNetwork

        network = TinyNetwork(self.description, self.validate(cell).to_nodes())
        network.initialize(generator or torch.Generator().manual_seed(0))
        return network

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> NoReturn:
        """Refused: its cells are trained one by one.

        Raises:
            SpaceError: always.
        """
        raise SpaceError(
            f"{self.name} shares no weights between its cells, so there is no supernet: train one with retrain.py"
        )

    def extract(self, supernet: object, cell: Cell) -> NoReturn:
        """Refused as `build_supernet`."""
        self.build_supernet("")
