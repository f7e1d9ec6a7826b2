"""One training of a cell as NAS-Bench-201 records it: loss, accuracies and seconds of each epoch, on each of its sets.

Dong and Yang 2020, https://arxiv.org/abs/2001.00326, sec. 2.3 and 2.4. The record has the fields of the official
`ResultsCount`: of the training images they are those of the epoch's own steps, augmented, while the weights move.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from configs.errors import ConfigError
from configs.schema import Config, Data
from data.loading import Images
from data.splits import HALVES
from retrain.training import NetworkTraining
from runtime.position import StepsPerEpoch, steps_before
from supernet.catalog import Selection
from supernet.cost import Cost
from supernet.evaluation import Evaluation, count_correct, evaluate
from supernet.spaces.nasbench201.space import NasBench201Space

SPLITS = {"x-valid": "search", "ori-test": "test"}
CIFAR100 = dict(zip(("x-valid", "x-test"), HALVES))  # ori-test is both together
METRICS = {"acc1es": "top1", "acc5es": "top5", "losses": "loss", "times": "seconds"}
Measured = dict[str, dict[str, float]]  # by set: top1, top5 (percent), loss, images, seconds


class Trial:
    """A training of a cell, evaluated after each epoch on every image that it does not train on.

    Attributes:
        name: the data set in NAS-Bench-201's words: with a search split `cifar10-valid`, without one `cifar10`.
        epochs: what a checkpoint has to agree on: when evaluations are made, of what.
        results: of each finished epoch: by set its evaluation; `train` is that of the epoch's steps.

    Raises:
        ConfigError: the network is no cell of NAS-Bench-201, or its training images are mixed.
        DataError: a set has no images.
    """

    def __init__(
        self,
        config: Config,
        selection: Selection,
        steps_per_epoch: StepsPerEpoch,
        images: Images,
        training: NetworkTraining,
    ) -> None:
        if not isinstance(selection.space, NasBench201Space):
            raise ConfigError(
                f"TRAIN.TRIAL records cells of NAS-Bench-201, and {selection.name} is none; set it to false"
            )
        if training.mixup:
            raise ConfigError("TRAIN.TRIAL reads accuracies of training images: set DATA.AUGMENT.MIXUP and CUTMIX to 0")
        self.name, splits = _name_sets(config.data, bool(images.sizes["search"]))
        self.epochs = f"each, {self.name}"
        self.results: list[Measured] = []
        self._space, self._cell = selection.space, selection.architecture
        self._last_epoch, self._steps_per_epoch = config.train.epochs, steps_per_epoch
        batch_size = config.train.evaluation_batch_size
        self._loaders = {name: images.evaluation(split, batch_size) for name, split in splits.items()}
        self._batches = sum(-(-loader.count // batch_size) for loader in self._loaders.values())
        self._training = training
        self._counts: list[Tensor] = []  # of the epoch's steps, kept on the device
        self._resumed = 0.0  # the run's seconds when the epoch began
        training.observe = self._observe

    def _observe(self, logits: Tensor, labels: Tensor) -> None:
        self._counts.append(count_correct(logits.detach(), labels))

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps; called by all ranks."""
        counts = [one for share in self._training.world.gather(self._read_counts()) for one in share]
        return {"results": self.results, "counts": counts, "resumed": self._resumed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`; the first rank goes on with all that was counted."""
        self.results, self._resumed = list(state["results"]), state["resumed"]
        self._counts = [torch.tensor(one) for one in state["counts"]] if self._training.world.is_main else []

    def is_due(self, steps: int) -> bool:
        """Whether an epoch has ended with so many steps."""
        done = len(self.results)
        return done < self._last_epoch and steps_before(done + 1, self._steps_per_epoch) <= steps

    def reach(self, steps: int, seconds: float) -> dict[str, float]:
        """Evaluate the epoch that ends after so many steps and seconds of the run; called by all ranks.

        Returns:
            `set/metric` -> value.
        """
        started = time.monotonic()
        counts = self._training.world.gather(self._sum_counts())
        measured = {"train": {**Evaluation.from_counts(counts).to_json(), "seconds": seconds - self._resumed}}
        measured |= self._evaluate()
        self.results.append(measured)
        self._counts.clear()
        self._resumed = seconds + time.monotonic() - started
        return {f"{name}/{metric}": value for name, values in measured.items() for metric, value in values.items()}

    def describe(self, values: Mapping[str, float]) -> str:
        """One line about an evaluation."""
        shown = ", ".join(f"{name.partition('/')[0]} {value:.2f} %" for name, value in values.items() if "top1" in name)
        return f"after {len(self.results)} epochs of {self.name}: top-1 {shown}"

    def _evaluate(self) -> Measured:
        self._training.synchronize()
        network, world = self._training.best_network, self._training.world
        parts: dict[str, tuple[Evaluation, float]] = {}
        with self._training.precision.autocast():
            for name, loader in self._loaders.items():
                started = time.monotonic()
                parts[name] = evaluate(network, loader, world), time.monotonic() - started
        if "x-test" in parts:
            whole = Evaluation.from_counts(evaluation.counts for evaluation, _ in parts.values())
            parts["ori-test"] = whole, sum(seconds for _, seconds in parts.values())
        return {name: {**evaluation.to_json(), "seconds": seconds} for name, (evaluation, seconds) in parts.items()}

    def _read_counts(self) -> list[list[float]]:
        return torch.stack([one.cpu() for one in self._counts]).tolist() if self._counts else []

    def _sum_counts(self) -> list[float]:
        """(4,) of `count_correct`: those of this rank's steps, in their order."""
        return torch.tensor(self._read_counts()).double().sum(0).tolist() if self._counts else [0.0] * 4

    def to_json(self, seed: int, cost: Cost) -> dict[str, Any]:
        """The record: the official state of a `ResultsCount`, without weights.

        Epochs count from 0. `params` and `flop` are in millions, times in seconds, accuracies in percent; `latency` is
        one number: the seconds of a batch of TRAIN.EVALUATION_BATCH_SIZE, loaded and evaluated, in the last epoch.
        """
        description = self._space.description
        names = [name for name in (self.results[0] if self.results else {}) if name != "train"]
        epochs = list(enumerate(self.results))
        tables: dict[str, dict[Any, float]] = {}
        for field, metric in METRICS.items():
            tables[f"train_{field}"] = {epoch: one["train"][metric] for epoch, one in epochs}
            tables[f"eval_{field}"] = {f"{name}@{epoch}": one[name][metric] for epoch, one in epochs for name in names}
        return {
            "name": self.name,
            "net_state_dict": None,
            "arch_config": {
                "channel": description.stem_channels,
                "num_cells": description.num_cells,
                "arch_str": str(self._cell),
                "class_num": description.classes,
            },
            "params": cost.params / 1e6,
            "flop": cost.macs / 1e6,
            "seed": f"{seed:04d}",
            "epochs": self._last_epoch,
            "latency": self._latency(),
            "eval_names": names,
            **tables,
        }

    def _latency(self) -> list[float]:
        if not self.results:
            return []
        seconds = sum(self.results[-1][name]["seconds"] for name in self._loaders)
        return [seconds / self._batches]


def _name_sets(config: Data, holds_out: bool) -> tuple[str, dict[str, str]]:
    """The data set in NAS-Bench-201's words, and the split that each of its sets is."""
    if holds_out:
        return f"{config.name}-valid", SPLITS
    return config.name, CIFAR100 if config.name == "cifar100" else {"ori-test": "test"}
