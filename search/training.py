"""Training a supernet: one path a step, the same on every rank."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

from torch import Tensor

from configs.schema import Train
from runtime.guard import GuardedStep
from runtime.optimization import build_optimizer, learning_rate, load_optimizer, set_learning_rate
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import seed_libraries
from runtime.world import World
from search.strategies import Strategy
from supernet.networks.supernets import Supernet


class SupernetTraining:
    """The supernet, its optimizer and its strategy: everything that a step changes and a checkpoint keeps."""

    def __init__(
        self,
        config: Train,
        supernet: Supernet,
        strategy: Strategy,
        precision: Precision,
        world: World,
        seed: int,
    ) -> None:
        self.config, self.supernet, self.strategy = config, supernet, strategy
        self.precision, self.world, self.seed = precision, world, seed
        self.weights, self.optimizer = precision.prepare(supernet, partial(build_optimizer, config))
        self.guard = GuardedStep(self.weights, self.optimizer, config.clip_gradient, precision, world)

    def step(self, images: Tensor, labels: Tensor, paths: Sequence[Any], position: Position) -> Tensor:
        """One step, on the epoch's path of this position; the loss, not synchronised with the host."""
        if not self.supernet.training:  # evaluation left it so; setting the mode walks all modules
            self.supernet.train()
        seed_libraries(self.seed, "step", position.total, self.world.rank)
        lr = learning_rate(self.config, position.total, position.steps_per_epoch)
        set_learning_rate(self.optimizer, lr)
        loss = self.guard(lambda: self.strategy.loss(images, labels, paths[position.step], position))
        with self.precision.autocast():
            self.strategy.after_step(images, paths, position, lr)
        return loss

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimizer, loss scale, strategy; called by all ranks, of whose batch-norm statistics it has all."""
        averages, shares = self.guard.statistics.state_dict(self.world)
        return {
            "state_dict": {**self.weights.state_dict(), **averages},
            "statistics": shares,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
            "strategy_state": self.strategy.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.weights.load_state_dict(state["state_dict"])
        self.guard.statistics.load(state["statistics"], self.world)
        load_optimizer(self.optimizer, state["optimizer"])
        self.precision.load_state_dict(state["precision"])
        self.strategy.load_state_dict(state["strategy_state"])


def operation_frequencies(paths: Sequence[Any]) -> dict[str, float]:
    """Share of each operation index among all blocks of some paths, and their mean depth."""
    counts = Counter(index for path in paths for stage in path.stages for index in stage)
    blocks = sum(counts.values())
    shares = {f"operations/{index}": count / blocks for index, count in sorted(counts.items())}
    return {**shares, "operations/blocks": blocks / len(paths)}
