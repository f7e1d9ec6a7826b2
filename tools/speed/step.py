"""How fast is a training step of the supernet, beside the same path as a plain network?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from configs.schema import Runtime
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World, start_world
from search.strategies.uniform import UniformStrategy
from search.training import SupernetTraining
from supernet.architecture import Architecture
from supernet.catalog import build_layered_space, select
from supernet.spaces.mbconv import MBConvSpace
from tools.arguments import positive, resolution
from tools.speed.contestants import CLASSES, Batch, Step, timm_spnasnet
from tools.speed.timing import Timing, add_device, add_repeats, name_device, take_turns

ENCODINGS = ("superkernel", "separate")
PLAIN = "plain network"
TIMM = "timm spnasnet_100"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print images/s of one training step (forward, backward, optimizer) for each contestant, and ratios.

    Contestants: the supernet in both encodings on one path (`SupernetTraining`, as in train.py), the same path as a
    plain network (`NetworkTraining`, as in retrain.py), and for `spnas` also timm's spnasnet_100 in plain eager
    PyTorch, which is the same network. Images are random and lie on the device: no loader takes part.

    Raises:
        ConfigError, SpaceError: the space is not known or the path not in it.
        DeviceError: the device is absent.
    """
    options = _parser().parse_args(arguments)
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    for size in options.resolution:
        bench = StepBenchmark(options, world, size)
        timings = take_turns(bench.contestants(), options.repeats, options.seconds)
        result = bench.describe(timings)
        print(json.dumps(result)) if options.json else _show(result)


class StepBenchmark:
    """The contestants of one resolution: same path, same batch, same optimizer."""

    def __init__(self, options: argparse.Namespace, world: World, size: int) -> None:
        self.options, self.world = options, world
        self.space = build_layered_space(options.space).adapted(channels=3, classes=CLASSES, resolution=size)
        self.path = _choose_path(self.space, options.path)
        precision = Precision(options.precision, options.dtype, world.device)
        self.batch = Batch(options.batch_size, size, precision, world, options.compile)

    def contestants(self) -> dict[str, Step]:
        """Everything that is timed, by name."""
        steps = {f"supernet, {encoding}": self._supernet(encoding) for encoding in ENCODINGS}
        steps[PLAIN] = self.batch.retraining(self.space.build_network(self.path))
        return {**steps, TIMM: self.batch.plain_loop(timm_spnasnet())} if self.space.name == "spnas" else steps

    def _supernet(self, encoding: str) -> Step:
        batch, supernet = self.batch, self.space.build_supernet(encoding)
        batch.place(supernet)
        strategy = UniformStrategy(supernet, batch.config.label_smoothing)
        training = SupernetTraining(batch.config, supernet, strategy, batch.precision, self.world, seed=0)
        return partial(training.step, batch.images, batch.labels, [self.path], Position(0, 0, 1))

    def describe(self, timings: dict[str, Timing]) -> dict[str, Any]:
        """The result as plain values; a ratio is above 1 where the contestant is faster than the rival."""
        batch = self.options.batch_size
        rivals = [rival for rival in (PLAIN, TIMM) if rival in timings]
        return {
            "space": self.space.name,
            "path": self.space.text(self.path),
            "resolution": self.space.resolution,
            "batch_size": batch,
            "device": name_device(self.world.device),
            "threads": torch.get_num_threads(),
            "precision": self.options.precision,
            "compiled": self.options.compile,
            "torch": torch.__version__,
            "images_per_second": {
                name: {
                    **timing.rates(batch),
                    "ratios": {rival: round(timing.ratio(timings[rival]), 3) for rival in rivals},
                }
                for name, timing in timings.items()
            },
        }


def _choose_path(space: MBConvSpace, text: str | None) -> Architecture:
    if text:
        return space.parse(text)
    if space.name == "spnas":
        return select("spnasnet_100", None, space.name).architecture
    return space.sample(make_generator(0, "tools.speed path"))


def _show(result: dict[str, Any]) -> None:
    setting = f"{result['resolution']} x {result['resolution']}, batch {result['batch_size']}, {result['precision']}"
    where = f"{result['device']}, {result['threads']} CPU threads, torch {result['torch']}"
    table = Table(title=f"{result['space']} {result['path']}\n{setting}, {where}")
    rates = result["images_per_second"]
    rivals = list(next(iter(rates.values()))["ratios"])
    for column in ("training step of", "images/s", "lowest", "highest", *(f"against {rival}" for rival in rivals)):
        table.add_column(column, justify="left" if column == "training step of" else "right")
    for name, rate in rates.items():
        values = [f"{rate[key]:.1f}" for key in ("median", "lowest", "highest")]
        table.add_row(name, *values, *(f"{ratio:.3f}" for ratio in rate["ratios"].values()))
    Console().print(table)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed step", description=__doc__)
    parser.add_argument("--space", default="spnas", help="name or YAML file; default: %(default)s")
    parser.add_argument("--path", help="an architecture of the space; default: SPNASNet-100, or one drawn from seed 0")
    parser.add_argument(
        "--resolution", type=resolution, nargs="+", default=[32, 224], help="pixels; default: %(default)s"
    )
    parser.add_argument("--batch-size", type=positive, default=64, help="default: %(default)s")
    add_repeats(parser)
    add_device(parser)
    parser.add_argument("--precision", default="O0", choices=["O0", "O1", "O2", "O3"], help="as RUNTIME.PRECISION")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"], help="as RUNTIME.DTYPE")
    parser.add_argument("--compile", action="store_true", help="all contestants through torch.compile")
    parser.add_argument("--json", action="store_true", help="one JSON object for each resolution")
    return parser
