"""The supernet's objective: how accurate is an architecture with inherited weights?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import torch
from torch import Tensor

from runtime.precision import Precision
from runtime.world import World
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.blocks.layers import resize_images
from supernet.evaluation import evaluate, recalibrate
from supernet.networks.path_supernet import PathSupernet
from supernet.spaces.mbconv import MBConvSpace


class SupernetObjective:
    """Architectures -> scores, each measured on the search split with recalibrated batch norm.

    A candidate is extracted as a plain network, so that measuring never touches the supernet's own statistics.
    Candidates are divided over the ranks; the scores do not depend on how many there are.

    Args:
        recalibration: batches of train images (evaluation transform), the same on every rank.
        held_out: batches (images, labels) of the search split, the same on every rank.
    """

    def __init__(
        self,
        space: MBConvSpace,
        supernet: PathSupernet,
        recalibration: Iterable[tuple[Tensor, Tensor]],
        held_out: Iterable[tuple[Tensor, Tensor]],
        world: World,
        precision: Precision,
    ) -> None:
        self.space, self.supernet = space, supernet
        self.recalibration, self.held_out = recalibration, held_out
        self.world, self.precision = world, precision

    def __call__(self, architectures: Sequence[Architecture]) -> list[Scored]:
        """Scores in the order of the architectures, equal on every rank."""
        mine = [self._accuracy(architecture) for architecture in architectures[self.world.rank :: self.world.size]]
        shares = self.world.gather(mine)
        accuracies = [
            shares[number % self.world.size][number // self.world.size] for number in range(len(architectures))
        ]
        return [self._scored(architecture, accuracy) for architecture, accuracy in zip(architectures, accuracies)]

    def _accuracy(self, architecture: Architecture) -> float:
        network = self.space.extract(self.supernet, architecture)
        network.to(memory_format=self._memory_format)  # type: ignore[call-overload]  # missing in torch's stubs
        network = self.precision.convert(network)
        fit = partial(resize_images, resolution=architecture.resolution)
        with self.precision.autocast():
            recalibrate(network, (fit(images) for images, _ in self.recalibration))
            return evaluate(network, ((fit(images), labels) for images, labels in self.held_out), World()).top1

    @property
    def _memory_format(self) -> torch.memory_format:
        """The supernet's: filters that a superkernel puts together for a plain network lie in the other."""
        return torch.channels_last if self.supernet.conv_stem.weight.stride(1) == 1 else torch.contiguous_format

    def _scored(self, architecture: Architecture, accuracy: float) -> Scored:
        cost = self.space.cost(architecture)
        return Scored(architecture, accuracy, cost.macs, cost.params)
