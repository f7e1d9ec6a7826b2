"""How many architectures lie in a FLOPs window: `python -m tools.count --space cream --minimum 285 --maximum 287`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from runtime.scripts import run
from supernet.catalog import build_space
from supernet.cost import macs_from_millions
from tools.arguments import add_window, as_number


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the exact number of encodings with MINIMUM <= MACs <= MAXIMUM, in millions of MACs of one image.

    With `--json` one object: {space, resolution, minimum, maximum, count}, the bounds as they were given.

    Raises:
        ConfigError, SpaceError: the space is not known or wrong, or a bound is no number of MACs.
        WindowError: no architecture lies in the window.
    """
    options = _parser().parse_args(arguments)
    space = build_space(options.space)
    pixels = options.resolution or space.resolution
    bounds = macs_from_millions(options.minimum), macs_from_millions(options.maximum)
    count = space.window(*bounds, pixels).count
    if options.json:
        minimum, maximum = as_number(options.minimum), as_number(options.maximum)
        shown = {"space": options.space, "resolution": pixels, "minimum": minimum, "maximum": maximum, "count": count}
        print(json.dumps(shown))
    else:
        within = f"{options.minimum} to {options.maximum} M MACs"
        print(f"{space.name} at {pixels}x{pixels}: {count:,} architectures of {within}, of {space.count:,} in all")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.count", description=__doc__)
    add_window(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
