"""What pickers need of the set that they choose from, whatever its architectures are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import torch

from supernet.window_prior import Prior


class Window(Protocol):
    """`FlopsWindow`, `ResolutionsWindow` and `ListedWindow`; architectures are immutable, hashable, ordered values.

    What is random is a pure function of the generator's state.
    """

    @property
    def count(self) -> int:
        """How many members there are."""

    @property
    def choices(self) -> Sequence[Sequence[Sequence[int]]]:
        """What each gene may be: `choices[stage][layer]`."""

    def genes(self, architecture: Any) -> Sequence[Sequence[int]]:
        """What a member has of `choices`; where depths vary, a stage may have fewer layers."""

    def __contains__(self, architecture: Any) -> bool: ...

    def __iter__(self) -> Iterator[Any]: ...

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[Any]:
        """`count` independent members, uniform or by a prior's weights of `choices`."""

    def mutate(self, architecture: Any, probability: float, generator: torch.Generator) -> Any:
        """Another member; each gene may change with `probability`, one does at least."""

    def crossover(self, first: Any, second: Any, generator: torch.Generator) -> Any:
        """A member in which each gene comes from either parent."""

    def neighbours(self, architecture: Any) -> Sequence[Any]:
        """The members that differ in one gene."""
