"""What a network takes by a latency table: `python -m tools.latency --selection spnasnet_100 --table FILE [--json]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from configs.errors import SpaceError
from runtime.scripts import run
from supernet.catalog import select
from supernet.latency import read_latency_table
from supernet.spaces.mbconv import MBConvSpace
from tools.arguments import add_selection


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the milliseconds that the table's entries for the network's layers add up to.

    With `--json` one object: {selection, table, milliseconds}, the selection as it was typed.

    Raises:
        ConfigError: the selection is not known, or the table is broken or lacks a layer or operation of its space.
        SpaceError: no architecture of the space, or of a space without such layers.
    """
    options = _parser().parse_args(arguments)
    selected = select(options.selection, options.input_arch, options.space)
    if not isinstance(selected.space, MBConvSpace):
        raise SpaceError(f"{selected.name} is a cell, and latency tables are about the layers of an MBConv space")
    milliseconds = read_latency_table(options.table, selected.space).latency(selected.architecture)
    if options.json:
        shown = {"selection": options.selection, "table": options.table, "milliseconds": round(milliseconds, 4)}
        print(json.dumps(shown))
    else:
        print(f"{selected.name}: {milliseconds:.2f} ms by {options.table}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.latency", description=__doc__)
    add_selection(parser)
    parser.add_argument(
        "--table", required=True, help="JSON: layer -> operation index -> milliseconds (docs/spaces.md)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
