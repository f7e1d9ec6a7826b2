"""The exact cost of a network: `python -m tools.cost --selection 287 [--json]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from configs.loading import load_config
from configs.schema import NasBench101, NasBench201, Section
from runtime.scripts import run
from supernet.catalog import select
from supernet.cost import format_millions
from tools.arguments import add_selection, positive, resolution

SURROUNDINGS: dict[str, type[Section]] = {"nasbench101": NasBench101, "nasbench201": NasBench201}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print MACs of one image (convolutions and linear layers; the field's "FLOPs") and parameters.

    Of nasbench201 the FLOPs that were published, which count the classifier's biases too.

    With `--json` one object: {selection, resolution, macs, params}, the selection as it was typed.

    Raises:
        ConfigError, SpaceError: the selection or architecture is not known, or a number is not allowed.
    """
    options = _parser().parse_args(arguments)
    keys = [
        f"{space.upper()}.{name.upper()}={getattr(options, name)}"
        for space, section in SURROUNDINGS.items()
        for name in section.model_fields
    ]
    surroundings = load_config(None, keys).surroundings
    selected = select(options.selection, options.input_arch, options.space, surroundings)
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
    for space, section in SURROUNDINGS.items():
        for name, field in section.model_fields.items():
            text = f"of a cell of {space}: {field.description}; default: %(default)s"
            parser.add_argument(f"--{name.replace('_', '-')}", type=positive, default=field.default, help=text)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
