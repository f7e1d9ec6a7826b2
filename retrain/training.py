"""Training one network from scratch (or from a supernet's weights)."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.errors import ConfigError
from configs.schema import Augment, Train
from runtime.compatibility import import_torchvision
from runtime.guard import GuardedStep
from runtime.masters import MasterWeights
from runtime.optimization import (
    average_statistics,
    build_optimizer,
    learning_rate,
    load_optimizer,
    set_learning_rate,
)
from runtime.position import Position, steps_before
from runtime.precision import Precision
from runtime.seeds import seed_libraries
from runtime.statistics import RunningStatistics
from runtime.world import World

if TYPE_CHECKING:
    from timm.data import Mixup
    from timm.utils import ModelEmaV3


@runtime_checkable
class Scheduled(Protocol):
    """A network whose regularisation grows over the training."""

    def set_progress(self, share: float) -> None:
        """How much of the training is done, 0 to 1."""


@runtime_checkable
class HasAuxiliaryHead(Protocol):
    """A network with a place for a second classifier, whose logits it gives beside its own in training mode."""

    def add_auxiliary_head(self, generator: torch.Generator) -> None:
        """Make the classifier, freshly initialised."""


def add_auxiliary_head(network: nn.Module, weight: float, generator: torch.Generator) -> None:
    """Give a network the second classifier whose loss counts with TRAIN.AUXILIARY_WEIGHT; 0: none.

    Raises:
        ConfigError: the network has no place for one.
    """
    if not weight:
        return
    if not isinstance(network, HasAuxiliaryHead):
        raise ConfigError(
            f"TRAIN.AUXILIARY_WEIGHT={weight:g} needs a network with an auxiliary head, nasnet_a_mobile or one of "
            "SUPERNET.SPACE=nasnet; set it to 0"
        )
    network.add_auxiliary_head(generator)


class NetworkTraining:
    """A network, its optimizer and its averaged weights: everything that a step changes and a checkpoint keeps.

    Raises:
        ConfigError: mixup or cutmix of an odd number of images.
    """

    def __init__(
        self,
        config: Train,
        augment: Augment,
        network: nn.Module,
        classes: int,
        precision: Precision,
        world: World,
        seed: int,
    ) -> None:
        self.config, self.network = config, network
        self.precision, self.world, self.seed = precision, world, seed
        self.averaged = _average_weights(network, config.ema_decay) if config.ema_decay else None
        self.weights, self.optimizer = precision.prepare(network, partial(build_optimizer, config))
        self.guard = GuardedStep(self.weights, self.optimizer, config.clip_gradient, precision, world)
        self._kept: dict[str, tuple[MasterWeights | nn.Module, RunningStatistics]] = {
            "state_dict": (self.weights, self.guard.statistics)
        }
        if self.averaged:
            self._kept["state_dict_ema"] = (self.averaged.module, RunningStatistics(self.averaged.module))
        self.observe: Callable[[Tensor, Tensor], None] | None = None
        """Told the logits (B, classes) and the labels of each micro-batch."""
        self.mixup = _mix(augment, config, classes) if augment.mixup or augment.cutmix else None

    @property
    def best_network(self) -> nn.Module:
        """What is evaluated: the averaged weights, as this precision computes with them, if there are any."""
        if not self.averaged:
            return self.network
        return self.precision.convert(copy.deepcopy(self.averaged.module))  # averages are fp32 at every level

    def step(self, images: Tensor, labels: Tensor, position: Position) -> Tensor:
        """One step on TRAIN.ACCUMULATION equal micro-batches of these images; the loss, left on the device."""
        if not self.network.training:  # evaluation left it so; setting the mode walks all modules
            self.network.train()
        seed_libraries(self.seed, "step", position.total, self.world.rank)
        set_learning_rate(self.optimizer, learning_rate(self.config, position.total, position.steps_per_epoch))
        if isinstance(self.network, Scheduled):
            self.network.set_progress(position.total / steps_before(self.config.epochs, position.steps_per_epoch))
        if self.mixup:
            images, labels = self.mixup(images, labels)
        parts = zip(images.chunk(self.config.accumulation), labels.chunk(self.config.accumulation))
        loss = self.guard(*(partial(self._loss, *part) for part in parts))
        if self.averaged:
            self.averaged.update(self.weights, step=position.total)
        return loss

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        smoothing = 0.0 if self.mixup else self.config.label_smoothing  # mixed labels are smooth already
        outputs = self.network(images)
        logits, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        logits = logits.float()
        if self.observe:
            self.observe(logits, labels)
        loss = functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        for one in auxiliary:
            entropy = functional.cross_entropy(one.float(), labels, label_smoothing=smoothing)
            loss = loss + self.config.auxiliary_weight * entropy
        return loss

    def synchronize(self) -> None:
        """Average batch-norm statistics over the ranks; called by all of them before evaluating."""
        average_statistics(self.network, self.world)
        if self.averaged:
            average_statistics(self.averaged.module, self.world)

    def state_dict(self) -> dict[str, Any]:
        """Weights (and averaged ones), optimizer, loss scale; called by all ranks."""
        weights, shares = {}, {}
        for name, (held, statistics) in self._kept.items():
            averages, shares[name] = statistics.state_dict(self.world)
            weights[name] = {**held.state_dict(), **averages}
        return {
            **weights,
            "statistics": shares,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`; averaged weights start from the plain ones where the state has none."""
        for name, (held, statistics) in self._kept.items():
            name = name if name in state else "state_dict"
            held.load_state_dict(state[name])
            statistics.load(state["statistics"][name], self.world)
        load_optimizer(self.optimizer, state["optimizer"])
        self.precision.load_state_dict(state["precision"])


def _average_weights(network: nn.Module, decay: float) -> ModelEmaV3:
    import_torchvision()  # slow; timm needs it
    from timm.utils import ModelEmaV3

    return ModelEmaV3(network, decay=decay, use_warmup=True)


def _mix(augment: Augment, config: Train, classes: int) -> Mixup:
    if config.batch_size * config.accumulation % 2:
        raise ConfigError(
            f"DATA.AUGMENT.MIXUP and CUTMIX mix pairs of images, and TRAIN.BATCH_SIZE={config.batch_size} x "
            f"TRAIN.ACCUMULATION={config.accumulation} is odd; make one of them even"
        )
    import_torchvision()  # slow; timm needs it
    from timm.data import Mixup

    return Mixup(augment.mixup, augment.cutmix, label_smoothing=config.label_smoothing, num_classes=classes)
