"""The latency table of a space on this machine: each operation measured alone, the sums fitted to whole networks.

A block that runs alone takes other than inside its network: each call has a cost of its own, and what the layers around
it leave in the caches differs. So whole networks are measured in the same rounds as the blocks, and the least squares
of `whole = fixed + scale * (sum of the blocks alone) + each * (number of blocks)` turn what blocks take alone into what
they take inside. Stem, head and layers without a choice are part of `fixed`. Layers of one shape share their entries.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from runtime.seeds import make_generator
from supernet.architecture import Architecture
from supernet.blocks.layers import initialize
from supernet.blocks.mbconv import LayerShape, build_block
from supernet.latency import decided_layers
from supernet.spaces.mbconv import MBConvSpace
from tools.latency.measuring import Contestant, Measured, Runner

NETWORKS = 24  # that the sums are fitted to


class Block(NamedTuple):
    """An operation on inputs of a shape."""

    stage: int
    operation: int
    shape: LayerShape
    size: int


Places = Mapping[tuple[int, int], Mapping[int, Block | None]]  # by stage and place in it, and by operation


def build_table(
    space: MBConvSpace, runner: Runner, repeats: int, seed: int, others: Sequence[Architecture] = ()
) -> tuple[dict[str, Any], dict[Architecture, Measured]]:
    """What the file holds (`supernet.latency`), as JSON values; and what `others`, measured with it, take."""
    places = _places(space)
    random = make_generator(seed, "tools.latency build")
    networks = [draw_varied(space, random) for _ in range(NETWORKS)]
    contestants: dict[Block | Architecture, Contestant] = {
        block: runner.prepare(_build(space, block), block.shape.inputs, block.size)
        for row in places.values()
        for block in row.values()
        if block is not None
    }
    for one in (*networks, *others):
        contestants[one] = runner.prepare(space.build_network(one), space.channels, space.resolution)
    measured = runner.measure(contestants, repeats)
    fixed, inside = _fit(places, measured, networks)
    facts = {"space": space.name, "resolution": space.resolution, **runner.describe(), "repeats": repeats}
    rows, spreads = {}, {}
    for number, stage, layer, _ in decided_layers(space):
        row = places[stage, layer]
        rows[str(number)] = {str(one): round(inside[block], 5) if block else 0 for one, block in row.items()}
        spreads[str(number)] = {str(one): _spread(measured[block]) for one, block in row.items() if block}
    table = {"fixed": round(fixed, 5), "skip": 0, **rows, "measured": {**facts, "relative_spread": spreads}}
    return table, {one: measured[one] for one in others}


def draw_varied(space: MBConvSpace, generator: torch.Generator) -> Architecture:
    """A random architecture, each depth equally likely: of all architectures nearly all are of the largest depths."""

    def below(bound: int) -> int:
        return int(torch.randint(bound, (), generator=generator))

    stages = []
    for number, stage in enumerate(space.description.stages):
        least, most = stage.depths
        layers = [list(space.choices(number, layer)) for layer in range(least + below(most - least + 1))]
        stages.append(tuple(choices[below(len(choices))] for choices in layers))
    return space.validate(Architecture(space.name, tuple(stages)))


def _spread(measured: Measured) -> float:
    """The interquartile range of the repeats as a share of their median."""
    return round(measured.spread / measured.median, 3)


def _fit(
    places: Places, measured: Mapping[Block | Architecture, Measured], architectures: Sequence[Architecture]
) -> tuple[float, dict[Block, float]]:
    """What all architectures take, and what each block takes inside of one, in milliseconds."""
    alone = {block: taken.median for block, taken in measured.items() if isinstance(block, Block)}
    whole = np.array([measured[one].median for one in architectures])
    used = [[alone[block] for block in _blocks(places, one)] for one in architectures]
    counts = np.array([len(blocks) for blocks in used], float)
    columns = [np.ones(len(used)), np.array([sum(blocks) for blocks in used])]
    if varied := bool(np.ptp(counts)):
        columns.append(counts)
    fixed, scale, *each = np.linalg.lstsq(np.stack(columns, 1), whole)[0].tolist()
    more = each[0] if varied else 0.0
    return max(0.0, fixed), {block: max(0.0, scale * taken + more) for block, taken in alone.items()}


def _blocks(places: Places, architecture: Architecture) -> Iterator[Block]:
    """The measured blocks of an architecture."""
    for (stage, layer), row in places.items():
        chosen = architecture.stages[stage]
        if layer < len(chosen) and (block := row[chosen[layer]]):
            yield block


def _build(space: MBConvSpace, block: Block) -> nn.Module:
    module = build_block(space.operations(block.stage)[block.operation], block.shape)
    initialize(module, make_generator(0, "tools.latency block"))
    return module


def _places(space: MBConvSpace) -> Places:
    """The blocks that are chosen from; None for an identity, which takes nothing."""
    size, sizes = -(-space.resolution // space.description.stem.stride), {}
    for stage, shapes in enumerate(space.shapes):
        for layer, shape in enumerate(shapes):
            sizes[stage, layer] = size
            size = shape.output_size(size)
    return {
        (stage, layer): {
            index: None
            if one.block == "skip" and shape.keeps_shape
            else Block(stage, index, shape, sizes[stage, layer])
            for index, one in choices.items()
        }
        for _, stage, layer, choices in decided_layers(space)
        for shape in [space.shapes[stage][layer]]
    }
