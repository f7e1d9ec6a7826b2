"""How fast does retrain.py train NASNet-A mobile, beside the public PyTorch network in a plain loop?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from configs.errors import ConfigError
from configs.schema import Runtime
from runtime.precision import Precision
from runtime.world import World, start_world
from supernet.catalog import build_network
from tools.arguments import positive, resolution
from tools.speed.contestants import CLASSES, Batch, Step
from tools.speed.timing import Timing, add_device, add_repeats, name_device, take_turns

OURS, PUBLIC = "ours", "pretrainedmodels"
FORMATS = {"channels-last": True, "channels-first": False}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print images/s of one training step (forward, backward, optimizer) of both, and their ratio.

    Ours is in retrain.py's step, the public network in plain PyTorch with autocast; each in both memory formats, of
    which its better one counts. Neither has an auxiliary head. Images are random and lie on the device.

    Raises:
        ConfigError: the package pretrainedmodels is not installed.
        DeviceError: the device is absent, or has no such precision.
    """
    options = _parser().parse_args(arguments)
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    timings = take_turns(_contestants(options, world), options.repeats, options.seconds)
    result = _describe(options, world, timings)
    print(json.dumps(result)) if options.json else _show(result)


def public_nasnet(classes: int) -> Any:
    """The package's `NASNetAMobile`, for images of any size.

    Its file is loaded by itself: the package would load all of its networks, and torchvision.

    Raises:
        ConfigError: the package is not installed.
    """
    package = find_spec("pretrainedmodels")
    if package is None or not package.submodule_search_locations:
        raise ConfigError("the public network comes with pretrainedmodels: pip install -r requirements-dev.txt")
    file = Path(package.submodule_search_locations[0]) / "models" / "nasnet_mobile.py"
    spec = spec_from_file_location("nasnet_mobile", file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.NASNetAMobile(classes)
    network.avg_pool = nn.AdaptiveAvgPool2d(1)  # its own takes images of 224 pixels only
    return network


def _contestants(options: argparse.Namespace, world: World) -> dict[str, Step]:
    precision = Precision(options.precision, options.dtype, world.device)
    steps: dict[str, Step] = {}
    for name, channels_last in FORMATS.items():
        batch = Batch(options.batch_size, options.resolution, precision, world, options.compile, channels_last)
        steps[f"{OURS}, {name}"] = batch.retraining(build_network("nasnet_a_mobile", num_classes=CLASSES))
        steps[f"{PUBLIC}, {name}"] = batch.plain_loop(public_nasnet(CLASSES))
    return steps


def _describe(options: argparse.Namespace, world: World, timings: dict[str, Timing]) -> dict[str, Any]:
    """The result as plain values; the ratio is how many times as fast as the public network ours is, each at best."""
    best = {
        who: min((f"{who}, {name}" for name in FORMATS), key=lambda name: timings[name].median)
        for who in (OURS, PUBLIC)
    }
    return {
        "resolution": options.resolution,
        "batch_size": options.batch_size,
        "precision": options.precision,
        "compiled": options.compile,
        "device": name_device(world.device),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "images_per_second": {name: timing.rates(options.batch_size) for name, timing in timings.items()},
        "best": best,
        "ratio": round(timings[best[OURS]].ratio(timings[best[PUBLIC]]), 3),
    }


def _show(result: dict[str, Any]) -> None:
    size, mode = result["resolution"], "compiled" if result["compiled"] else "eager"
    setting = f"{size} x {size}, batch {result['batch_size']}, {result['precision']}, {mode}"
    where = f"{result['device']}, {result['threads']} CPU threads, torch {result['torch']}"
    table = Table(title=f"nasnet_a_mobile, {setting}\n{where}")
    for column in ("training step", "images/s", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "training step" else "right")
    for name, rate in result["images_per_second"].items():
        table.add_row(name, *(f"{rate[key]:.1f}" for key in ("median", "lowest", "highest")))
    Console().print(table)
    print(f"{result['best'][OURS]} against {result['best'][PUBLIC]}: {result['ratio']:.3f} times as fast")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed nasnet", description=__doc__)
    parser.add_argument("--precision", choices=["O0", "O1", "O2", "O3"], default="O0", help="default: O0")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"], help="as RUNTIME.DTYPE")
    parser.add_argument("--compile", action="store_true", help="both through torch.compile")
    parser.add_argument("--resolution", type=resolution, default=224, help="pixels; default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=32, help="default: %(default)s, the published one")
    add_repeats(parser, seconds=4.0)
    add_device(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser
