"""Do trainings of small cells gain from sharing a device? `python -m tools.speed sharing --cells 4 KEY=VALUE …`.

The same cells of NAS-Bench-101 are trained on one device by one worker after another, then by several at a time; what
is compared is the time of all of them, the start of the processes included. KEY=VALUE goes on to retrain.py.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from configs.errors import TrainingError
from configs.loading import RECIPES
from nasbench.nasbench101.architectures import draw_cells
from retrain.campaign import Campaign, plan_trainings
from runtime.executor import LocalExecutor
from runtime.progress import track
from runtime.seeds import make_generator
from supernet.spaces.nasbench101.cell import Cell
from tools.arguments import positive
from tools.nasbench101.training import find_devices, read_recipe, retrain_command


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both in turn, since a machine's speed drifts; print seconds and the median of the rounds' ratios.

    Raises:
        TrainingError: a training failed; OnePathError: as `tools.nasbench101 train`.
    """
    options = _parser().parse_intermixed_args(arguments)
    read_recipe(options.cfg, options.overrides)
    kind, _ = find_devices(options.device, 1)
    cells = draw_cells(options.cells, make_generator(0, "sharing"))
    seconds: dict[int, list[float]] = {1: [], options.workers: []}
    for _ in range(options.rounds):
        for workers, taken in seconds.items():
            command = retrain_command(options.cfg, options.overrides, kind, workers)
            taken.append(_measure(cells, kind, workers, command))
    gain = median(alone / shared for alone, shared in zip(seconds[1], seconds[options.workers]))
    if options.json:
        rounded = {str(workers): [round(one, 2) for one in taken] for workers, taken in seconds.items()}
        print(json.dumps({"device": kind, "cells": options.cells, "seconds": rounded, "gain": round(gain, 3)}))
        return
    for workers, taken in seconds.items():
        print(f"{options.cells} cells, {workers} at a time on one {kind}: {', '.join(f'{one:.1f}' for one in taken)} s")
    print(f"gain of sharing: {gain:.2f}")


def _measure(cells: Sequence[Cell], kind: str, workers: int, command: Sequence[str]) -> float:
    """Seconds to train all cells once, so many at a time."""
    with TemporaryDirectory() as folder, LocalExecutor(kind, [0], workers) as executor:
        trainings = plan_trainings({cell.hash: cell for cell in cells}, 1, 0, Path(folder))
        campaign = Campaign(trainings, trainings, executor, command, 1)
        started = time.perf_counter()
        for _ in track(campaign.run(), len(trainings), f"{workers} at a time", "trainings"):
            pass
        for name, reason in campaign.failed.items():
            raise TrainingError(f"the training {name} failed: {reason}")
        return time.perf_counter() - started


def at_least_two(text: str) -> int:
    """A number of workers that share."""
    if positive(text) < 2:
        raise argparse.ArgumentTypeError("a device is shared by 2 workers at least")
    return positive(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.speed sharing", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=positive, default=4, help="default: %(default)s")
    parser.add_argument("--workers", type=at_least_two, default=2, help="on the device at a time; default: %(default)s")
    parser.add_argument("--rounds", type=positive, default=3, help="of both, taking turns; default: %(default)s")
    parser.add_argument("--device", default="auto", choices=["auto", "npu", "cuda", "cpu"], help="auto: an accelerator")
    parser.add_argument("--cfg", type=Path, default=RECIPES / "retrain" / "nasbench101.yaml", help="recipe")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="for retrain.py")
    return parser
