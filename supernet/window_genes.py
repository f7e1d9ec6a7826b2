"""The genes of an architecture, and what varying them allows: inputs of a window's mutation and crossover."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from supernet.window_stage import StageChoices
from supernet.window_table import Stages

Gene = tuple[int, int | None]  # (stage, layer), or (stage, None) for the stage's depth


def genes_of(choices: Sequence[StageChoices], parent: Stages) -> list[Gene]:
    """Every gene of the parent that has more than one value."""
    genes: list[Gene] = []
    for place, (stage, variant) in enumerate(zip(choices, parent)):
        genes += [(place, None)] if len(stage.depths) > 1 else []
        genes += [(place, depth) for depth in range(len(variant)) if len(stage.layers[depth]) > 1]
    return genes


def freed(choices: Sequence[StageChoices], parent: Stages, free: set[Gene]) -> list[StageChoices]:
    """What agrees with the parent on all genes that are not free; blocks that a deeper stage gains are free."""
    return [
        StageChoices(
            stage.depths if (place, None) in free else (len(variant),),
            tuple(
                layer if depth >= len(variant) or (place, depth) in free else {variant[depth]: layer[variant[depth]]}
                for depth, layer in enumerate(stage.layers)
            ),
        )
        for place, (stage, variant) in enumerate(zip(choices, parent))
    ]


def mixed(choices: Sequence[StageChoices], first: Stages, second: Stages) -> list[StageChoices]:
    """What takes each gene from one of two parents; a block that only one of them has comes from that one."""
    return [
        StageChoices(
            tuple(sorted({len(one), len(other)})),
            tuple(
                {pair[depth]: layer[pair[depth]] for pair in (one, other) if depth < len(pair)}
                for depth, layer in enumerate(stage.layers[: max(len(one), len(other))])
            ),
        )
        for stage, one, other in zip(choices, first, second)
    ]


def stages_around(choices: Sequence[StageChoices], stages: Stages) -> Iterator[Stages]:
    """What differs from an architecture in one gene: a block's operation, or a stage's last block, gained or lost."""
    for place, (stage, variant) in enumerate(zip(choices, stages)):
        for other in _variants_around(stage, variant):
            yield (*stages[:place], other, *stages[place + 1 :])


def _variants_around(stage: StageChoices, variant: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    for depth, chosen in enumerate(variant):
        for other in stage.layers[depth]:
            if other != chosen:
                yield (*variant[:depth], other, *variant[depth + 1 :])
    if len(variant) - 1 in stage.depths:
        yield variant[:-1]
    if len(variant) + 1 in stage.depths:
        yield from ((*variant, gained) for gained in stage.layers[len(variant)])
