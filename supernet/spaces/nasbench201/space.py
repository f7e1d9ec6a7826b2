"""The space `nasbench201`: its cells, what their networks cost, and the networks themselves."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

from configs.errors import SpaceError
from supernet.cost import Cost
from supernet.genomes import NasBench201Genome
from supernet.space import check_encoding
from supernet.spaces.cells import CellSpace
from supernet.spaces.nasbench201.cell import (
    COUNT,
    EDGES,
    OPERATIONS,
    Cell,
    CellError,
    all_cells,
    cell_from_names,
    parse_cell,
)
from supernet.spaces.nasbench201.costs import NasBench201Description, cell_cost
from supernet.window_costed import CostedWindow

if TYPE_CHECKING:
    from supernet.networks.nasbench201 import TinyNetwork
    from supernet.networks.nasbench201_supernet import CellSupernet


class NasBench201Space(CellSpace):
    """All 15,625 cells, in a network of three stages of five of them.

    As a search sees them they have one stage of six layers, the edges, each with the same five operations.
    """

    encodings = ("separate",)
    description: NasBench201Description
    description_class = NasBench201Description

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

    # --- what a search sees: one stage, whose layers are the edges ------------------------------------------------

    @property
    def depths(self) -> tuple[int, ...]:
        """The number of layers of each stage."""
        return (len(EDGES),)

    def operations(self, stage: int) -> tuple[str, ...]:
        """The candidates of a stage; cells hold indices into this tuple."""
        return OPERATIONS

    def choices(self, stage: int, layer: int) -> dict[int, str]:
        """Operations offered at a layer: all."""
        return dict(enumerate(OPERATIONS))

    @cached_property
    def _everything(self) -> CostedWindow[Cell]:
        """The window that holds every cell."""
        return self.window(0, sys.maxsize)

    def mutate(self, cell: Cell, probability: float, generator: torch.Generator) -> Cell:
        """Re-draw each edge's operation with `probability`; never the parent itself."""
        return self._everything.mutate(cell, probability, generator)

    def crossover(self, first: Cell, second: Cell, generator: torch.Generator) -> Cell:
        """Each edge's operation from one of the parents."""
        return self._everything.crossover(first, second, generator)

    def window(self, minimum: int, maximum: int, resolution: int | None = None) -> CostedWindow[Cell]:
        """The cells with minimum <= MACs <= maximum, those that begin alike together; WindowError if there is none."""
        space = self.at_resolution(resolution) if resolution else self
        return CostedWindow(space, sorted(all_cells()), NasBench201Genome(), minimum, maximum)

    def window_of(self, minimum: int, maximum: int, resolutions: Sequence[int] | None) -> CostedWindow[Cell]:
        """The window of a search.

        Raises:
            SpaceError: the image size is a choice, which cells do not name.
        """
        if resolutions is not None:
            raise SpaceError(f"cells of {self.name} have one image size: leave SUPERNET.RESOLUTIONS out")
        return self.window(minimum, maximum)

    # --- networks ------------------------------------------------------------------------------------------------

    def build_network(self, cell: Cell, generator: torch.Generator | None = None) -> TinyNetwork:
        """The network of a cell, freshly initialised (from seed 0 without a generator)."""
        from supernet.networks.nasbench201 import TinyNetwork

        network = TinyNetwork(self.description, self.validate(cell).to_nodes())
        network.initialize(generator or torch.Generator().manual_seed(0))
        return network

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> CellSupernet:
        """The weight-sharing network that holds every cell, freshly initialised.

        Raises:
            SpaceError: another encoding than `separate`.
        """
        from supernet.networks.nasbench201_supernet import CellSupernet

        check_encoding(self, encoding)
        network = CellSupernet(self.description)
        network.initialize(generator or torch.Generator().manual_seed(0))
        return network

    def extract(self, supernet: CellSupernet, cell: Cell) -> TinyNetwork:
        """The plain network of a cell with the supernet's weights; its logits equal the supernet's."""
        from supernet.networks.nasbench201 import TinyNetwork

        with torch.device("meta"):
            network = TinyNetwork(self.description, self.validate(cell).to_nodes())
        state = {key: value.clone() for key, value in supernet.path_state_dict(cell).items()}
        network.load_state_dict(state, assign=True)
        return network.train(supernet.training)
