"""Modules in several networks abreast, which share their weights but not the statistics of their batch norms."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


class Abreast(nn.Module):
    """A module in `count` networks: one tensor (B, …) of each in, one of each out.

    An accelerator runs each layer once, on all networks' images in one batch; a processor runs one network after
    another, whose images are still in its cache. Only batch norm works on each network by itself everywhere.
    """

    def __init__(self, module: nn.Module, count: int, device: torch.device) -> None:
        super().__init__()
        together = device.type != "cpu" and not isinstance(module, nn.Identity)
        self.parts = nn.ModuleList(place(module, size) for size in ([count] if together else [1] * count))

    def forward(self, values: Sequence[Tensor]) -> Sequence[Tensor]:
        if len(self.parts) == len(values):
            return [part(value) for part, value in zip(self.parts, values)]
        return self.parts[0](torch.cat(list(values))).chunk(len(values))


class NormAbreast(nn.BatchNorm2d):
    """Batch norms of `count` networks, with weights of one, over their images in one batch: (count * B, C, H, W)."""

    def __init__(self, norm: nn.BatchNorm2d, count: int) -> None:
        features, weight = count * norm.num_features, norm.weight
        super().__init__(features, norm.eps, affine=False, device=weight.device, dtype=weight.dtype)
        self.weight, self.bias, self.count = weight, norm.bias, count
        self.num_batches_tracked: Tensor = torch.zeros((), dtype=torch.long)  # on the host, which reads it

    def forward(self, images: Tensor) -> Tensor:
        self.num_batches_tracked += int(self.training)
        share = self.momentum if self.momentum is not None else 1.0 / max(1, int(self.num_batches_tracked))
        statistics = (one.view(self.count, -1) for one in (self.running_mean, self.running_var) if one is not None)
        made = [
            functional.batch_norm(one, mean, variance, self.weight, self.bias, self.training, share, self.eps)
            for one, mean, variance in zip(images.chunk(self.count), *statistics)
        ]
        return made[0] if self.count == 1 else torch.cat(made)


def place(module: nn.Module, count: int) -> nn.Module:
    """A module as it is in `count` networks, with new statistics; its weights are the module's own."""
    if isinstance(module, nn.BatchNorm2d):
        return NormAbreast(module, count)
    placed = copy.copy(module)
    placed._modules = {name: None if child is None else place(child, count) for name, child in module._modules.items()}
    return placed
