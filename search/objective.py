"""The supernet's objective: how accurate is an architecture with inherited weights?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from runtime.precision import Precision
from runtime.world import World
from search.scores import Scored
from supernet.architecture import named_resolution
from supernet.blocks.layers import resize_images
from supernet.evaluation import evaluate, evaluate_abreast, recalibrate
from supernet.networks.supernets import RunsAbreast, Supernet
from supernet.space import SharedSpace


class SupernetObjective:
    """Architectures -> scores, each measured on the search split with recalibrated batch norm.

    A candidate is extracted as a plain network, so that measuring never touches the supernet's own statistics. Where
    the supernet runs architectures abreast, `abreast` of them are measured in the same forward passes, with the same
    result. Candidates are divided over the ranks; the scores do not depend on how many there are.

    Args:
        recalibration: batches of train images (evaluation transform), the same on every rank.
        held_out: batches (images, labels) of the search split, the same on every rank.
    """

    def __init__(
        self,
        space: SharedSpace,
        supernet: Supernet,
        recalibration: Iterable[tuple[Tensor, Tensor]],
        held_out: Iterable[tuple[Tensor, Tensor]],
        world: World,
        precision: Precision,
        abreast: int = 1,
    ) -> None:
        self.space, self.supernet, self.abreast = space, supernet, abreast
        self.recalibration, self.held_out = recalibration, held_out
        self.world, self.precision = world, precision

    def __call__(self, architectures: Sequence[Any]) -> list[Scored]:
        """Scores in the order of the architectures, equal on every rank."""
        shares = self.world.gather(self._measure(architectures[self.world.rank :: self.world.size]))
        accuracies = [
            shares[number % self.world.size][number // self.world.size] for number in range(len(architectures))
        ]
        return [self._scored(architecture, accuracy) for architecture, accuracy in zip(architectures, accuracies)]

    def _measure(self, architectures: Sequence[Any]) -> list[float]:
        """The accuracy of each; abreast, those that begin alike go together, which have the most in common."""
        if self.abreast == 1 or not isinstance(self.supernet, RunsAbreast):
            return [self._accuracy(architecture) for architecture in architectures]
        alike = sorted(architectures)
        accuracies: dict[Any, float] = {}
        for start in range(0, len(alike), self.abreast):
            some = alike[start : start + self.abreast]
            network = self.precision.convert(self.supernet.abreast(some))
            with self.precision.autocast():
                recalibrate(network, (images for images, _ in self.recalibration))
                accuracies |= zip(some, evaluate_abreast(network, self.held_out))
        return [accuracies[architecture] for architecture in architectures]

    def _accuracy(self, architecture: Any) -> float:
        network = self.space.extract(self.supernet, architecture)
        network.to(memory_format=self._memory_format)  # type: ignore[call-overload]  # missing in torch's stubs
        network = self.precision.convert(network)
        fit = partial(resize_images, resolution=named_resolution(architecture))
        with self.precision.autocast():
            recalibrate(network, (fit(images) for images, _ in self.recalibration))
            return evaluate(network, ((fit(images), labels) for images, labels in self.held_out), World()).top1

    @property
    def _memory_format(self) -> torch.memory_format:
        """The supernet's: filters that a superkernel puts together for a plain network lie in the other."""
        filters = next(weight for weight in self.supernet.parameters() if weight.ndim == 4)
        return torch.channels_last if filters.stride(1) == 1 else torch.contiguous_format

    def _scored(self, architecture: Any, accuracy: float) -> Scored:
        cost = self.space.cost(architecture)
        return Scored(architecture, accuracy, cost.macs, cost.params)
