"""How fast is a step of Cream's prioritized training, beside the plain step of the same supernet?"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from itertools import count
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from configs.schema import Runtime, Search, Train
from runtime.device import memory_format
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World, start_world
from search.board import BoardEntry
from search.matching import path_softmax
from search.objective import SupernetObjective
from search.scores import Scored
from search.strategies import Strategy
from search.strategies.prioritized import PrioritizedStrategy
from search.strategies.uniform import UniformStrategy
from search.training import SupernetTraining
from supernet.architecture import Architecture
from supernet.catalog import build_layered_space
from supernet.cost import macs_from_millions
from supernet.networks.path_supernet import PathSupernet
from tools.arguments import positive, resolution
from tools.speed.timing import Timing, add_device, add_repeats, name_device, take_turns

ENCODINGS = ("superkernel", "separate")
CLASSES = 1000
NEVER = 1_000_000  # steps: updates are timed by themselves
UNIFORM, PRIORITIZED = "uniform step", "prioritized step"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print images/s of both steps with their ratio, and what each part of the prioritized step takes.

    The prioritized step is a real one of `SupernetTraining` with a full board in a distillation epoch: choice of a
    teacher, its forward pass, the student's forward and backward pass, optimizer. Drawing a path and the updates of
    board and matching network are timed by themselves, and added with one share in their interval. Both contestants
    train the same paths. Images are random and lie on the device: no loader takes part.

    Raises:
        ConfigError, SpaceError, WindowError: the space is not known, or its window empty.
        DeviceError: the device is absent.
    """
    options = _parser().parse_args(arguments)
    world = start_world(Runtime(DEVICE=options.device, THREADS=options.threads))
    for encoding in options.encoding:
        result = CreamBenchmark(options, world, encoding).measure()
        print(json.dumps(result)) if options.json else _show(result)


class CreamBenchmark:
    """One encoding: a supernet for each strategy, and a full board of paths of the window."""

    def __init__(self, options: argparse.Namespace, world: World, encoding: str) -> None:
        self.options, self.world, self.encoding = options, world, encoding
        size, device = options.resolution, world.device
        self.space = build_layered_space(options.space).adapted(channels=3, classes=CLASSES, resolution=size)
        self.window = self.space.window(0, macs_from_millions(options.flops_maximum))
        self.precision = Precision(options.precision, options.dtype, device)
        self.format = memory_format(device, channels_last=True)
        images = {"IMAGES": options.board_images, "RECALIBRATION_IMAGES": options.board_images}
        self.recipe = Search(BOARD=images)  # for the rest Cream's settings
        self.generator = make_generator(0, "tools.speed cream")
        self.images, self.labels = self._draw_batch(options.batch_size)
        self.supernet = self._build_supernet()
        self.strategy = self._build_strategy()
        self.paths = self.window.sample(self.generator, options.paths)
        self._fill_board()

    def _draw_batch(self, count: int) -> tuple[Tensor, Tensor]:
        size = self.options.resolution
        images = torch.randn(count, 3, size, size, generator=self.generator)
        labels = torch.randint(CLASSES, (count,), generator=self.generator)
        return images.to(self.world.device, memory_format=self.format), labels.to(self.world.device)

    def _build_supernet(self) -> PathSupernet:
        supernet = self.space.build_supernet(self.encoding)
        supernet.to(self.world.device, memory_format=self.format)  # type: ignore[call-overload]  # missing in torch's stubs
        return supernet.train()

    def _build_strategy(self) -> PrioritizedStrategy:
        train, number = Train(), self.options.board_images
        batch = self._draw_batch(min(number, train.evaluation_batch_size))
        batches = [batch] * -(-number // train.evaluation_batch_size)
        objective = SupernetObjective(self.space, self.supernet, batches, batches, self.world, self.precision)
        config = Search(DISTILLATION_EPOCH=0, BOARD={"INTERVAL": NEVER}, MATCHING={"INTERVAL": NEVER})
        return PrioritizedStrategy(config, self.supernet, objective, train.label_smoothing, 0, self.world)

    def _fill_board(self) -> None:
        """Entries as they enter, but for their accuracy: measuring it would take a minute, and changes no timing."""
        slice_size = self.recipe.matching.slice
        for path in self.window.sample(self.generator, self.recipe.board.size):
            cost = self.space.cost(path)
            images, _ = self._draw_batch(slice_size)
            features = torch.full((slice_size, CLASSES), 1 / CLASSES, device=self.world.device)
            self.strategy.board.enter(BoardEntry(Scored(path, 50.0, cost.macs, cost.params), images, features))

    def measure(self) -> dict[str, Any]:
        """Time everything; the result as plain values."""
        options, config = self.options, self.recipe
        steps = take_turns(self._steps(), options.repeats, options.seconds)
        updates = take_turns(self._updates(), min(3, options.repeats), seconds=0.0, warm_up=1)
        per_step = {name: timing.median / options.paths for name, timing in steps.items()}
        shares = {
            "matching update": updates["matching"].median / config.matching.interval,
            "board update": updates["board"].median / config.board.interval,
            "drawing a path": updates["drawing"].median / config.board.interval,
        }
        extra = sum(shares.values()) * options.paths
        full = Timing(tuple(seconds + extra for seconds in steps[PRIORITIZED].repeats))
        return self._describe(steps[UNIFORM], full, {**per_step, **shares})

    def _steps(self) -> dict[str, Callable[[], object]]:
        """What happens at every step; one call goes over all paths."""
        rival = self._build_supernet()
        return {
            UNIFORM: self._training(rival, UniformStrategy(rival, Train().label_smoothing)),
            PRIORITIZED: self._training(self.supernet, self.strategy),
            "choice of a teacher": self._on_each_path(
                partial(self.strategy.choose_teacher, position=Position(0, 0, NEVER))
            ),
            "teacher's forward pass": self._on_each_path(partial(path_softmax, self.supernet, self.images)),
        }

    def _training(self, supernet: PathSupernet, strategy: Strategy) -> Callable[[], object]:
        # a small rate: on random images a step that diverges would be skipped, not timed
        training = SupernetTraining(Train(LR=1e-3), supernet, strategy, self.precision, self.world, seed=0)

        def step() -> None:
            for number in range(len(self.paths)):
                training.step(self.images, self.labels, self.paths, Position(0, number, NEVER))

        return step

    def _on_each_path(self, act: Callable[[Architecture], object]) -> Callable[[], object]:
        def call() -> None:
            with self.precision.autocast():
                for path in self.paths:
                    act(path)

        return call

    def _updates(self) -> dict[str, Callable[[], object]]:
        """What happens once in an interval, with paths that are not on the board."""
        position, board = Position(0, 0, NEVER), self.recipe.board
        fresh = self.window.sample(self.generator, board.candidates * 20)
        numbers = count()

        def update_board() -> None:
            first = next(numbers) * board.candidates % len(fresh)
            with self.precision.autocast():
                self.strategy.update_board(fresh[first : first + board.candidates], position)

        def update_matching() -> None:
            with self.precision.autocast():
                self.strategy.update_matching(self.images, self.paths[0], position, 1e-3)

        return {
            "matching": update_matching,
            "board": update_board,
            "drawing": lambda: self.window.sample(self.generator, board.interval),
        }

    def _describe(self, uniform: Timing, full: Timing, parts: dict[str, float]) -> dict[str, Any]:
        options = self.options
        images = options.batch_size * options.paths
        return {
            "space": self.space.name,
            "encoding": self.encoding,
            "resolution": options.resolution,
            "batch_size": options.batch_size,
            "device": name_device(self.world.device),
            "threads": torch.get_num_threads(),
            "precision": options.precision,
            "torch": torch.__version__,
            "images_per_second": {"uniform": uniform.rates(images), "prioritized": full.rates(images)},
            "ratio": round(full.ratio(uniform), 3),
            "milliseconds": {name: round(1e3 * seconds, 2) for name, seconds in parts.items()},
        }


def _show(result: dict[str, Any]) -> None:
    size = result["resolution"]
    title = (
        f"{result['space']}, {result['encoding']}, {size} x {size}, batch {result['batch_size']}, {result['precision']}"
    )
    where = f"{result['device']}, {result['threads']} CPU threads, torch {result['torch']}"
    table = Table(title=f"{title}\n{where}")
    for column in ("training", "images/s", "lowest", "highest"):
        table.add_column(column, justify="left" if column == "training" else "right")
    for name, rate in result["images_per_second"].items():
        table.add_row(name, *(f"{rate[key]:.1f}" for key in ("median", "lowest", "highest")))
    parts = Table(title=f"prioritized at {result['ratio']:.3f} of uniform")
    parts.add_column("part of a step (updates: their share)")
    parts.add_column("ms", justify="right")
    for name, milliseconds in result["milliseconds"].items():
        parts.add_row(name, f"{milliseconds:.2f}")
    console = Console()
    console.print(table)
    console.print(parts)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed cream", description=__doc__)
    parser.add_argument("--space", default="cream", help="name or YAML file; default: %(default)s")
    parser.add_argument("--encoding", nargs="+", choices=ENCODINGS, default=ENCODINGS, help="default: both")
    parser.add_argument("--flops-maximum", default="600", help="millions of MACs of the window; default: %(default)s")
    parser.add_argument("--resolution", type=resolution, default=32, help="pixels; default: %(default)s")
    parser.add_argument("--batch-size", type=positive, default=128, help="default: %(default)s")
    parser.add_argument("--paths", type=positive, default=8, help="trained in turn by both; default: %(default)s")
    parser.add_argument(
        "--board-images",
        type=positive,
        default=Search().board.images,
        help="as SEARCH.BOARD.IMAGES, and as many to recalibrate on; default: %(default)s",
    )
    add_repeats(parser)
    add_device(parser)
    parser.add_argument("--precision", default="O0", choices=["O0", "O1"], help="as RUNTIME.PRECISION")
    parser.add_argument("--dtype", default="bfloat16", choices=["float16", "bfloat16"], help="as RUNTIME.DTYPE")
    parser.add_argument("--json", action="store_true", help="one JSON object for each encoding")
    return parser
