"""Searches that test_distributed_paths.py compares between one process and two; under a launcher, runs them all."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tiny_search import BOARD, NESTED, SEED, build_search, open_digits, tiny_space
from torch import nn

from configs.schema import Picker, Runtime
from runtime.checkpoint import save_file
from runtime.seeds import make_generator
from runtime.world import World, start_world, stop_world
from search.matching import MatchingNetwork, Teacher
from search.pickers import build_picker, score_all
from supernet.blocks.superkernel import SuperBatchNorm

STEPS = 6
GLOBAL_BATCH = 16


def freeze_norms(module: nn.Module) -> None:
    """Keep batch norm in eval mode: what a batch is divided into then makes no difference."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d | SuperBatchNorm):
            norm.eval()
            norm.train = lambda mode=True, norm=norm: norm


def train_paths(world: World, encoding: str) -> dict[str, Any]:
    """Weights, momentum and paths of a few steps on the same global batches, whatever the number of ranks."""
    keys = {"BATCH_SIZE": GLOBAL_BATCH // world.size, "MOMENTUM": 0.9, "WEIGHT_DECAY": 0.01, "CLIP_GRADIENT": 1.0}
    search = build_search(open_digits(world), world, encoding=encoding, train=keys, search={"STRATEGY": "uniform"})
    search.supernet.double()
    freeze_norms(search.supernet)
    search.run(0, STEPS)
    return {
        "weights": dict(search.supernet.named_parameters()),
        "optimizer": search.training.optimizer.state_dict()["state"],
        "paths": [path.to_json() for epoch in (0, 1) for path in search.paths(epoch)],
    }


def train_prioritized(world: World) -> dict[str, Any]:
    """Everything on which ranks must agree after distilled steps with real batch norm."""
    teachers, choose = [], MatchingNetwork.choose

    def record(*arguments: Any) -> Teacher | None:
        teacher = choose(*arguments)
        teachers.append(teacher and str(teacher.architecture))
        return teacher

    MatchingNetwork.choose = record
    images = open_digits(world)
    search = build_search(images, world, train={"BATCH_SIZE": 8}, search={"BOARD": {**BOARD, "IMAGES": 41}})
    search.run(0, 10)
    MatchingNetwork.choose = choose
    return {
        "teachers": teachers,
        "weights": dict(search.supernet.named_parameters()),
        "strategy": search.strategy.state_dict(),
    }


def train_thresholds(world: World) -> dict[str, Any]:
    """Thresholds, lambda and weights after a warm-up and some steered steps on the same global batches."""
    threshold = {"WARMUP_EPOCHS": 1, "STEERING": 5.0}
    search = build_search(
        open_digits(world),
        world,
        train={"BATCH_SIZE": GLOBAL_BATCH // world.size},
        search={"STRATEGY": "threshold", "THRESHOLD": threshold, "BOARD": {**BOARD, "IMAGES": 41}},
        space=tiny_space(NESTED),
        bounds=(70_000, 100_000),
    )
    freeze_norms(search.supernet)
    search.run(0, STEPS)
    return {"strategy": search.strategy.state_dict(), "weights": dict(search.supernet.named_parameters())}


def score_fresh(world: World) -> list[dict[str, Any]]:
    """The objective's scores of some paths of a fresh supernet."""
    search = build_search(open_digits(world), world)
    return [scored.to_json() for scored in search.objective(search.window.sample(make_generator(SEED, "some"), 5))]


def evolve(world: World) -> list[dict[str, Any]]:
    """The scores of an evolution in a fresh supernet, in the order in which it asked."""
    search = build_search(open_digits(world), world)
    keys = {"NAME": "evolution", "EVALUATIONS": 13, "POPULATION": 5}
    picker = build_picker(Picker(**keys), search.window, SEED)
    return [scored.to_json() for scored in score_all(picker, search.objective, lambda picker: None)]


def main() -> None:
    world = start_world(Runtime(DEVICE="cpu", THREADS=1, TIMEOUT_MINUTES=1))
    results = {encoding: train_paths(world, encoding) for encoding in ("superkernel", "separate")}
    results |= {
        "prioritized": train_prioritized(world),
        "threshold": train_thresholds(world),
        "scores": score_fresh(world),
        "evolution": evolve(world),
    }
    save_file(results, Path(sys.argv[-1]) / f"rank{world.rank}.pth.tar")
    stop_world()


if __name__ == "__main__":
    main()
