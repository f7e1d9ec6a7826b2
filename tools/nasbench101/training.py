"""`train`: many cells, each a few times, collected into one JSON file and one table."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, DataError, TrainingError
from configs.loading import RECIPES, dump_config, load_config
from configs.schema import Config
from data.loading import read_shape
from nasbench.nasbench101.architectures import draw_cells, read_cells, write_cells
from nasbench.nasbench101.collection import build_table, write_all_data
from retrain.campaign import PROGRAM, Campaign, plan_trainings
from runtime.console import logger, make_logger
from runtime.device import choose_devices, count_devices
from runtime.executor import LocalExecutor
from runtime.files import explained, make_folder, remove_leftovers, write_text_atomic
from runtime.locks import locked
from runtime.progress import track
from runtime.seeds import make_generator
from runtime.world import count_cores
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.space import NasBench101Space
from tools.arguments import natural, positive

COUNT = 5
TOLD = 10  # failed trainings that the last message names
COLLECT_INTERVAL = 60.0  # seconds between two collections while trainings go on
OWN_KEYS = ("MODEL_SELECTION", "INPUT_ARCH", "SEED", "SAVE_PATH", "RESUME_PATH", "RUNTIME.DEVICE")


def add_command(commands: Any) -> None:
    """Add `train` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "train",
        help="many cells, collected into all_data.json and a table",
        description="Train cells. KEY=VALUE arguments go on to retrain.py. The same command continues what was ended.",
    )
    parser.add_argument("--count", type=positive, help=f"cells to draw where the file is not there; default: {COUNT}")
    parser.add_argument("--architectures", default="train_arch", metavar="NAME", help="DATA/NAME.json; %(default)s")
    parser.add_argument("--data", type=Path, default=Path("data"), help="its folder; default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("output"), help="default: %(default)s")
    parser.add_argument("--cfg", type=Path, default=RECIPES / "retrain" / "nasbench101.yaml", help="recipe")
    parser.add_argument("--repeats", type=positive, default=3, help="trainings of each cell; default: %(default)s")
    parser.add_argument("--attempts", type=positive, default=5, help="tries of each training; default: %(default)s")
    parser.add_argument(
        "--seed", type=natural, default=0, help="of the draw and of all trainings; default: %(default)s"
    )
    parser.add_argument("--device", default="auto", choices=["auto", "npu", "cuda", "cpu"], help="auto: an accelerator")
    parser.add_argument("--devices", type=positive, help="how many; default: all accelerators, or 1 on a cpu")
    parser.add_argument("--per-device", type=positive, default=1, help="trainings that share one; default: %(default)s")
    parser.set_defaults(run=_train, takes_keys=True)


def _train(options: argparse.Namespace) -> None:
    make_logger(0, 1)
    config = read_recipe(options.cfg, options.overrides)
    kind, devices = find_devices(options.device, options.devices)
    with locked(options.out) as lock:
        remove_leftovers(options.out)
        keep_recipe(options.out / "recipe.yaml", config, options.seed)
        cells = find_cells(options)
        known = _remember_cells(options.out / "cells.json", cells)
        folder = options.out / "cells"
        trainings = plan_trainings(known, max(options.repeats, _count_repeats(folder)), options.seed, folder)
        wanted = plan_trainings(cells, options.repeats, options.seed, folder)
        command = retrain_command(options.cfg, options.overrides, kind, len(devices) * options.per_device)
        with LocalExecutor(kind, devices, options.per_device, [lock]) as executor:
            campaign = Campaign(trainings, wanted, executor, command, options.attempts)
            Run(campaign, len(wanted), known, config.train.epochs, options.out).run()


class Run:
    """A campaign with its files OUT/all_data.json and OUT/nasbench101.safetensors."""

    def __init__(self, campaign: Campaign, total: int, cells: Mapping[str, Cell], epochs: int, out: Path) -> None:
        self.campaign, self.total, self.cells, self.epochs, self.out = campaign, total, cells, epochs, out

    def run(self) -> None:
        """Train what is left and collect everything, from time to time and however it ends.

        Raises:
            TrainingError: trainings were given up; the others are collected.
            StorageError: a file cannot be written.
        """
        campaign, collected = self.campaign, time.monotonic()
        done = self.total - len(campaign.left)
        try:
            for _ in track(campaign.run(), self.total, "cells", "trainings", completed=done):
                if time.monotonic() - collected > COLLECT_INTERVAL:
                    self.collect()
                    collected = time.monotonic()
        finally:
            self.collect()
        if campaign.failed:
            raise TrainingError(self._describe_failures())

    def collect(self) -> None:
        """Write both files anew; where there is no result yet, none."""
        results = self.campaign.collect()
        if not results:
            return
        write_all_data(self.out / "all_data.json", results)
        try:
            table = build_table(self.cells, results, self.epochs)
        except DataError as error:
            logger.warning("%s", error)
            return
        table.write(self.out / "nasbench101.safetensors")
        made = sum(map(len, results.values()))
        logger.info("%d trainings of %d cells are in %s", made, len(results), self.out / "all_data.json")

    def _describe_failures(self) -> str:
        failed = self.campaign.failed
        lines = [f"{name}: {reason}" for name, reason in islice(failed.items(), TOLD)]
        lines += [f"and {len(failed) - TOLD} more"] if len(failed) > TOLD else []
        told = "\n  ".join(lines)
        return f"{len(failed)} of {self.total} trainings failed; the same command tries them again\n  {told}"


def read_recipe(path: Path, overrides: Sequence[str]) -> Config:
    """The configuration of all trainings, refused here once rather than by each worker.

    Raises:
        ConfigError: it is wrong, or sets what this tool sets; DataError: the images are not there.
    """
    for override in overrides:
        if (key := override.partition("=")[0]) in OWN_KEYS:
            raise ConfigError(f"{key} is set for each training by this tool itself; leave {override} out")
    config = load_config(path, overrides)
    read_shape(config.data, NasBench101Space().resolution)
    return config


def find_devices(name: str, count: int | None) -> tuple[str, list[int]]:
    """The kind and the numbers of the devices to use.

    Raises:
        DeviceError: they are not there.
    """
    kind, present = count_devices(name)
    devices = list(range(count or (1 if kind == "cpu" else present)))
    return choose_devices(name, devices), devices


def retrain_command(cfg: Path, overrides: Sequence[str], kind: str, workers: int) -> list[str]:
    """What all trainings' commands begin with; workers share the cores of the machine evenly."""
    threads = f"RUNTIME.THREADS={max(1, count_cores() // workers)}"
    return [*PROGRAM, "--cfg", str(cfg), threads, *overrides, f"RUNTIME.DEVICE={kind}"]


def find_cells(options: argparse.Namespace) -> dict[str, Cell]:
    """The cells of DATA/NAME.json by hash; drawn and written where there is no such file.

    Raises:
        DataError, StorageError: as `read_cells` and `write_cells`.
    """
    path = options.data / f"{options.architectures.removesuffix('.json')}.json"
    if not path.exists():
        with explained(path):
            make_folder(path.parent)
        write_cells(path, draw_cells(options.count or COUNT, make_generator(options.seed, "nasbench101-cells")))
        logger.info("drew %d cells into %s", options.count or COUNT, path)
    cells, faults = read_cells(path)
    for key, fault in faults.items():
        logger.warning("%s: %s is left out: %s", path, key, fault)
    if options.count not in (None, len(cells) + len(faults)):
        logger.warning("%s holds %d cells and --count says %d: its cells are trained", path, len(cells), options.count)
    return cells


def keep_recipe(path: Path, config: Config, seed: int) -> None:
    """Write down what all trainings of a folder have in common; where the images lie and what runs them may change.

    Raises:
        ConfigError: the folder holds trainings of another recipe or seed.
    """
    data, runtime = config.data.model_copy(update={"path": "", "workers": 0}), type(config.runtime)()
    common = config.model_copy(update={"seed": seed, "save_path": "", "data": data, "runtime": runtime})
    text = dump_config(common)
    if not path.is_file():
        write_text_atomic(path, text)
    elif path.read_text(encoding="utf-8") != text:
        raise ConfigError(f"{path.parent} holds trainings of another recipe or seed ({path}); choose another --out")


def _remember_cells(path: Path, cells: Mapping[str, Cell]) -> dict[str, Cell]:
    """All cells that an output folder has been given, so that none leaves its results when another file is trained."""
    before = read_cells(path)[0] if path.is_file() else {}
    known = {**before, **cells}
    if known != before:
        write_cells(path, known.values())
    return known


def _count_repeats(folder: Path) -> int:
    """The largest number of a repeat of any cell in a folder; 0: there is none."""
    numbers = (path.name.removeprefix("repeat-") for path in folder.glob("*/repeat-*"))
    return max((int(number) for number in numbers if number.isdecimal()), default=0)
