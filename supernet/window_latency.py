"""A FLOPs window with a second bound: MACs between two bounds, and at most a latency by a table of measured layers.

Latencies are whole units of the table (`supernet.latency`), so that both costs are exact integers. They have no joint
numbering: MACs of full resolution times latencies are too many states. Draws, variations and top-k walk a coarse grid
of both and keep what the exact costs allow; `window_pairs` counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from itertools import islice

import torch

from configs.errors import WindowError
from supernet.architecture import Architecture
from supernet.cost import CostTable, format_millions
from supernet.window import PRIOR_BINS, FlopsWindow
from supernet.window_best import Scores
from supernet.window_bounded import BoundedSearch
from supernet.window_marginals import Marginals
from supernet.window_pairs import PairCode, count_pairs
from supernet.window_prior import Prior, PriorSampler, even_prior
from supernet.window_random import uniform_integers
from supernet.window_stage import StageChoices
from supernet.window_steps import CoarseSteps
from supernet.window_table import WindowTable

DRAW_BINS, VARIATION_BINS = (512, 512), (128, 128)  # of MACs and latency: for many draws, and for a single one
TRIAL = 2**12  # proposals by which most windows are seen not to be empty
LISTED = 2**12  # proposals up to which a single draw is made from a list of the members


@dataclass(frozen=True)
class LatencyCosts:
    """What the operations of a space take, in whole units.

    Attributes:
        table: units in the place of MACs.
        unit: milliseconds of one.
        source: where they come from, for messages.
    """

    table: CostTable
    unit: Decimal
    source: str

    def format(self, units: int) -> str:
        """Units as milliseconds, without loss."""
        return f"{units * self.unit:f}"


class LatencyWindow(FlopsWindow):
    """The architectures with minimum <= MACs <= maximum and a latency of at most `limit` units.

    Draws are uniform up to the rounding of float64. Members are counted, and not numbered.

    Args:
        table: the space's MACs.
        minimum: smallest cost, in MACs, inclusive.
        maximum: largest cost, in MACs, inclusive.
        latencies: the space's latencies.
        limit: largest latency, in their units, inclusive.

    Raises:
        WindowError: no architecture lies in the window; the message names the feasible range of both costs.
    """

    def __init__(self, table: CostTable, minimum: int, maximum: int, latencies: LatencyCosts, limit: int) -> None:
        self.latencies, self.limit = latencies, limit
        layers = [layer for stage in latencies.table.stages for layer in stage.layers]
        largest = sum(max(abs(cost.macs) for cost in layer.values()) for layer in layers)
        self._code = PairCode(2 * largest + 2)
        super().__init__(table, minimum, maximum)

    def latency(self, architecture: Architecture) -> int:
        """Units of an architecture of the space, in the window or not (SpaceError: not in the space)."""
        self._validate(architecture)
        return self.latencies.table.cost(architecture).macs

    @cached_property
    def count(self) -> int:
        """How many members there are; for a space as large as Cream's that takes about a minute."""
        return count_pairs(self._choices, self._code, *self._room)

    def __contains__(self, architecture: Architecture) -> bool:
        return super().__contains__(architecture) and self.latency(architecture) <= self.limit

    def __iter__(self) -> Iterator[Architecture]:
        """All members, in the architectures' order."""
        return (one for _, one in self._best_first(_no_scores(self._choices)))

    def sample(self, generator: torch.Generator, count: int, prior: Prior | None = None) -> list[Architecture]:
        """As `FlopsWindow.sample`."""
        sampler = self._even if prior is None else PriorSampler(self._steps(self._choices, DRAW_BINS), prior)
        drawn = self._architectures(sampler.sample(count, generator))
        if len(drawn) == count:
            return drawn
        if prior is not None:
            raise WindowError(f"the prior over operations leaves no architecture of {self._describe()}")
        members = list(self)
        return [members[number] for number in uniform_integers(len(members), count, generator)]

    def sample_distinct(
        self, generator: torch.Generator, count: int, rank: int = 0, ranks: int = 1
    ) -> list[Architecture]:
        """As `FlopsWindow.sample_distinct`, from a list of what was drawn."""
        if count > self.count:
            raise WindowError(
                f"{count:,} different architectures were asked of {self._describe()}, which holds {self.count:,}"
            )
        if 2 * count > self.count:
            members = list(self)
            order = torch.randperm(len(members), generator=generator, device=generator.device).tolist()
            return [members[number] for number in order[rank:count:ranks]]
        drawn: dict[Architecture, None] = {}
        while len(drawn) < count:
            drawn.update(dict.fromkeys(self.sample(generator, count - len(drawn))))
        return list(drawn)[rank:count:ranks]

    def top_k(self, scores: Scores, k: int) -> list[tuple[float, Architecture]]:
        """As `FlopsWindow.top_k`."""
        return list(islice(self._best_first(scores), k))

    def marginals(self) -> Marginals:
        """Refused: the shares would need one count for each operation."""
        raise WindowError(
            f"shares of operations are told of windows without a latency bound, not of {self._describe()}"
        )

    @property
    def _table(self) -> WindowTable:
        raise WindowError(f"members are numbered in windows without a latency bound, not in {self._describe()}")

    @property
    def _room(self) -> tuple[int, int, int]:
        """The bounds less what all architectures cost: MACs from, MACs to, units to."""
        fixed = self.table.fixed.macs
        return self.minimum - fixed, self.maximum - fixed, self.limit - self.latencies.table.fixed.macs

    @cached_property
    def _even(self) -> PriorSampler:
        return PriorSampler(self._steps(self._choices, DRAW_BINS), even_prior(self._choices))

    def _read_choices(self) -> list[StageChoices]:
        """Of pairs of both costs."""
        both = zip(super()._read_choices(), map(StageChoices.from_costs, self.latencies.table.stages))
        join = self._code.join
        return [
            StageChoices(
                macs.depths,
                tuple(
                    {name: join(cost, taken[name]) for name, cost in layer.items()}
                    for layer, taken in zip(macs.layers, units.layers)
                ),
            )
            for macs, units in both
        ]

    def _steps(self, choices: Sequence[StageChoices], bins: tuple[int, ...]) -> CoarseSteps:
        low, high, limit = self._room
        slowest = self._code.base  # beyond each latency: below there is no bound
        return CoarseSteps(choices, self._code.split, (low, -slowest), (high, limit), bins)

    def _best_first(self, scores: Scores) -> Iterator[tuple[float, Architecture]]:
        search = BoundedSearch(self._choices, self._steps(self._choices, DRAW_BINS), scores)
        return ((score, Architecture(self.table.space, stages)) for score, stages in search.run())

    def _draw(
        self, choices: Sequence[StageChoices], generator: torch.Generator, parent: Architecture | None = None
    ) -> Architecture | None:
        """As `FlopsWindow._draw`, from a list of the members where they are few."""
        steps = self._steps(choices, VARIATION_BINS)
        sampler = PriorSampler(steps, even_prior(choices))
        if sampler.mass > LISTED:
            members = self._architectures(sampler.sample(2, generator))
            return next((one for one in members if one != parent), None)
        listed = BoundedSearch(choices, steps, _no_scores(choices)).run()
        members = [one for one in self._architectures(stages for _, stages in listed) if one != parent]
        return members[uniform_integers(len(members), 1, generator)[0]] if members else None

    def describe_limit(self) -> str:
        """The bound in words."""
        return f"at most {self.latencies.format(self.limit)} ms by {self.latencies.source}"

    def _describe(self) -> str:
        return f"{super()._describe()} and {self.describe_limit()}"

    def _refuse_empty(self) -> None:
        """Raise WindowError if the window holds nothing."""
        wider = FlopsWindow(self.table, self.minimum, self.maximum)
        fastest, slowest = self.feasible_range(self.latencies.table)
        if self.limit >= slowest or (self.limit >= fastest and self._is_met()):
            return
        milliseconds = " to ".join(map(self.latencies.format, (fastest, slowest)))
        macs = " to ".join(map(format_millions, self.feasible_range(self.table)))
        message = f"no architecture lies in {self._describe()}: feasible are {milliseconds} ms and {macs} million MACs"
        if self.limit < fastest:
            raise WindowError(message)
        if (least := self._fastest(wider)) > self.limit:
            raise WindowError(
                f"{message}, and with MACs between these bounds {self.latencies.format(least)} ms or more"
            )

    def _is_met(self) -> bool:
        """Whether a few proposals find a member; they disturb no generator."""
        return any(True for _ in self._even.propose(TRIAL, torch.Generator().manual_seed(0)))

    def _fastest(self, wider: FlopsWindow) -> int:
        """Units of the fastest architecture between the bounds on MACs."""
        taken = self.latencies.table
        scores = [[{one: -float(cost.macs) for one, cost in layer.items()} for layer in s.layers] for s in taken.stages]
        choices = wider._read_choices()
        _, stages = next(BoundedSearch(choices, wider._steps(choices, (PRIOR_BINS,)), scores).run())
        return self.latency(Architecture(self.table.space, stages))


def _no_scores(choices: Sequence[StageChoices]) -> Scores:
    return [[dict.fromkeys(layer, 0.0) for layer in stage.layers] for stage in choices]
