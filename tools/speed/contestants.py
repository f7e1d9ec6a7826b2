"""Training steps that several benchmarks time: ours, and timm's network as its users would train it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.schema import Augment, Train
from retrain.training import NetworkTraining
from runtime.compatibility import import_torchvision
from runtime.device import memory_format
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World

CLASSES = 1000

Step = Callable[[], Tensor]


@dataclass
class Batch:
    """Random images (size x size pixels) on the device, and everything that a step on them needs.

    Args:
        compiled: networks go through torch.compile.
        channels_last: whether images and networks are so, where the device has it.
    """

    batch_size: int
    size: int
    precision: Precision
    world: World
    compiled: bool = False
    channels_last: bool = True

    def __post_init__(self) -> None:
        device = self.world.device
        self.format = memory_format(device, self.channels_last)
        self.config = Train(LR=1e-3)  # small: on random images a step that diverges would be skipped, not timed
        shape, generator = (self.batch_size, 3, self.size, self.size), make_generator(0, "tools.speed")
        self.images = torch.randn(shape, generator=generator).to(device, memory_format=self.format)
        self.labels = torch.randint(CLASSES, shape[:1], generator=generator).to(device)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on the device, in its memory format, compiled where that is asked for."""
        network.to(self.world.device, memory_format=self.format)  # type: ignore[call-overload]  # missing in torch's stubs
        if self.compiled:
            network.compile()
        return network

    def retraining(self, network: nn.Module) -> Step:
        """A step of retrain.py (`NetworkTraining`) on a network."""
        training = NetworkTraining(
            self.config, Augment(), self.place(network), CLASSES, self.precision, self.world, seed=0
        )
        return partial(training.step, self.images, self.labels, Position(0, 0, 1))

    def plain_loop(self, network: nn.Module) -> Step:
        """A step in plain PyTorch, as timm's users would write it: torch's optimizer, half precision by autocast."""
        self.place(network).train()
        config, precision = self.config, self.precision
        autocast = torch.autocast(self.world.device.type, dtype=precision.dtype, enabled=precision.level != "O0")
        optimizer = torch.optim.SGD(
            network.parameters(), config.lr, config.momentum, weight_decay=config.weight_decay, nesterov=True
        )

        def step() -> Tensor:
            optimizer.zero_grad()
            with autocast:
                loss = functional.cross_entropy(
                    network(self.images), self.labels, label_smoothing=config.label_smoothing
                )
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step


def timm_spnasnet() -> nn.Module:
    """timm's spnasnet_100."""
    import_torchvision()  # slow; timm needs it
    from timm import create_model

    return create_model("spnasnet_100", num_classes=CLASSES)
