"""Training one network from scratch (or from a supernet's weights)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional

from configs.schema import Augment, Train
from runtime.compatibility import import_torchvision
from runtime.journal import Position
from runtime.optimization import (
    average_gradients,
    average_statistics,
    build_optimizer,
    learning_rate,
    set_learning_rate,
)
from runtime.precision import Precision
from runtime.seeds import seed_libraries
from runtime.world import World

if TYPE_CHECKING:
    from timm.data import Mixup
    from timm.utils import ModelEmaV3


class NetworkTraining:
    """A network, its optimizer and its averaged weights: everything that a step changes and a checkpoint keeps."""

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
        self.optimizer = build_optimizer(config, network)
        self.averaged = _average_weights(network, config.ema_decay) if config.ema_decay else None
        self.mixup = _mix(augment, config.label_smoothing, classes) if augment.mixup or augment.cutmix else None

    @property
    def best_network(self) -> nn.Module:
        """What is evaluated: the averaged weights if there are any."""
        return self.averaged.module if self.averaged else self.network

    def step(self, images: Tensor, labels: Tensor, position: Position) -> Tensor:
        """One step; the loss, not synchronised with the host."""
        self.network.train()
        seed_libraries(self.seed, "step", position.total, self.world.rank)
        set_learning_rate(self.optimizer, learning_rate(self.config, position.total, position.steps_per_epoch))
        self.optimizer.zero_grad(set_to_none=True)
        with self.precision.autocast():
            loss = self._loss(images, labels)
        self.precision.backward(loss)
        average_gradients(self.network.parameters(), self.world)
        self.precision.step(self.optimizer, self.config.clip_gradient)
        if self.averaged:
            self.averaged.update(self.network, step=position.total)
        return loss.detach()

    def _loss(self, images: Tensor, labels: Tensor) -> Tensor:
        if self.mixup:
            images, labels = self.mixup(images, labels)  # label smoothing is in the mixed labels
            return functional.cross_entropy(self.network(images).float(), labels)
        logits = self.network(images).float()
        return functional.cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)

    def synchronize(self) -> None:
        """Average batch-norm statistics over the ranks; called by all of them before evaluating and saving."""
        average_statistics(self.network, self.world)
        if self.averaged:
            average_statistics(self.averaged.module, self.world)

    def state_dict(self) -> dict[str, Any]:
        """Weights (and averaged ones), optimizer and loss scale."""
        averaged = {"state_dict_ema": self.averaged.module.state_dict()} if self.averaged else {}
        return {
            "state_dict": self.network.state_dict(),
            **averaged,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.precision.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        self.network.load_state_dict(state["state_dict"])
        if self.averaged:
            self.averaged.module.load_state_dict(state.get("state_dict_ema", state["state_dict"]))
        self.optimizer.load_state_dict(state["optimizer"])
        self.precision.load_state_dict(state["precision"])


def _average_weights(network: nn.Module, decay: float) -> ModelEmaV3:
    import_torchvision()  # slow; timm needs it
    from timm.utils import ModelEmaV3

    return ModelEmaV3(network, decay=decay, use_warmup=True)


def _mix(augment: Augment, label_smoothing: float, classes: int) -> Mixup:
    import_torchvision()  # slow; timm needs it
    from timm.data import Mixup

    return Mixup(augment.mixup, augment.cutmix, label_smoothing=label_smoothing, num_classes=classes)
