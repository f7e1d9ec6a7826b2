"""A superkernel's decisions: trainable thresholds that the norms of its shells are compared with (Single-Path NAS).

Stamoulis et al. 2019 (https://arxiv.org/abs/1904.02877), eq. 5-9. The norm of a shell is the root of its weights' mean
square: the paper's, divided by the root of their number, so that a threshold means the same in narrow and in wide
layers, and the sigmoid has a slope in all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from runtime.casting import at_least_fp32
from supernet.architecture import Architecture
from supernet.blocks.gates import Gates, indicate, nest
from supernet.nested import NestedLayer, nested_layers
from supernet.networks.path_supernet import GatedPath, PathSupernet
from supernet.spaces.mbconv import MBConvSpace
from supernet.window_best import Scores

TINY = 1e-12  # beside a mean square, so that its root has a slope everywhere
Value = TypeVar("Value")


class LayerDecision(NamedTuple):
    """What one layer decides at present.

    Attributes:
        margins: (decisions,), norm less threshold, on where it is not negative: of larger kernels, of keeping an
            optional layer, of larger expansions.
        gates: what the forward pass takes.
    """

    margins: Tensor
    gates: Gates


class Decisions:
    """Each layer's kernel, expansion, and whether it is kept, decided by the supernet's own weights.

    A larger kernel is used where the norm of its depthwise shell reaches a threshold, an optional layer where that of
    its first channels does, a larger expansion where that of its further channels does, both in the kernel that is
    used. What is nested in something that is off is off, and so are the layers behind one at which a stage ends.

    Attributes:
        thresholds: (decisions,), of all layers, starting at 0.

    Raises:
        SpaceError: the space's operations are not nested.
    """

    def __init__(self, space: MBConvSpace, supernet: PathSupernet) -> None:
        self.name, self.layers = space.name, nested_layers(space)
        weight = at_least_fp32(supernet.conv_stem.weight.detach())
        self._fixed = LayerDecision(weight.new_zeros(0), Gates(weight.new_ones(1), weight.new_ones(1), None))
        self._shells: list[Callable[[], list[list[Tensor]]]] = []
        self._counts: list[Tensor] = []
        for layer in self.layers:
            self._shells.append(supernet.layer(layer.stage, layer.place).depthwise_shells)
            shells = [] if layer.is_fixed else self._shells[-1]()
            self._counts.append(weight.new_tensor([[shell.numel() for shell in row] for row in shells]))
        self._sizes = [sum(layer.decisions) for layer in self.layers]
        self.thresholds = nn.Parameter(weight.new_zeros(sum(self._sizes)))

    def __call__(self, kept: Tensor | None = None) -> list[LayerDecision]:
        """Those of the present weights; an indicator counts as off where `kept` (decisions,) is 0."""
        kept = torch.ones_like(self.thresholds) if kept is None else kept
        decided: list[LayerDecision] = []
        for number, parts in enumerate(zip(self.thresholds.split(self._sizes), kept.split(self._sizes))):
            layer, one = self.layers[number], self._decide(number, *parts)
            if layer.may_end and self.layers[number - 1].may_end:
                one = one._replace(gates=one.gates.behind(decided[-1].gates))
            decided.append(one)
        return decided

    def _decide(self, number: int, thresholds: Tensor, kept: Tensor) -> LayerDecision:
        kernels, optional, expansions = sizes = self.layers[number].decisions
        if not any(sizes):
            return self._fixed
        counts = self._counts[number]
        squares = torch.stack([at_least_fp32(shell).square().sum() for row in self._shells[number]() for shell in row])
        squares = squares.view_as(counts)
        larger = _norm(squares.sum(0), counts.sum(0))[1:] - thresholds[:kernels]
        kernel_gates = nest(indicate(larger) * kept[:kernels])
        used = _norm((squares * kernel_gates).sum(1), (counts * kernel_gates).sum(1))
        channels = used[1 - optional :] - thresholds[kernels:]
        keep, wider = (indicate(channels) * kept[kernels:]).split([optional, expansions])
        gates = Gates(kernel_gates, nest(wider), keep[0] if optional else None)
        return LayerDecision(torch.cat([larger, channels]), gates)

    def path(self, decided: Sequence[LayerDecision]) -> GatedPath:
        """What `supernet(images, path)` takes."""
        pairs = zip(self.layers, decided)
        return GatedPath(
            self._by_stage(layer.operations[0][0] if layer.is_fixed else one.gates for layer, one in pairs)
        )

    def read_out(self, decided: Sequence[LayerDecision]) -> Architecture:
        """The architecture that a forward pass with these decisions computes; waits for the device."""
        stages = self._by_stage(_chosen(layer, one.gates) for layer, one in zip(self.layers, decided))
        return Architecture(self.name, tuple(tuple(one for one in stage if one is not None) for stage in stages))

    def scores(self, decided: Sequence[LayerDecision]) -> Scores:
        """How near each operation is to these decisions, for `FlopsWindow.top_k`; waits for the device.

        Up to a constant, an architecture's total is less by the sizes of all margins that it wants another sign of.
        """
        return self._by_stage(map(_scores, self.layers, self._nested_margins(decided)))

    def _nested_margins(self, decided: Sequence[LayerDecision]) -> Iterator[list[float]]:
        """Margins of each layer; one behind the end of its stage is at best as near to being kept as the end."""
        ended = math.inf
        for layer, one in zip(self.layers, decided):
            margins = one.margins.tolist()
            if layer.may_end:
                keep = layer.decisions[0]
                margins[keep] = min(ended, margins[keep])
            ended = margins[keep] if layer.may_end else math.inf
            yield margins

    def _by_stage(self, values: Iterable[Value]) -> tuple[tuple[Value, ...], ...]:
        pairs = groupby(zip(self.layers, values), key=lambda pair: pair[0].stage)
        return tuple(tuple(value for _, value in stage) for _, stage in pairs)


def _norm(squares: Tensor, counts: Tensor) -> Tensor:
    return (squares / counts + TINY).sqrt()


def _chosen(layer: NestedLayer, gates: Gates) -> int | None:
    """The operation of a layer; None where it is not there."""
    if gates.keep is not None and not gates.keep:
        return layer.skip
    kernel, expansion = (int(levels.sum()) - 1 for levels in (gates.kernels, gates.expansions))
    return layer.operations[kernel][expansion]


def _scores(layer: NestedLayer, margins: list[float]) -> dict[int, float]:
    values = iter(margins)
    kernels, keep, expansions = ([next(values) for _ in range(count)] for count in layer.decisions)
    kept, left_out = -_distance(keep, len(keep)), -_distance(keep, 0)
    if layer.skip is None:  # a layer that is not there has no score: the others' are relative to it
        kept, left_out = kept - left_out, 0.0
    scores = {} if layer.skip is None else {layer.skip: left_out}
    for kernel, row in enumerate(layer.operations):
        for expansion, index in enumerate(row):
            scores[index] = kept - _distance(kernels, kernel) - _distance(expansions, expansion)
    return scores


def _distance(margins: Sequence[float], level: int) -> float:
    """Of nested margins from a level: those below it should be on, the next one off; the rest make no difference."""
    wrong_off = sum(max(0.0, -margin) for margin in margins[:level])
    return wrong_off + sum(max(0.0, margin) for margin in margins[level : level + 1])
