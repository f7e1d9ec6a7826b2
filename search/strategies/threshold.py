"""Single-Path NAS: the superkernel's weights decide (Stamoulis et al. 2019, https://arxiv.org/abs/1904.02877)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional

from configs.schema import Search, Train
from runtime.console import logger
from runtime.optimization import average_gradients, set_learning_rate
from runtime.position import Position
from runtime.seeds import make_generator
from runtime.world import World
from search.objective import SupernetObjective
from search.scores import Scored
from search.strategies.steering import Steering
from search.strategies.strategy import Strategy
from supernet.architecture import Architecture
from supernet.cost import format_millions
from supernet.expected_cost import ExpectedCost
from supernet.latency import read_latency_table
from supernet.networks.decisions import Decisions
from supernet.networks.path_supernet import PathSupernet
from supernet.spaces.mbconv import MBConvSpace
from supernet.window import FlopsWindow

BETAS = 0.5, 0.999  # of Adam: little momentum, so that decisions do not run through a narrow window


class ThresholdStrategy(Strategy):
    """CE + lambda * log(R): thresholds learn which shells of the superkernel a network needs, at what cost R.

    Every step runs the network of the present decisions, not the path that it is given. In the first epochs lambda is
    0 and indicators are dropped out, so that all sub-kernels train.

    Args:
        objective: measures the decided network, and its nearest in the window, on the search split.
        seed: what the dropped indicators derive from.
    """

    follows_paths = False

    def __init__(
        self,
        config: Search,
        supernet: PathSupernet,
        objective: SupernetObjective,
        window: FlopsWindow,
        train: Train,
        seed: int,
        world: World,
    ) -> None:
        self.config, self.candidates = config.threshold, config.board.size
        self.supernet, self.objective, self.window = supernet, objective, window
        self.train, self.seed, self.world = train, seed, world
        self.space = cast(MBConvSpace, objective.space)
        self.decisions = Decisions(self.space, supernet)
        self.thresholds = self.decisions.thresholds
        self.optimizer = torch.optim.Adam([self.thresholds], betas=BETAS)
        self.macs = self.cost = ExpectedCost.of_macs(self.space, self.thresholds.detach())
        if self.config.latency_table:
            table = read_latency_table(self.config.latency_table, self.space)
            self.cost = ExpectedCost.of_latency(self.space, table, self.thresholds.detach())
        self.steering = Steering(self.config.cost_weight, self.config.steering, window, self.thresholds.device)
        self.nearest: list[Scored] = []

    def loss(self, images: Tensor, labels: Tensor, path: Architecture, position: Position) -> Tensor:
        """The loss of one batch on the network of the present decisions."""
        self.thresholds.grad = None
        decided = self.decisions(self._kept(position))
        logits = self.supernet(images, self.decisions.path(decided)).float()
        cross_entropy = functional.cross_entropy(logits, labels, label_smoothing=self.train.label_smoothing)
        if self._is_warming_up(position):
            return cross_entropy
        gates = [one.gates for one in decided]
        self._macs = self.macs(gates).detach()
        return cross_entropy + self.steering.weight * self.cost(gates).log()

    def _is_warming_up(self, position: Position) -> bool:
        return position.epoch < self.config.warmup_epochs

    def _kept(self, position: Position) -> Tensor | None:
        """The indicators, (decisions,), that a step of the warm-up keeps: the same on every rank."""
        if not self._is_warming_up(position):
            return None
        generator = make_generator(self.seed, "indicators", position.total)
        shares = torch.full(self.thresholds.shape, self.config.keep)
        return shares.bernoulli(generator=generator).to(self.thresholds.device)

    def after_step(self, images: Tensor, paths: Sequence[Architecture], position: Position, lr: float) -> None:
        """Move the thresholds, and steer lambda by what the step's network cost."""
        self._move_thresholds(position)
        if not self._is_warming_up(position):
            self.steering.follow(self._macs, float(position.steps_per_epoch))

    @torch.no_grad()
    def _move_thresholds(self, position: Position) -> None:
        """Nowhere after a step whose gradients were not finite, on any rank."""
        average_gradients([self.thresholds], self.world)
        gradient = self.thresholds.grad
        assert gradient is not None
        finite = gradient.isfinite().all()
        gradient.nan_to_num_(0.0, 0.0, 0.0)
        set_learning_rate(self.optimizer, self._rate(position))
        before = self.thresholds.clone()
        self.optimizer.step()
        self.thresholds.copy_(before.lerp(self.thresholds, self.steering.haste * finite))

    def _rate(self, position: Position) -> float:
        """Adam's: after the warm-up ever less, down to 0, so that decisions come to rest."""
        left = self.train.epochs - position.total / float(position.steps_per_epoch)
        share = min(1.0, left / max(1, self.train.epochs - self.config.warmup_epochs))
        return self.config.lr * share / float(position.steps_per_epoch)

    @torch.no_grad()
    def end_epoch(self) -> None:
        """Measure the decided network, and the next nearest architectures of the window."""
        decided = self.decisions()
        read_out = self.decisions.read_out(decided)
        nearest = [path for _, path in self.window.top_k(self.decisions.scores(decided), self.candidates)]
        macs = format_millions(self.space.cost(read_out).macs)
        place = "inside the window"
        if read_out not in self.window:
            place = f"outside the window, where {self.space.text(nearest[0])} is nearest by its margins"
        logger.info("the decisions read %s of %s M MACs, %s", self.space.text(read_out), macs, place)
        self.nearest = self.objective(nearest)

    @property
    def prioritized(self) -> list[Scored]:
        """The decided network if it is in the window, and the next nearest by the decisions' margins."""
        return self.nearest

    @torch.no_grad()
    def metrics(self) -> dict[str, float]:
        """Of the decided network: million MACs, milliseconds by a table, decisions that are on; and lambda."""
        decided = self.decisions()
        gates = [one.gates for one in decided]
        on = sum(int((one.margins >= 0).sum()) for one in decided)
        measured = {
            "threshold/macs": self.macs(gates).item(),
            "threshold/lambda": self.steering.weight.item(),
            "threshold/on": on,
        }
        return {**measured, "threshold/ms": self.cost(gates).item()} if self.config.latency_table else measured

    @torch.no_grad()
    def facts(self) -> dict[str, Any]:
        """The decided network, wherever it is."""
        return {"read_out": self.space.text(self.decisions.read_out(self.decisions()))}

    def state_dict(self) -> dict[str, Any]:
        """Thresholds, lambda's state, and what was measured last."""
        return {
            "thresholds": self.thresholds.detach(),
            "optimizer": self.optimizer.state_dict(),
            "steering": self.steering.state_dict(),
            "nearest": [scored.to_json() for scored in self.nearest],
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.thresholds.copy_(state["thresholds"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.steering.load_state_dict(state["steering"])
        self.nearest = [Scored.from_json(value) for value in state["nearest"]]
