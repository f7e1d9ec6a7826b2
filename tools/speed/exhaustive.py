"""How fast are cells measured abreast by a supernet's weights, beside one after another as plain networks?

python -m tools.speed exhaustive --cells 32 --abreast 16 --stem-channels 16 --num-cells 5

Neighbouring cells of NAS-Bench-201 in the order of an exhaustive search; both ways recalibrate batch norm and evaluate.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from configs.schema import Runtime
from runtime.device import memory_format
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World, start_world
from search.objective import SupernetObjective
from supernet.spaces.nasbench201.costs import NasBench201Description
from supernet.spaces.nasbench201.space import NasBench201Space
from tools.arguments import positive
from tools.speed.timing import Timing, add_device, add_repeats, name_device, take_turns

ALONE = "one after another"
RECALIBRATION, HELD_OUT = 2, 8  # batches
SIZE = 32  # pixels


def main(arguments: Sequence[str] | None = None) -> None:
    """Print cells/s of both, their ratio in the same run, and the hours that all cells of the space would take.

    Raises:
        DeviceError: the device is absent.
    """
    options = _parser().parse_args(arguments)
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    space = NasBench201Space(
        NasBench201Description(stem_channels=options.stem_channels, num_cells=options.num_cells, resolution=SIZE)
    )
    measure = build_objectives(space, options, world)
    cells = space.window(0, 10**12).architectures
    first = len(cells) // 2
    some = cells[first : first + options.cells]
    contestants = {name: partial(objective, some) for name, objective in measure.items()}
    timings = take_turns(contestants, options.repeats, options.seconds, warm_up=1)
    result = describe(timings, options, space.count, name_device(world.device))
    print(json.dumps(result) if options.json else _sentence(result))


def build_objectives(
    space: NasBench201Space, options: argparse.Namespace, world: World
) -> dict[str, SupernetObjective]:
    """The objective of train.py on random images, in both ways, over one supernet."""
    layout = memory_format(world.device, channels_last=True)
    supernet = space.build_supernet("separate", make_generator(0, "tools.speed")).train()
    supernet.to(world.device, memory_format=layout)  # type: ignore[call-overload]  # missing in torch's stubs
    train, search = (_batches(options.batch_size, count, world.device) for count in (RECALIBRATION, HELD_OUT))
    precision = Precision("O0", "bfloat16", world.device)
    return {
        name: SupernetObjective(space, supernet, train, search, World(device=world.device), precision, abreast)
        for name, abreast in ((ALONE, 1), (f"{options.abreast} abreast", options.abreast))
    }


def _batches(size: int, count: int, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    generator = make_generator(count, "tools.speed")
    images = torch.randn(count, size, 3, SIZE, SIZE, generator=generator).to(device)
    labels = torch.randint(10, (count, size), generator=generator).to(device)
    return list(zip(images, labels))


def describe(timings: dict[str, Timing], options: argparse.Namespace, count: int, device: str) -> dict[str, Any]:
    """Everything as a JSON object."""
    alone, abreast = timings.values()
    return {
        "device": device,
        "images": options.batch_size * (RECALIBRATION + HELD_OUT),
        "cells_per_second": {name: round(options.cells / one.median, 3) for name, one in timings.items()},
        "all_hours": {name: round(count * one.median / options.cells / 3600, 2) for name, one in timings.items()},
        "ratio": round(abreast.ratio(alone), 3),
    }


def _sentence(result: dict[str, Any]) -> str:
    rates = (
        f"{name}: {rate:.3g} cells/s, {result['all_hours'][name]:.3g} h for all of them"
        for name, rate in result["cells_per_second"].items()
    )
    return "\n".join([f"{result['device']}, {result['images']} images a cell", *rates, f"ratio {result['ratio']:.2f}"])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.speed exhaustive",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--cells", type=positive, default=32, help="that are measured; default: %(default)s")
    parser.add_argument("--abreast", type=positive, default=16, help="PICKER.ABREAST; default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=256, help="images of a batch; default: %(default)s")
    parser.add_argument("--stem-channels", type=positive, default=16, help="default: %(default)s")
    parser.add_argument("--num-cells", type=positive, default=5, help="cells of a stage; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    add_device(parser)
    add_repeats(parser, seconds=0.1)
    return parser
