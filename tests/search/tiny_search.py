"""A search small enough for tests: the space `tiny` on scikit-learn's digits, put together as train.py does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from configs.schema import Data, Search, Train
from data.batches import TrainingLoader
from data.loading import Images, load_images
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World
from search.objective import SupernetObjective
from search.strategies import Strategy, build_strategy
from search.training import SupernetTraining
from supernet.architecture import Architecture
from supernet.networks.path_supernet import PathSupernet
from supernet.spaces.description import SpaceDescription
from supernet.spaces.mbconv import MBConvSpace
from supernet.window import FlopsWindow

SEED = 3
TINY = (Path(__file__).parents[1] / "tiny_space.yaml").read_text()
WINDOW = (60_000, 140_000)  # 347 of the 468 architectures
NESTED = """\
name: nested
resolution: 8
channels: 1
classes: 10
stem: {channels: 8, kernel: 3, stride: 2}
operations:
  - {kernel: 3, expansion: 2}
  - {kernel: 5, expansion: 2}
  - {kernel: 3, expansion: 4}
  - {kernel: 5, expansion: 4}
  - {block: skip}
stages:
  - {channels: 8, operations: [{block: separable, kernel: 3}]}
  - {channels: 12, stride: 1, depth: 4}
  - {channels: 24, stride: 2, depth: 4}
head: {channels: 32}
"""
DATA = {"NAME": "digits", "AUGMENT": {"FLIP": 0.0, "SCALE": None, "CROP_PADDING": 1}}
TRAIN = {"EPOCHS": 4, "BATCH_SIZE": 16, "LR": 0.1, "WEIGHT_DECAY": 1e-3, "STEPS_PER_EPOCH": 4}
BOARD = {"SIZE": 3, "INTERVAL": 2, "IMAGES": 60, "RECALIBRATION_IMAGES": 32}
SEARCH = {"DISTILLATION_EPOCH": 1, "BOARD": BOARD, "MATCHING": {"INTERVAL": 2, "SLICE": 4, "LR": 0.01}}


def tiny_space(text: str = TINY) -> MBConvSpace:
    return MBConvSpace(SpaceDescription.model_validate(yaml.safe_load(text)))


def open_digits(world: World | None = None) -> Images:
    return load_images(Data(**DATA), SEED, 8, world=world or World(), device=torch.device("cpu"))


@dataclass(frozen=True)
class TinySearch:
    """What train.py holds while it trains a supernet."""

    space: MBConvSpace
    window: FlopsWindow
    loader: TrainingLoader
    supernet: PathSupernet
    objective: SupernetObjective
    strategy: Strategy
    training: SupernetTraining

    def paths(self, epoch: int) -> list[Architecture]:
        return self.window.sample(make_generator(SEED, "paths", epoch), self.loader.steps)

    def run(self, first: int, last: int) -> list[float]:
        """The steps `first` … `last` - 1 since the start; their losses."""
        losses, steps = [], self.loader.steps
        for epoch in range(first // steps, -(-last // steps)):
            begin, end = max(0, first - epoch * steps), min(steps, last - epoch * steps)
            paths = self.paths(epoch)
            for step, (images, labels) in zip(range(begin, end), self.loader.epoch(epoch, begin)):
                dtype = self.supernet.conv_stem.weight.dtype
                position = Position(epoch, step, steps)
                losses.append(self.training.step(images.to(dtype), labels, paths, position).item())
            if end == steps:
                self.strategy.end_epoch()
        return losses


def build_search(
    images: Images,
    world: World | None = None,
    *,
    encoding: str = "superkernel",
    train: Mapping[str, Any] = {},
    search: Mapping[str, Any] = {},
    precision: Precision | None = None,
    space: MBConvSpace | None = None,
    bounds: tuple[int, int] = WINDOW,
) -> TinySearch:
    """A fresh search; `train` and `search` override keys of TRAIN and SEARCH above."""
    world = world or World()
    precision = precision or Precision("O0", "bfloat16", torch.device("cpu"))
    config, space = Train(**{**TRAIN, **train}), space or tiny_space()
    search_config = Search(**{**SEARCH, **search})
    supernet = space.build_supernet(encoding, make_generator(SEED, "supernet")).train()
    recalibration = images.evaluation("train", 32, search_config.board.recalibration_images, shard=False, keep=True)
    held_out = images.evaluation("search", 40, search_config.board.images, shard=False, keep=True)
    objective = SupernetObjective(space, supernet, recalibration, held_out, world, precision)
    window = space.window(*bounds)
    strategy = build_strategy(search_config, supernet, objective, window, config, SEED, world)
    training = SupernetTraining(config, supernet, strategy, precision, world, SEED)
    loader = images.training(config.batch_size, steps_per_epoch=config.steps_per_epoch)
    return TinySearch(space, window, loader, supernet, objective, strategy, training)


def snapshot(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all parameters and buffers."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def assert_identical(first: Any, second: Any, where: str = "state") -> None:
    """Two nested states are equal to the bit."""
    assert type(first) is type(second), where
    if isinstance(first, Mapping):
        assert list(first) == list(second), where
        for key in first:
            assert_identical(first[key], second[key], f"{where}[{key!r}]")
    elif isinstance(first, list | tuple):
        assert len(first) == len(second), where
        for number, (one, other) in enumerate(zip(first, second)):
            assert_identical(one, other, f"{where}[{number}]")
    elif isinstance(first, torch.Tensor):
        assert torch.equal(first, second), where
    else:
        assert first == second, where
