"""Trainings that test_accumulation.py compares between one process and two; under a launcher, runs them all."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from little_network import little_selection
from torch import nn

from configs.schema import Augment, Data, Runtime, Train
from data.batches import Destination
from data.datasets import DIGITS, Dataset
from data.examples import ImageArray
from data.loading import Images
from retrain.training import NetworkTraining
from runtime.checkpoint import save_file
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World, start_world, stop_world
from supernet.evaluation import evaluate

STEPS, GLOBAL_BATCH = 4, 32
KEYS = {"LR": 1.0, "EPOCHS": 1, "WARMUP_EPOCHS": 0.5, "WEIGHT_DECAY": 0.01}


def draw_examples(count: int, seed: int) -> ImageArray:
    """Noise around a pattern for each class: importing scikit-learn's digits would take longer than all of this."""
    patterns = np.random.default_rng(0).integers(0, 128, (10, 8, 8, 1), np.uint8)
    labels = np.arange(count) % 10
    noise = np.random.default_rng(seed).integers(0, 128, (count, 8, 8, 1), np.uint8)
    return ImageArray(patterns[labels] + noise, labels)


def open_images(world: World) -> Images:
    """101 test images, which two ranks share unequally."""
    dataset = Dataset(tuple("0123456789"), draw_examples(400, 1), draw_examples(101, 2), DIGITS)
    config = Data(NAME="digits", AUGMENT={"FLIP": 0.0, "SCALE": None, "CROP_PADDING": 1})
    return Images(config, dataset, 0, 8, world, Destination(torch.device("cpu")))


def build(world: World, accumulation: int, norms: bool = False, **keys: float) -> NetworkTraining:
    """A little network in float64; without batch norm, to which it matters what a batch is divided into."""
    selection = little_selection()
    network = selection.space.build_network(selection.architecture, make_generator(0, "network")).double()
    for module in list(network.modules()) if not norms else []:
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    batch_size = GLOBAL_BATCH // world.size // accumulation
    config = Train(**KEYS, BATCH_SIZE=batch_size, ACCUMULATION=accumulation, **keys)
    precision = Precision("O0", "bfloat16", torch.device("cpu"))
    return NetworkTraining(config, Augment(), network, 10, precision, world, 0)


def advance(training: NetworkTraining, world: World, spoilt: int | None = None) -> list[float]:
    """Losses of the same global batches, whatever the micro-batches and ranks; `spoilt`: a step with a NaN image.

    The NaN lies in the last image of the last rank: in one of its micro-batches only.
    """
    loader = open_images(world).training(GLOBAL_BATCH // world.size, steps_per_epoch=STEPS)
    losses = []
    for step, (images, labels) in enumerate(loader.epoch(0)):
        pixels = images.double()
        if step == spoilt and world.rank == world.size - 1:
            pixels[-1] = torch.nan
        losses.append(training.step(pixels, labels, Position(0, step, STEPS)).item())
    return losses


def train(world: World, accumulation: int, **keys: float) -> dict[str, Any]:
    """Everything that steps leave behind."""
    training = build(world, accumulation, **keys)
    losses, lr = advance(training, world), training.optimizer.param_groups[0]["lr"]
    weights = {"weights": dict(training.network.state_dict()), "averaged": dict(training.best_network.state_dict())}
    return {"losses": losses, "lr": lr, **weights}


def skip(world: World, accumulation: int) -> dict[str, Any]:
    """The faults that were seen, and whether all (statistics of batch norm included) stayed finite."""
    training = build(world, accumulation, norms=True)
    advance(training, world, spoilt=1)
    finite = [bool(value.isfinite().all()) for value in training.network.state_dict().values()]
    return {"faults": training.guard.take_faults(), "finite": all(finite)}


def measure(world: World) -> dict[str, float]:
    """The accuracy of one fresh network on the test split."""
    network = build(world, 1, norms=True).network.float()
    return asdict(evaluate(network, open_images(world).evaluation("test", 17), world))


def main() -> None:
    world = start_world(Runtime(DEVICE="cpu", THREADS=1, TIMEOUT_MINUTES=1))
    results = {"train": train(world, 4), "skip": skip(world, 2), "measure": measure(world)}
    save_file(results, Path(sys.argv[-1]) / f"rank{world.rank}.pth.tar")
    stop_world()


if __name__ == "__main__":
    main()
