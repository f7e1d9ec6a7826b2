"""The exact cost of a network: `python -m tools.cost --selection 287 [--json]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from runtime.scripts import run
from supernet.catalog import select
from supernet.cost import format_millions
from tools.arguments import add_selection, resolution


def main(arguments: Sequence[str] | None = None) -> None:
    """Print MACs of one image (convolutions and linear layers; the field's "FLOPs") and parameters.

    With `--json` one object: {selection, resolution, macs, params}, the selection as it was typed.

    Raises:
        ConfigError, SpaceError: the selection or architecture is not known.
    """
    options = _parser().parse_args(arguments)
    selected = select(options.selection, options.input_arch, options.space)
    pixels = options.resolution or selected.space.resolution
    cost = selected.space.cost(selected.architecture, pixels)
    if options.json:
        shown = {"selection": options.selection, "resolution": pixels, "macs": cost.macs, "params": cost.params}
        print(json.dumps(shown))
    else:
        print(f"{selected.name} at {pixels}x{pixels}: {format_millions(cost.macs)} M MACs, {cost.params:,} parameters")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.cost", description=__doc__)
    add_selection(parser)
    parser.add_argument("--resolution", type=resolution, help="pixels; default: as published, or the space's own")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
