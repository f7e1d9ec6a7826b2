"""What a gated path costs, with a gradient for each decision (Single-Path NAS, eq. 10-13)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from supernet.blocks.gates import Gates
from supernet.latency import LatencyTable
from supernet.nested import NestedLayer, nested_layers
from supernet.spaces.mbconv import MBConvSpace


class ExpectedCost:
    """The sum over layers of their operations' costs, each weighted by a product of gates.

    Exact for gates of 0 and 1, whatever the costs. Single-Path NAS's own formula, which scales the largest kernel's
    costs by the kernels' ratio at the largest expansion, is the same where that ratio is alike at all expansions: so it
    is for MACs without squeeze-and-excite, but not for measured latencies.

    Args:
        fixed: cost of all that is no layer, in any unit.
        layers: each with the costs of its operations by index.
        ended: cost of a layer that is left out because its stage has ended before it.
        like: of the type and on the device of the gates.
    """

    def __init__(
        self, fixed: float, layers: Iterable[tuple[NestedLayer, Mapping[int, float]]], ended: float, like: Tensor
    ) -> None:
        self.fixed = fixed
        self._layers = [
            (
                like.new_tensor([[costs[index] for index in row] for row in layer.operations]),
                ended if layer.skip is None else costs[layer.skip],
            )
            for layer, costs in layers
        ]

    @classmethod
    def of_macs(cls, space: MBConvSpace, like: Tensor) -> ExpectedCost:
        """In millions of MACs of one image."""
        table = space.cost_table()
        costs = [
            {index: cost.macs / 1e6 for index, cost in one.items()} for stage in table.stages for one in stage.layers
        ]
        return cls(table.fixed.macs / 1e6, zip(nested_layers(space), costs), 0.0, like)

    @classmethod
    def of_latency(cls, space: MBConvSpace, table: LatencyTable, like: Tensor) -> ExpectedCost:
        """In the milliseconds of a table."""
        layers = nested_layers(space)
        free = {(one.stage, one.place): dict.fromkeys(one.operations[0], 0.0) for one in layers if one.is_fixed}
        costs = {**free, **table.layers}
        return cls(table.fixed, ((one, costs[one.stage, one.place]) for one in layers), table.skip, like)

    def __call__(self, gates: Iterable[Gates]) -> Tensor:
        """The cost of a path, (), from the gates of all layers."""
        costs = [_layer_cost(one, *layer) for one, layer in zip(gates, self._layers, strict=True)]
        return self.fixed + torch.stack(costs).sum()


def _layer_cost(gates: Gates, operations: Tensor, left_out: float) -> Tensor:
    cost = (_shares(gates.kernels)[:, None] * operations * _shares(gates.expansions)).sum()
    return cost if gates.keep is None else gates.keep * cost + (1 - gates.keep) * left_out


def _shares(gates: Tensor) -> Tensor:
    """Nested gates -> 1 at the level that they choose."""
    return torch.cat([gates[:-1] - gates[1:], gates[-1:]])
