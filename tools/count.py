"""How many architectures lie in a FLOPs window: `python -m tools.count --space cream --minimum 285 --maximum 287`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction

from runtime.scripts import run
from supernet.catalog import build_shared_space
from supernet.cost import macs_from_millions
from supernet.latency import open_window
from supernet.window_latency import LatencyWindow
from supernet.window_marginals import Marginals
from tools.arguments import add_window, as_number


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the exact number of encodings with MINIMUM <= MACs <= MAXIMUM, in millions of MACs of one image.

    With `--json` one object: {space, resolution, minimum, maximum, count}, the bounds as they were given, with
    `--latency-maximum` also {latency_maximum, table}, and with `--marginals` {marginals: {operations, depths}}, the
    share of the members with each.

    Raises:
        ConfigError, SpaceError: the space is not known or wrong, or a bound is no number of MACs.
        WindowError: no architecture lies in the window.
    """
    options = _parser().parse_args(arguments)
    space = build_shared_space(options.space)
    space = space.at_resolution(options.resolution or space.resolution)
    bounds = macs_from_millions(options.minimum), macs_from_millions(options.maximum)
    window = open_window(space, *bounds, options.table, options.latency_maximum)
    count = window.count
    marginals = window.marginals() if options.marginals else None
    if options.json:
        given = {"minimum": as_number(options.minimum), "maximum": as_number(options.maximum)}
        shown = {"space": options.space, "resolution": space.resolution, **given, "count": count}
        if options.latency_maximum is not None:
            shown |= {"latency_maximum": as_number(options.latency_maximum), "table": options.table}
        print(json.dumps(shown | ({"marginals": marginals.to_json()} if marginals else {})))
    else:
        within = f"{options.minimum} to {options.maximum} M MACs"
        within += f" and {window.describe_limit()}" if isinstance(window, LatencyWindow) else ""
        pixels = space.resolution
        print(f"{space.name} at {pixels}x{pixels}: {count:,} architectures of {within}, of {space.count:,} in all")
        if marginals:
            print("\n".join(_lines(marginals)))


def _lines(marginals: Marginals) -> Iterator[str]:
    """One line a stage for its depths, and one a layer for its operations."""
    for stage, (depths, layers) in enumerate(zip(marginals.depths, marginals.operations)):
        yield f"stage {stage} depths: {_percentages(depths)}"
        for layer, operations in enumerate(layers):
            yield f"stage {stage} layer {layer} operations: {_percentages(operations)}"


def _percentages(shares: Mapping[int, Fraction]) -> str:
    return ", ".join(f"{name} {float(share):.2%}" for name, share in shares.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.count", description=__doc__)
    add_window(parser)
    parser.add_argument("--marginals", action="store_true", help="also the share of each operation and depth")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
