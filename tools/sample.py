"""Random architectures of a FLOPs window: `python -m tools.sample --space fashion --maximum 3 --count 5`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from runtime.scripts import run
from runtime.seeds import make_generator
from supernet.catalog import build_shared_space
from supernet.cost import macs_from_millions
from supernet.latency import open_window
from tools.arguments import add_window, natural, positive


def main(arguments: Sequence[str] | None = None) -> None:
    """Print independent, exactly uniform draws, one a line, in the text form that INPUT_ARCH takes.

    With `--distinct` all are different; processes that are given the same arguments but for `--rank` print disjoint
    parts of them. With `--json` one list of {text, macs, params}.

    Raises:
        ConfigError, SpaceError: the space is not known or wrong, or a bound is no number of MACs.
        WindowError: no architecture lies in the window, or fewer than `--distinct` asks for.
    """
    options = _read(arguments)
    space = build_shared_space(options.space)
    space = space.adapted(
        channels=options.channels or space.channels,
        classes=options.classes or space.classes,
        resolution=options.resolution or space.resolution,
    )
    bounds = macs_from_millions(options.minimum), macs_from_millions(options.maximum)
    window = open_window(space, *bounds, options.table, options.latency_maximum)
    generator = make_generator(options.seed, "tools.sample")
    if options.distinct:
        drawn = window.sample_distinct(generator, options.count, options.rank, options.ranks)
    else:
        drawn = window.sample(generator, options.count)
    if options.json:
        costs = [space.cost(architecture) for architecture in drawn]
        shown = zip(drawn, costs)
        print(json.dumps([{"text": space.text(one), "macs": cost.macs, "params": cost.params} for one, cost in shown]))
    else:
        print(*map(space.text, drawn), sep="\n", end="\n" if drawn else "")


def _read(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.rank >= options.ranks:
        parser.error(f"--rank {options.rank} of --ranks {options.ranks}: ranks are numbered from 0")
    if options.ranks > 1 and not options.distinct:
        parser.error("--ranks needs --distinct; independent draws of a rank differ by --seed")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.sample", description=__doc__)
    add_window(parser)
    parser.add_argument("--count", type=positive, default=1, help="how many; default: %(default)s")
    parser.add_argument("--distinct", action="store_true", help="all different, instead of independent")
    parser.add_argument("--rank", type=natural, default=0, help="with --distinct: which part to print")
    parser.add_argument("--ranks", type=positive, default=1, help="with --distinct: into how many parts to share them")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--channels", type=positive, help="image channels; default: the space's own")
    parser.add_argument("--classes", type=positive, help="default: the space's own")
    parser.add_argument("--json", action="store_true", help="one JSON list of text, macs and params")
    return parser


if __name__ == "__main__":
    run(main)
