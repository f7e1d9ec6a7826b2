"""How well a network classifies, and the batch-norm statistics it needs for that."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from runtime.world import World


@dataclass(frozen=True)
class Evaluation:
    """Top-1 and top-5 accuracy in percent, mean cross entropy, and the number of images they are read on."""

    top1: float
    top5: float
    loss: float
    images: int

    def to_json(self) -> dict[str, float]:
        """Plain values by name."""
        return asdict(self)


@torch.no_grad()
def evaluate(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]], world: World) -> Evaluation:
    """Evaluate a network in eval mode over all ranks' shares; each image counts once.

    Args:
        batches: (images, labels) of this rank.
        world: World() for a rank that evaluates by itself.
    """
    network.eval()
    counts: list[Tensor] = []  # kept on the device: synchronised once, at the end
    for images, labels in batches:
        logits = network(images).float()
        top5 = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        counts.append(torch.stack([top5[:, 0].sum(), top5.sum(), loss, loss.new_tensor(len(labels))]))
    share = torch.stack(counts).cpu().double().sum(0).tolist() if counts else [0.0] * 4
    correct, correct5, loss_sum, number = (sum(values) for values in zip(*world.gather(share)))
    return Evaluation(100.0 * correct / number, 100.0 * correct5 / number, loss_sum / number, int(number))


@torch.no_grad()
def recalibrate(network: nn.Module, batches: Iterable[Tensor]) -> nn.Module:
    """Replace batch-norm statistics by the plain average over the batches' own; ends in eval mode.

    Shared weights see other statistics on every path, so a path is only judged fairly with its own
    (Guo et al. 2020, https://arxiv.org/abs/1904.00420, sec. 3.4).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # cumulative average
    network.train()
    for images in batches:
        network(images)
    return network.eval()
