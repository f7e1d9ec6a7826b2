"""The space `nasbench101`: its cells, what their networks cost, and the networks themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from configs.errors import SpaceError
from supernet.cost import Cost
from supernet.spaces.cells import CellSpace
from supernet.spaces.nasbench101.cell import Cell, CellError, parse_rows
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_cost
from supernet.spaces.nasbench101.enumeration import all_orders, canonical_cell
from supernet.spaces.nasbench101.index import open_index
from supernet.spaces.nasbench101.model_spec import ModelSpec

if TYPE_CHECKING:
    from supernet.networks.nasbench101 import CellNetwork


class NasBench101Space(CellSpace):
    """All 423,624 cells, in a network of three stacks of three of them.

    A cell keeps the order of its vertices: from a hash it is the canonical one, from a matrix the user's own. In one
    cell of eight the order matters, for channels that do not divide evenly.
    """

    description: NasBench101Description
    description_class = NasBench101Description

    def parse(self, value: Any) -> Cell:
        """A cell from its hash, its rows (`str(cell)`), `[matrix, ops]` or `{"matrix": …, "ops": …}`.

        Raises:
            SpaceError: none of them, or no cell of NAS-Bench-101.
        """
        if isinstance(value, str):
            return open_index().find(value) if re.fullmatch("[0-9a-f]{32}", value) else parse_rows(value)
        if isinstance(value, list | tuple) and len(value) == 2:
            return ModelSpec(*value).cell
        if isinstance(value, Mapping) and value.keys() == {"matrix", "ops"}:
            return Cell.from_json(value)
        raise CellError(f"{value!r} is no cell: write its hash, or its matrix and ops")

    def text(self, cell: Cell) -> str:
        """The hash where the vertices stand in the canonical order, else the rows; `parse` reads both."""
        return cell.hash if canonical_cell(cell) == cell else str(cell)

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
        return len(all_orders().cells)

    def sample(self, generator: torch.Generator) -> Cell:
        """One cell in canonical order, uniform over all of them."""
        cells = all_orders().cells
        return Cell(int(cells[int(torch.randint(len(cells), (), generator=generator))]))

    def cost(self, cell: Cell, resolution: int | None = None) -> Cost:
        """Exact MACs for one image and parameters, in the cell's order of vertices."""
        space = self.at_resolution(resolution) if resolution else self
        return cell_cost(space.description, self.validate(cell))

    def build_network(self, cell: Cell, generator: torch.Generator | None = None) -> CellNetwork:
        """The network of a cell, freshly initialised (from seed 0 without a generator)."""
        from supernet.networks.nasbench101 import CellNetwork

        network = CellNetwork(self.description, self.validate(cell))
        network.initialize(generator or torch.Generator().manual_seed(0))
        return network
