"""Which operations the paths of training prefer (SEARCH.PRIOR): all alike, fixed shares, or those of the board."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from configs.errors import ConfigError
from configs.schema import Search
from search.scores import Scored
from supernet.space import SharedSpace
from supernet.window_prior import Prior


class OperationPrior:
    """Cream's three ways of sampling operations. A block's weight is its operation's share, 1 on average over a layer.

    So `even` shares are no prior: paths are then uniform over the window, which is what `weights` None stands for.
    Depths are weighted by the number of architectures that they allow, whatever the prior.

    Raises:
        ConfigError: SEARCH.PRE_PROB has no share for each operation of the space.
    """

    def __init__(self, config: Search, space: SharedSpace) -> None:
        self.name, self.space = config.prior, space
        self.shares: list[list[float]] | None = None
        if config.prior == "pre_prob":
            self.shares = [self._fixed_shares(stage, config.pre_prob) for stage in range(len(space.depths))]

    @property
    def weights(self) -> Prior | None:
        """What `FlopsWindow.sample` takes."""
        if self.shares is None:
            return None
        return [
            [_relative(shares, self.space.choices(stage, layer)) for layer in range(self.space.depths[stage])]
            for stage, shares in enumerate(self.shares)
        ]

    def follow(self, prioritized: Sequence[Scored]) -> None:
        """`teacher`: take over the board's histogram of operations, each counted once more so that none dies out."""
        if self.name != "teacher" or not prioritized:
            return
        counts: dict[Any, Counter[int]] = {}  # stages with the same candidates share a histogram
        for scored in prioritized:
            for stage, chosen in enumerate(scored.architecture.stages):
                counts.setdefault(self.space.operations(stage), Counter()).update(chosen)
        self.shares = [
            [counts[candidates][index] + 1.0 for index in range(len(candidates))]
            for candidates in map(self.space.operations, range(len(self.space.depths)))
        ]

    def _fixed_shares(self, stage: int, shares: Sequence[float]) -> list[float]:
        candidates = len(self.space.operations(stage))
        if candidates == 1:
            return [1.0]
        if candidates != len(shares):
            raise ConfigError(
                f"SEARCH.PRE_PROB has {len(shares)} shares; stage {stage} of {self.space.name} has {candidates} "
                "operations: give one share for each, or choose SEARCH.PRIOR even or teacher"
            )
        return list(shares)

    def state_dict(self) -> list[list[float]] | None:
        """The shares in force."""
        return self.shares

    def load_state_dict(self, state: list[list[float]] | None) -> None:
        """Inverse of `state_dict`."""
        self.shares = state


def _relative(shares: Sequence[float], offered: Mapping[int, Any]) -> dict[int, float]:
    mean = sum(shares[index] for index in offered) / len(offered)
    return {index: shares[index] / mean if mean else 0.0 for index in offered}
