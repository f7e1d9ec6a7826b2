"""How fast does retrain.py train SPNASNet-100, beside timm's network in the same loop and in a plain one?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from configs.schema import Runtime
from runtime.precision import Precision
from runtime.world import World, start_world
from supernet.catalog import build_network
from tools.arguments import positive, resolution
from tools.speed.contestants import CLASSES, Batch, Step, timm_spnasnet
from tools.speed.timing import Timing, add_device, add_repeats, name_device, take_turns

OURS, SAME_LOOP, PLAIN_LOOP = "ours", "timm's network, our loop", "timm's network, plain loop"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print images/s of one training step (forward, backward, optimizer) of spnasnet_100, for each precision.

    Contestants, each eager and compiled: our network in retrain.py's step, timm's in the same step, and timm's in plain
    PyTorch with autocast. All are channels-last where the device takes that. Images are random and lie on the device.

    Raises:
        DeviceError: the device is absent, or has no such precision.
    """
    options = _parser().parse_args(arguments)
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    for level in options.precision:
        timings = take_turns(_contestants(options, world, level), options.repeats, options.seconds)
        result = _describe(options, world, level, timings)
        print(json.dumps(result)) if options.json else _show(result)


def _contestants(options: argparse.Namespace, world: World, level: str) -> dict[str, Step]:
    precision = Precision(level, options.dtype, world.device)
    steps: dict[str, Step] = {}
    for mode in options.mode:
        batch = Batch(options.batch_size, options.resolution, precision, world, mode == "compiled")
        steps |= {
            f"{OURS}, {mode}": batch.retraining(build_network("spnasnet_100", num_classes=CLASSES)),
            f"{SAME_LOOP}, {mode}": batch.retraining(timm_spnasnet()),
            f"{PLAIN_LOOP}, {mode}": batch.plain_loop(timm_spnasnet()),
        }
    return steps


def _describe(options: argparse.Namespace, world: World, level: str, timings: dict[str, Timing]) -> dict[str, Any]:
    """The result as plain values; a ratio is how many times as fast as that rival in the same mode ours is."""
    return {
        "resolution": options.resolution,
        "batch_size": options.batch_size,
        "precision": level,
        "dtype": options.dtype if level != "O0" else "float32",
        "device": name_device(world.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images_per_second": {name: timing.rates(options.batch_size) for name, timing in timings.items()},
        "ratios": {
            mode: {
                rival: round(timings[f"{OURS}, {mode}"].ratio(timings[f"{rival}, {mode}"]), 3)
                for rival in (SAME_LOOP, PLAIN_LOOP)
            }
            for mode in options.mode
        },
    }


def _show(result: dict[str, Any]) -> None:
    size = result["resolution"]
    setting = f"{size} x {size}, batch {result['batch_size']}, {result['precision']} {result['dtype']}"
    where = f"{result['device']}, {result['threads']} CPU threads, torch {result['torch']}"
    table = Table(title=f"spnasnet_100, {setting}\n{where}")
    for column in ("training step", "images/s", "lowest", "highest", "ours against it"):
        table.add_column(column, justify="left" if column == "training step" else "right")
    for name, rate in result["images_per_second"].items():
        rival, _, mode = name.rpartition(", ")
        ratio = result["ratios"][mode].get(rival)
        values = [f"{rate[key]:.1f}" for key in ("median", "lowest", "highest")]
        table.add_row(name, *values, "" if ratio is None else f"{ratio:.3f}")
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed retrain", description=__doc__)
    levels = ["O0", "O1", "O2", "O3"]
    parser.add_argument("--precision", nargs="+", choices=levels, default=["O0"], help="default: O0")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"], help="as RUNTIME.DTYPE")
    modes = ["eager", "compiled"]
    parser.add_argument("--mode", nargs="+", choices=modes, default=modes, help="default: both")
    parser.add_argument("--resolution", type=resolution, default=224, help="pixels; default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    add_repeats(parser)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object for each precision")
    return parser
