"""How fast a FLOPs window is opened, drawn from and counted: `python -m tools.speed window --maximum 600`.

The rival is rejection: architectures uniform over the space, of which those inside the window are kept. It is measured
one architecture at a time, as the published Cream release draws its paths, and vectorised: a table of the costs of all
variants of each stage, and thousands of proposals at once.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from math import prod
from statistics import median
from time import process_time

import numpy as np
import torch

from runtime.seeds import derive_seed, make_generator
from supernet.architecture import Architecture
from supernet.catalog import build_layered_space
from supernet.cost import CostTable, StageCosts, macs_from_millions
from supernet.window import FlopsWindow
from supernet.window_stage import StageChoices, StageVariants
from tools.arguments import add_window, positive

REPEATS = 5  # alternated; the median is shown
SAMPLES = 50_000  # of the window in one call
PROPOSALS = 2_000, 2**15  # of the rivals in one call: one by one, vectorised

Draw = Callable[[], int]  # draws some architectures and returns how many


@dataclass(frozen=True)
class WindowSpeed:
    """Processor time of one thread, which neighbours disturb least. Rates are members a second, 0: none was found."""

    count: int
    count_seconds: float
    count_peak_mebibytes: float  # of the whole process, libraries included
    open_seconds: float  # until the first sample: the emptiness check and the sampler's tables
    samples_per_second: float
    rejection_per_second: float
    vectorised_rejection_per_second: float


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the measurements of one window; with `--json` one object.

    Raises:
        ConfigError, SpaceError: the space is not known or wrong, or a bound is no number of MACs.
        WindowError: no architecture lies in the window.
    """
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    table = build_layered_space(options.space).cost_table(options.resolution)
    bounds = macs_from_millions(options.minimum), macs_from_millions(options.maximum)
    speed = measure(table, *bounds, options.seconds)
    if options.json:
        where = {"space": options.space, "resolution": table.resolution}
        print(json.dumps({**where, "minimum": bounds[0], "maximum": bounds[1], **asdict(speed)}))
        return
    print(f"counted {speed.count:,} in {speed.count_seconds:.2f} s, peak memory {speed.count_peak_mebibytes:.0f} MiB")
    print(f"first sample after {speed.open_seconds:.3f} s")
    print(f"FlopsWindow.sample      {speed.samples_per_second:12,.0f} a second")
    print(f"rejection, one by one   {_against(speed.rejection_per_second, speed)}")
    print(f"rejection, vectorised   {_against(speed.vectorised_rejection_per_second, speed)}")


def measure(table: CostTable, minimum: int, maximum: int, seconds: int) -> WindowSpeed:
    """Open, draw by the window and by its rivals for `seconds` in all, and count (bounds in MACs)."""
    started = process_time()
    window = FlopsWindow(table, minimum, maximum)
    generator = make_generator(0, "tools.speed.window")
    window.sample(generator, 1)
    opened = process_time() - started
    draws: list[Draw] = [
        lambda: len(window.sample(generator, SAMPLES)),
        one_by_one(table, minimum, maximum),
        vectorised(table, minimum, maximum),
    ]
    rates = [[_rate(draw, seconds / REPEATS / len(draws)) for draw in draws] for _ in range(REPEATS)]
    started = process_time()
    count = window.count
    counted = process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return WindowSpeed(count, counted, peak, opened, *map(median, zip(*rates)))


def one_by_one(table: CostTable, minimum: int, maximum: int) -> Draw:
    """Rejection of one architecture after the other."""
    source = random.Random(derive_seed(0, "one by one"))
    stages = [(stage, *_depths(stage)) for stage in table.stages]

    def propose() -> Architecture:
        depths = [source.choices(depths, weights)[0] for _, depths, weights in stages]
        chosen = (stage.layers[:depth] for (stage, _, _), depth in zip(stages, depths))
        return Architecture(table.space, tuple(tuple(source.choice(list(layer)) for layer in each) for each in chosen))

    def draw() -> int:
        proposals = (propose() for _ in range(PROPOSALS[0]))
        return len([one for one in proposals if minimum <= table.cost(one).macs <= maximum])

    return draw


def vectorised(table: CostTable, minimum: int, maximum: int) -> Draw:
    """Rejection of thousands at once, by the listed variants of each stage."""
    source = np.random.default_rng(derive_seed(0, "vectorised"))
    stages = [StageVariants(StageChoices.from_costs(stage)) for stage in table.stages]

    def draw() -> int:
        chosen = np.stack([source.integers(len(stage.costs), size=PROPOSALS[1]) for stage in stages])
        costs = table.fixed.macs + sum(stage.costs[places] for stage, places in zip(stages, chosen))
        inside = chosen[:, (minimum <= costs) & (costs <= maximum)]
        members = zip(*(stage.at(places) for stage, places in zip(stages, inside)))
        return len([Architecture(table.space, one) for one in islice(members, inside.shape[1])])

    return draw


def _depths(stage: StageCosts) -> tuple[range, list[int]]:
    """A stage's depths and how many variants each has."""
    depths = range(stage.minimum_depth, stage.maximum_depth + 1)
    return depths, [prod(map(len, stage.layers[:depth])) for depth in depths]


def _rate(draw: Draw, seconds: float) -> float:
    found, started = 0, process_time()
    while (passed := process_time() - started) < seconds:
        found += draw()
    return found / passed


def _against(rate: float, speed: WindowSpeed) -> str:
    return f"{rate:12,.0f} a second, {speed.samples_per_second / rate:,.1f} times slower" if rate else "found none"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed window", description=__doc__)
    add_window(parser)
    parser.add_argument("--seconds", type=positive, default=15, help="for all draws; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object; bounds in MACs")
    return parser
