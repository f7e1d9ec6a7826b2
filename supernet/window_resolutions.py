"""A FLOPs window over architectures and image sizes: smaller images let larger networks into a budget."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import accumulate

import numpy as np
import torch

from configs.errors import WindowError
from supernet.architecture import Architecture
from supernet.cost import CostTable, format_millions
from supernet.window import FlopsWindow
from supernet.window_prior import Prior
from supernet.window_random import uniform_integers
from supernet.window_table import Stages


class ResolutionsWindow:
    """Pairs of an architecture and a resolution with `minimum` <= MACs <= `maximum`: one `FlopsWindow` a resolution.

    Members say their resolution (`Architecture.resolution`). Sampling is uniform over the pairs.

    Args:
        tables: the space's costs at each resolution.
        minimum: smallest cost, in MACs, inclusive.
        maximum: largest cost, in MACs, inclusive.

    Raises:
        WindowError: at no resolution an architecture lies in the window; the message names the feasible range.
    """

    def __init__(self, tables: Iterable[CostTable], minimum: int, maximum: int) -> None:
        self.minimum, self.maximum = minimum, maximum
        self.windows: dict[int, FlopsWindow] = {}
        tables = sorted(tables, key=lambda table: table.resolution)
        for table in tables:
            try:
                self.windows[table.resolution] = FlopsWindow(table, minimum, maximum)
            except WindowError:  # the others may hold some
                continue
        if not self.windows:
            raise WindowError(_explain_empty(tables, minimum, maximum))

    @property
    def resolutions(self) -> tuple[int, ...]:
        """The image sizes at which the window holds architectures, ascending."""
        return tuple(self.windows)

    @cached_property
    def count(self) -> int:
        """How many pairs there are."""
        return sum(self._counts)

    @cached_property
    def _counts(self) -> list[int]:
        return [window.count for window in self.windows.values()]

    def __contains__(self, architecture: Architecture) -> bool:
        window = self.windows.get(architecture.resolution or 0)
        return window is not None and architecture.at(None) in window

    def __iter__(self) -> Iterator[Architecture]:
        """All members, the smallest resolution first."""
        for resolution, window in self.windows.items():
            for architecture in window:
                yield architecture.at(resolution)

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[Architecture]:
        """`count` independent members: each resolution in proportion to its members, then as `FlopsWindow.sample`."""
        numbers = uniform_integers(self.count, count, generator)
        chosen = np.searchsorted(np.array(list(accumulate(self._counts)), object), numbers, side="right")
        drawn: dict[int, Architecture] = {}
        for place, (resolution, window) in enumerate(self.windows.items()):
            positions = np.flatnonzero(chosen == place).tolist()
            members = window.sample(generator, len(positions), prior)
            drawn |= {position: member.at(resolution) for position, member in zip(positions, members)}
        return [drawn[position] for position in range(count)]

    def mutate(self, architecture: Architecture, probability: float, generator: torch.Generator) -> Architecture:
        """As `FlopsWindow.mutate`; the resolution is one more gene, which changes to any other with `probability`."""
        resolution = architecture.resolution if architecture.resolution in self.windows else None
        others = [other for other in self.windows if other != resolution]
        if resolution is None or (others and torch.rand((), generator=generator) < probability):
            resolution = others[int(torch.randint(len(others), (), generator=generator))]
        return self.windows[resolution].mutate(architecture.at(None), probability, generator).at(resolution)

    def crossover(self, first: Architecture, second: Architecture, generator: torch.Generator) -> Architecture:
        """As `FlopsWindow.crossover`, at the resolution of one of the parents, in which that parent has its place."""
        parents = first, second
        resolution = parents[int(torch.randint(2, (), generator=generator))].resolution
        if resolution not in self.windows:
            raise WindowError(
                f"{first} and {second} are not both in the window: {self.resolutions} are its resolutions"
            )
        child = self.windows[resolution].crossover(first.at(None), second.at(None), generator)
        return child.at(resolution)

    def neighbours(self, architecture: Architecture) -> list[Architecture]:
        """As `FlopsWindow.neighbours`; the same architecture at another resolution is one too."""
        others = (architecture.at(other) for other in self.windows if other != architecture.resolution)
        around = self.windows[architecture.resolution or 0].neighbours(architecture.at(None))
        return [*(one.at(architecture.resolution) for one in around), *(other for other in others if other in self)]

    @property
    def choices(self) -> list[list[list[int]]]:
        """The operations offered at each layer of each stage; resolutions are drawn by their members."""
        return next(iter(self.windows.values())).choices

    def genes(self, architecture: Architecture) -> Stages:
        """What `choices` offers, as an architecture has it."""
        return architecture.stages


def _explain_empty(tables: list[CostTable], minimum: int, maximum: int) -> str:
    ranges = (
        f"{format_millions(low)} to {format_millions(high)} at {table.resolution}"
        for table in tables
        for low, high in [FlopsWindow.feasible_range(table)]
    )
    bounds = f"[{format_millions(minimum)}, {format_millions(maximum)}]"
    return (
        f"no architecture of {tables[0].space} lies in {bounds} million MACs at any resolution; feasible costs go from "
        f"{', '.join(ranges)}: choose a minimum and maximum within one"
    )
