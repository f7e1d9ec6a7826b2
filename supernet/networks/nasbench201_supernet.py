"""The weight-sharing network of NAS-Bench-201: every edge of every cell holds the five operations once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from supernet.networks.nasbench201 import CellStack, build_operation, sum_nodes
from supernet.networks.nasbench201_abreast import CellsAbreast
from supernet.spaces.nasbench201.cell import EDGES, NODES, OPERATIONS, Cell
from supernet.spaces.nasbench201.costs import NasBench201Description


class SharedCell(nn.Module):
    """All cells in one: `edges[e][o]` is the operation o of OPERATIONS on the edge e of EDGES."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleList(nn.ModuleList(build_operation(name, channels) for name in OPERATIONS) for _ in EDGES)

    def forward(self, images: Tensor, cell: Cell) -> Tensor:
        return sum_nodes(images, map(range, range(1, NODES)), self.path(cell))

    def path(self, cell: Cell) -> list[nn.Module]:
        """The operation that a cell has on each edge."""
        return [cast(nn.ModuleList, edge)[place] for edge, place in zip(self.edges, cell.operations)]


class CellSupernet(CellStack):
    """`supernet(images, cell)`: (B, channels, H, W) -> logits (B, classes), through the operations of one cell.

    The cell is an argument; no module remembers one. Operations off the path receive no gradient. Stem, residual
    blocks, last norm and classifier are those of all cells.
    """

    def __init__(self, description: NasBench201Description) -> None:
        super().__init__(description, SharedCell)

    def forward(self, images: Tensor, cell: Cell) -> Tensor:
        values = self.stem(images)
        for module in self.cells:
            values = module(values, cell) if isinstance(module, SharedCell) else module(values)
        return self.classifier(self.lastact(values).mean((2, 3)))

    def path_state_dict(self, cell: Cell) -> dict[str, Tensor]:
        """The state_dict of the cell's plain network (`TinyNetwork`), as it is in here."""
        state = {key: value for key, value in self.state_dict().items() if ".edges." not in key}
        for number, module in enumerate(self.cells):
            for edge, operation in enumerate(module.path(cell) if isinstance(module, SharedCell) else ()):
                prefix = f"cells.{number}.layers.{edge}."
                state |= {f"{prefix}{key}": value for key, value in operation.state_dict().items()}
        return state

    def abreast(self, cells: Sequence[Cell]) -> CellsAbreast:
        """The networks of several cells as one, with this supernet's weights as they are now."""
        return CellsAbreast(self, cells)
