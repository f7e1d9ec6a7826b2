"""The exact cost of a network: `python -m tools.cost --selection 287 [--json]`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

from pydantic.fields import FieldInfo

from configs.loading import load_config
from configs.schema import Config
from runtime.scripts import run
from supernet.catalog import select
from supernet.cost import format_millions
from tools.arguments import add_selection, resolution


def main(arguments: Sequence[str] | None = None) -> None:
    """Print MACs of one image (convolutions and linear layers; the field's "FLOPs") and parameters.

    Of nasbench201 the FLOPs that were published, which count the classifier's biases too.

    With `--json` one object: {selection, resolution, macs, params}, the selection as it was typed.

    Raises:
        ConfigError, SpaceError: the selection or architecture is not known, or a number is not allowed.
    """
    options = _parser().parse_args(arguments)
    keys = [f"{section}.{name.upper()}={getattr(options, name)}" for section, name in _surroundings()]
    selected = select(options.selection, options.input_arch, options.space, load_config(None, keys).surroundings)
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
    for (section, name), field in _surroundings().items():
        text = f"of a cell of {section.lower()}: {field.description}; default: %(default)s"
        parser.add_argument(f"--{name.replace('_', '-')}", default=field.default, help=text)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _surroundings() -> dict[tuple[str, str], FieldInfo]:
    """The keys of the network around a cell, by section and name."""
    sections = {space.upper(): type(section) for space, section in Config().surroundings.items()}
    return {(space, name): field for space, kind in sections.items() for name, field in kind.model_fields.items()}


if __name__ == "__main__":
    run(main)
