"""Milliseconds of a network, by a table or measured; and the table of a space, built here and validated.

python -m tools.latency --selection 287                                  # measured on this machine
python -m tools.latency --selection spnasnet_100 --table FILE            # by a table
python -m tools.latency --space cream --build FILE                       # measure every operation
python -m tools.latency --space cream --table FILE --validate 30         # predicted beside measured
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, SpaceError
from configs.schema import Runtime
from runtime.files import open_atomic
from runtime.scripts import run
from runtime.world import start_world
from supernet.architecture import Architecture
from supernet.catalog import Selection, build_space, select
from supernet.latency import read_latency_table
from supernet.space import SearchSpace
from supernet.spaces.mbconv import MBConvSpace
from tools.arguments import add_selection, positive, resolution
from tools.latency.building import build_table
from tools.latency.measuring import Measured, Runner
from tools.latency.validation import compare, draw_others, measure_networks


def main(arguments: Sequence[str] | None = None) -> None:
    """Do what the arguments ask for; with `--json` print one object.

    Raises:
        ConfigError: the selection is not known, or the table is broken or lacks a layer or operation of its space.
        SpaceError: no architecture of the space, or a table of a space without such layers.
        DeviceError: the device is absent.
        StorageError: the table cannot be written.
    """
    options = _parser().parse_args(arguments)
    if options.build:
        shown, told = _build(options)
    elif options.validate:
        shown, told = _validate(options)
    elif options.table:
        shown, told = _look_up(options)
    else:
        shown, told = _measure(options)
    print(json.dumps(shown) if options.json else told)


def _build(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Write the table; nothing is measured where it could not be written. `--validate` measures in the same rounds."""
    space = _layered(_adapt(build_space(options.space), options))
    others = draw_others(space, options.validate, options.seed) if options.validate else []
    with open_atomic(options.build) as file:
        table, measured = build_table(space, _runner(options), options.repeats, options.seed, others)
        file.write((json.dumps(table, indent=2) + "\n").encode())
    entries = sum(map(len, table["measured"]["relative_spread"].values()))
    told = f"{options.build}: {entries} entries for {space.name} at {space.resolution} pixels"
    if not others:
        return table["measured"], told
    found, validated = _compared(space, options.build, measured)
    return {**table["measured"], **found}, f"{told}\n{validated}"


def _validate(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if not options.table:
        raise ConfigError("--validate compares the predictions of a table: give --table FILE, or --build FILE")
    space = _layered(_adapt(build_space(options.space), options))
    read_latency_table(options.table, space)  # refused before anything is measured
    drawn = draw_others(space, options.validate, options.seed)
    return _compared(space, options.table, measure_networks(space, _runner(options), drawn, options.repeats))


def _compared(
    space: MBConvSpace, path: str | Path, measured: Mapping[Architecture, Measured]
) -> tuple[dict[str, Any], str]:
    found = compare(space, read_latency_table(path, space), measured)
    told = (
        f"{len(measured)} random architectures of {space.name}: Pearson {found['pearson']:.3f}, "
        f"Kendall tau {found['kendall_tau']:.3f}, mean error {found['mean_absolute_error_ms']:.3f} ms, "
        f"{found['mean_relative_error']:.2%}"
    )
    return found, told


def _look_up(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The milliseconds that the table's entries for the network's layers add up to."""
    selected = _select(options)
    milliseconds = read_latency_table(options.table, _layered(selected.space)).latency(selected.architecture)
    shown = {"selection": options.selection, "table": options.table, "milliseconds": round(milliseconds, 4)}
    return shown, f"{selected.name}: {milliseconds:.2f} ms by {options.table}"


def _measure(options: argparse.Namespace) -> tuple[dict[str, Any], str]:
    selected, runner = _select(options), _runner(options)
    space = selected.space
    network = runner.prepare(space.build_network(selected.architecture), space.channels, space.resolution)
    measured = runner.measure({"network": network}, options.repeats)["network"]
    facts = {"resolution": space.resolution, **runner.describe(), "repeats": options.repeats}
    figures = {"milliseconds": round(measured.median, 4), "spread_ms": round(measured.spread, 4)}
    told = (
        f"{selected.name} at {space.resolution} pixels, batch {options.batch}: {measured.median:.3f} ms "
        f"(interquartile range {measured.spread:.3f}) by {runner.runtime} on {facts['device']}"
    )
    return {"selection": options.selection, **figures, **facts}, told


def _select(options: argparse.Namespace) -> Selection:
    selected = select(options.selection, options.input_arch, options.space)
    return Selection(selected.name, _adapt(selected.space, options), selected.architecture)


def _adapt(space: SearchSpace, options: argparse.Namespace) -> SearchSpace:
    return space.adapted(
        channels=options.channels or space.channels,
        classes=options.classes or space.classes,
        resolution=options.resolution or space.resolution,
    )


def _layered(space: SearchSpace) -> MBConvSpace:
    if not isinstance(space, MBConvSpace):
        raise SpaceError(
            f"{space.name} is a space of cells, and latency tables are about the layers of an MBConv space"
        )
    return space


def _runner(options: argparse.Namespace) -> Runner:
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    return Runner(options.runtime, world, options.batch)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.latency", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_selection(parser)
    parser.add_argument("--table", help="JSON: layer -> operation index -> milliseconds (docs/latency.md)")
    parser.add_argument("--build", type=Path, metavar="FILE", help="write the table of --space")
    parser.add_argument("--validate", type=positive, metavar="N", help="compare with N random architectures")
    parser.add_argument("--runtime", choices=["torch", "onnxruntime"], default="torch", help="default: %(default)s")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda", "npu"], default="auto", help="default: %(default)s")
    parser.add_argument("--threads", type=positive, default=1, help="CPU threads; default: %(default)s")
    parser.add_argument("--batch", type=positive, default=1, help="images at once; default: %(default)s")
    parser.add_argument("--resolution", type=resolution, help="pixels; default: as published, or the space's own")
    parser.add_argument("--channels", type=positive, help="image channels; default: the space's own")
    parser.add_argument("--classes", type=positive, help="default: the space's own")
    parser.add_argument("--repeats", type=positive, default=30, help="rounds; default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of the random architectures; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


if __name__ == "__main__":
    run(main)
