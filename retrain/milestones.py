"""Accuracies at the start of a training, after shares of it, and at its end: NAS-Bench-101's protocol.

Ying et al. 2019, https://arxiv.org/abs/1902.09635, sec. 2.4, and the official `evaluate.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from configs.schema import Train
from data.loading import Images
from retrain.training import NetworkTraining
from runtime.position import StepsPerEpoch, steps_before
from supernet.evaluation import evaluate

SPLITS = {"train": "train_accuracy", "search": "validation_accuracy", "test": "test_accuracy"}


class Milestones:
    """When TRAIN.INTERMEDIATE_EVALUATIONS are due, and what they said.

    Attributes:
        epochs: at which an evaluation is due; whole ones as integers.
        results: of those that are done, in the published form: `epochs`, `training_steps`, the three accuracies as
            fractions of 1, and `predict_time`, the seconds of evaluating the test split; beside them `training_time`,
            the run's seconds until then, as the published table has them.

    Raises:
        DataError: a split has no images.
    """

    def __init__(
        self, config: Train, steps_per_epoch: StepsPerEpoch, images: Images, training: NetworkTraining
    ) -> None:
        total = steps_before(config.epochs, steps_per_epoch)
        shares = [Fraction(str(share)) for share in (0, *(config.intermediate_evaluations or ()), 1)]
        self._steps = [math.floor(share * total) for share in shares]
        self._steps_per_epoch = steps_per_epoch
        self._training = training
        self._loaders = {split: images.evaluation(split, config.evaluation_batch_size) for split in SPLITS}
        self.epochs = [_plain(share * config.epochs) for share in shares]
        self.results: list[dict[str, Any]] = []

    def state_dict(self) -> list[dict[str, Any]]:
        """What a checkpoint keeps; called by all ranks."""
        return self.results

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Inverse of `state_dict`."""
        self.results = state

    def is_due(self, steps: int) -> bool:
        """Whether the next evaluation is to be made after so many steps."""
        done = len(self.results)
        return done < len(self._steps) and self._steps[done] <= steps

    def reach(self, steps: int, seconds: float) -> dict[str, Any]:
        """Make the evaluation that is due after so many steps and seconds, and keep it; called by all ranks."""
        result = self.evaluate(steps, seconds, self.epochs[len(self.results)])
        self.results.append(result)
        return result

    @staticmethod
    def describe(result: Mapping[str, Any]) -> str:
        """One line about an evaluation."""
        shown = ", ".join(f"{name} {100 * result[key]:.2f} %" for name, key in SPLITS.items())
        return f"after {result['epochs']:g} epochs, {result['training_steps']} steps: top-1 {shown}"

    def evaluate(self, steps: int, seconds: float, epochs: float | None = None) -> dict[str, Any]:
        """One evaluation of the network as it is; `epochs` None: as many as the steps are."""
        self._training.synchronize()
        network, world = self._training.best_network, self._training.world
        accuracies = {}
        with self._training.precision.autocast():
            for split, name in SPLITS.items():
                started = time.monotonic()
                accuracies[name] = evaluate(network, self._loaders[split], world).top1 / 100
        epochs = _plain(Fraction(steps) / self._steps_per_epoch) if epochs is None else epochs
        times = {"predict_time": time.monotonic() - started, "training_time": seconds}
        return {"epochs": epochs, "training_steps": steps, **accuracies, **times}


def _plain(number: Fraction) -> int | float:
    return int(number) if number.denominator == 1 else float(number)
