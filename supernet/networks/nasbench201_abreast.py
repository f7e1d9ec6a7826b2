"""The networks of several cells of NAS-Bench-201 as one, for measuring many of them by a supernet's weights.

Whatever two networks have in common is computed once: all that follows from the same operations on the same images. So
the first cell of neighbouring architectures is nearly one, and cells that differ only in operations which lead nowhere
are one. The logits are those of the plain networks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from supernet.blocks.abreast import Abreast, place
from supernet.networks.nasbench201 import CellStack, ReductionBlock
from supernet.spaces.nasbench201.cell import EDGES, NODES, OPERATIONS, Cell

NONE = OPERATIONS.index("none")


class Term(NamedTuple):
    """What an edge adds to a node: its operation on one of the values that the edge's source has."""

    edge: int
    operation: int
    value: int


class CellAbreast(nn.Module):
    """A place of the network in several cells: its different inputs (B, C, H, W) -> its different outputs.

    Args:
        edges: the supernet's, in the order of EDGES, each with the operations in the order of OPERATIONS.
        cells: `live_operations` of each.
        held: for each cell, which input it has.

    Attributes:
        held: for each cell, which output it has.
    """

    def __init__(
        self, edges: nn.ModuleList, cells: Sequence[Sequence[int]], held: Sequence[int], device: torch.device
    ) -> None:
        super().__init__()
        self.nodes: list[list[tuple[Term, ...]]] = []  # of each node but the first, the terms of each of its values
        self.calls = nn.ModuleDict()
        values = [list(held)]  # of each node, which value each cell has
        for target in range(1, NODES):
            sums = [_terms(target, cell, [node[number] for node in values]) for number, cell in enumerate(cells)]
            self.nodes.append(list(dict.fromkeys(sums)))
            numbers = {terms: number for number, terms in enumerate(self.nodes[-1])}
            values.append([numbers[terms] for terms in sums])
            for edge, operation, sources in _calls(self.nodes[-1]):
                module = cast(nn.ModuleList, edges[edge])[operation]
                self.calls[f"{edge}-{operation}"] = Abreast(module, len(sources), device)
        self.held = values[-1]

    def forward(self, inputs: Sequence[Tensor]) -> Sequence[Tensor]:
        values = [inputs]
        for node in self.nodes:
            made: dict[Term, Tensor] = {}
            for edge, operation, sources in _calls(node):
                given = [values[EDGES[edge][0]][source] for source in sources]
                outputs = self.calls[f"{edge}-{operation}"](given)
                made |= zip((Term(edge, operation, source) for source in sources), outputs)
            values.append(_add([[made[term] for term in terms] for terms in node], inputs[0]))
        return values[-1]


class CellsAbreast(nn.Module):
    """The networks of A cells as one: images (B, channels, H, W) -> logits (B, A, classes).

    Args:
        supernet: whose cells have `edges`, as `CellAbreast` takes them; its weights are used, not copied.
        cells: the more alike neighbours are, the less is computed.
    """

    def __init__(self, supernet: CellStack, cells: Sequence[Cell]) -> None:
        super().__init__()
        device = supernet.classifier.weight.device
        live, held = [live_operations(cell) for cell in cells], [0] * len(cells)
        self.parts = nn.Sequential(Abreast(supernet.stem, 1, device))
        for module in supernet.cells:
            if isinstance(module, ReductionBlock):
                self.parts.append(Abreast(module, max(held) + 1, device))
            else:
                part = CellAbreast(cast(nn.ModuleList, module.edges), live, held, device)
                self.parts.append(part)
                held = part.held
        self.parts.append(Abreast(supernet.lastact, max(held) + 1, device))
        self.classifier, self.held = place(supernet.classifier, 1), held

    def forward(self, images: Tensor) -> Tensor:
        features = torch.stack([values.mean((2, 3)) for values in self.parts([images])], 1)
        return self.classifier(features)[:, self.held]


def live_operations(cell: Cell) -> list[int]:
    """The operation of each edge, `none` on those that lead nowhere because others that follow are `none`."""
    leading = {NODES - 1}
    for operation, (source, target) in reversed(list(zip(cell.operations, EDGES))):
        if target in leading and operation != NONE:
            leading.add(source)
    return [operation if target in leading else NONE for operation, (_, target) in zip(cell.operations, EDGES)]


def _terms(target: int, operations: Sequence[int], values: Sequence[int]) -> tuple[Term, ...]:
    """What reaches a node of a cell whose earlier nodes have these values."""
    return tuple(
        Term(edge, operation, values[source])
        for edge, (operation, (source, end)) in enumerate(zip(operations, EDGES))
        if end == target and operation != NONE
    )


def _calls(node: Sequence[Sequence[Term]]) -> list[tuple[int, int, list[int]]]:
    """Edges and operations that a node needs, with the values of the edge's source that they work on."""
    calls: dict[tuple[int, int], dict[int, None]] = {}
    for edge, operation, value in (term for terms in node for term in terms):
        calls.setdefault((edge, operation), {})[value] = None
    return [(*call, list(values)) for call, values in calls.items()]


def _add(terms: Sequence[Sequence[Tensor]], like: Tensor) -> list[Tensor]:
    """The sum of each list of tensors, in its order; zeros where it is empty."""
    sums = [one[0] if one else torch.zeros_like(like) for one in terms]
    for depth in range(1, max(map(len, terms))):
        longer = [number for number, one in enumerate(terms) if len(one) > depth]
        added = torch._foreach_add([sums[number] for number in longer], [terms[number][depth] for number in longer])
        for number, total in zip(longer, added):
            sums[number] = total
    return sums
