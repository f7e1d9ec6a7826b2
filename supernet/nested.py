"""Layers whose operations are nested: all kernels x all expansions of one kind of MBConv, and perhaps the identity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from configs.errors import SpaceError
from supernet.spaces.description import Operation
from supernet.spaces.mbconv import MBConvSpace


@dataclass(frozen=True)
class NestedLayer:
    """One layer's choice as levels; a layer without a choice has one level of each.

    Attributes:
        stage: number of its stage; `place` is its own in that.
        operations: [kernel level][expansion level] -> operation index.
        skip: index of the identity, None where that is not offered.
        may_end: whether the stage may end before this layer, which is then left out with all that follow.
    """

    stage: int
    place: int
    operations: tuple[tuple[int, ...], ...]
    skip: int | None = None
    may_end: bool = False

    @property
    def decisions(self) -> tuple[int, int, int]:
        """How many there are: for larger kernels, for keeping an optional layer, for larger expansions."""
        optional = self.skip is not None or self.may_end
        return len(self.operations) - 1, int(optional), len(self.operations[0]) - 1

    @property
    def is_fixed(self) -> bool:
        """Whether there is nothing to decide."""
        return not any(self.decisions)


def nested_layers(space: MBConvSpace) -> list[NestedLayer]:
    """All layers of a space, in order.

    Raises:
        SpaceError: a layer's operations are not nested; the message names it.
    """
    layers = []
    for stage, shapes in enumerate(space.shapes):
        for place in range(len(shapes)):
            choices = space.choices(stage, place)
            may_end = place >= space.description.stages[stage].depths[0]
            if fault := _find_fault(choices, may_end):
                raise SpaceError(
                    f"block {place} of stage {stage} of {space.name} {fault}: SEARCH.STRATEGY threshold decides among "
                    "all kernels x all expansions of mbconv and an identity; take another space or strategy"
                )
            layers.append(_read_layer(stage, place, choices, may_end))
    return layers


def _find_fault(choices: Mapping[int, Operation], may_end: bool) -> str:
    if len(choices) == 1 and not may_end:
        return ""
    skips = [one for one in choices.values() if one.block == "skip"]
    mbconv = [one for one in choices.values() if one.block == "mbconv"]
    kernels, expansions = ({getattr(one, name) for one in mbconv} for name in ("kernel", "expansion"))
    if not mbconv or len(skips) + len(mbconv) < len(choices) or any(one.project for one in skips):
        return "offers other blocks"
    if len({(one.squeeze_excite, one.activation) for one in mbconv}) > 1:
        return "mixes activations or squeeze-and-excite settings"
    if len(mbconv) != len(kernels) * len(expansions) or len(set(mbconv)) < len(mbconv):
        return "does not offer each kernel with each expansion once"
    return "can be left out in two ways, by skip and by a free depth" if len(skips) + may_end > 1 else ""


def _read_layer(stage: int, place: int, choices: Mapping[int, Operation], may_end: bool) -> NestedLayer:
    if len(choices) == 1:
        return NestedLayer(stage, place, (tuple(choices),), None, may_end)
    index = {(one.kernel, one.expansion): number for number, one in choices.items() if one.block == "mbconv"}
    kernels, expansions = (sorted(set(values)) for values in zip(*index))
    operations = tuple(tuple(index[kernel, expansion] for expansion in expansions) for kernel in kernels)
    skip = next((number for number, one in choices.items() if one.block == "skip"), None)
    return NestedLayer(stage, place, operations, skip, may_end)
