"""Optimizers, schedules and gradient reduction, alike for a supernet's path and for a plain network."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from configs.schema import Train
from runtime.compatibility import import_torchvision
from runtime.position import StepsPerEpoch, steps_before
from runtime.world import World


def build_optimizer(config: Train, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    """The configured optimizer; vectors (batch norm, biases) are decayed with TRAIN.DECAY_NORMS only.

    All of them leave parameters without a gradient alone: neither decay nor momentum moves what is off the path.
    torch's own are fused where the device has that: one pass over the weights instead of three (docs/performance.md).
    """
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": config.weight_decay * config.decay_norms},
    ]
    match config.optimizer:
        case "sgd":
            nesterov = config.nesterov and config.momentum > 0
            sgd = torch.optim.SGD(groups, config.lr, config.momentum, nesterov=nesterov, fused=fused)
            if config.momentum:
                sgd.register_step_pre_hook(_start_momentum)
            return sgd
        case "rmsproptf":
            import_torchvision()  # slow; timm needs it, and no other optimizer needs timm
            from timm.optim import RMSpropTF

            return RMSpropTF(groups, config.lr, alpha=config.rmsprop_decay, eps=config.eps, momentum=config.momentum)
        case "adamw":
            return torch.optim.AdamW(groups, config.lr, eps=config.eps, fused=fused)


def _start_momentum(optimizer: torch.optim.Optimizer, *_: object) -> None:
    """Momentum begins at zero where a path is new: the next step turns that into its gradient, as without a buffer.

    The fused kernel wants buffers of all parameters or of none, and leaves undefined what a skipped first step made.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None and not optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Restore an optimizer's state, which may come from another kind of device: whether it is fused stays its own."""
    fused = [group.get("fused") for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, own in zip(optimizer.param_groups, fused):
        group["fused"] = own


def learning_rate(config: Train, step: int, steps_per_epoch: StepsPerEpoch) -> float:
    """The learning rate of global step `step` (from 0): a pure function, so that resuming is exact by construction."""
    warmup, total = float(config.warmup_epochs * steps_per_epoch), steps_before(config.epochs, steps_per_epoch)
    if step < warmup:
        return config.warmup_lr + (config.lr - config.warmup_lr) * step / warmup
    end = total - 1 if config.schedule == "cosine_by_step" else total
    progress = (step - warmup) / max(1.0, end - warmup)
    match config.schedule:
        case "linear":
            return config.lr + (config.min_lr - config.lr) * progress
        case "cosine" | "cosine_by_step":
            return config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + math.cos(math.pi * progress))
        case "step":
            return config.lr * config.decay_rate ** math.floor(step / float(steps_per_epoch) / config.decay_epochs)
        case "constant":
            return config.lr


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Set the rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = value


def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Average over the ranks the gradients that exist, in one flat all-reduce for each floating-point type.

    Parameters without a gradient stay without one. All ranks must have run the same path: the same gradients exist.
    """
    average_tensors([parameter.grad for parameter in parameters if parameter.grad is not None], world)


def average_statistics(module: nn.Module, world: World) -> None:
    """Average the batch-norm statistics over the ranks, so that all ranks (and the checkpoint) hold the same."""
    average_tensors([buffer for buffer in module.buffers() if buffer.is_floating_point()], world)


@torch.no_grad()
def average_tensors(tensors: Sequence[Tensor], world: World) -> None:
    """Average tensors over the ranks, in place, in one flat all-reduce for each type among them."""
    if world.size == 1:
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = world.mean(torch.cat([tensor.reshape(-1) for tensor in alike]))
        for tensor, average in zip(alike, flat.split([tensor.numel() for tensor in alike])):
            tensor.copy_(average.view_as(tensor))
