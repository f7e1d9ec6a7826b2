"""How well a network classifies, and the batch-norm statistics it needs for that."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
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

    @classmethod
    def from_counts(cls, counts: Iterable[Sequence[float]]) -> Evaluation:
        """The evaluation of some `count_correct`, as plain numbers; NaN where they are of no image."""
        correct, correct5, loss, number = (math.fsum(values) for values in zip(*counts, (0.0,) * 4))
        images = number or math.nan
        return cls(100.0 * correct / images, 100.0 * correct5 / images, loss / images, int(number))

    @property
    def counts(self) -> tuple[float, ...]:
        """What `from_counts` reads: those of several evaluations are of their images together."""
        correct, correct5 = (round(value * self.images / 100) for value in (self.top1, self.top5))
        return correct, correct5, self.loss * self.images, self.images


@torch.no_grad()
def count_correct(logits: Tensor, labels: Tensor) -> Tensor:
    """(4,): images whose label is the first guess, and among the first five; summed cross entropy; images.

    Args:
        logits: (B, classes) float32.
        labels: (B,) int64.
    """
    top5 = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([top5[:, 0].sum(), top5.sum(), loss, loss.new_tensor(len(labels))])


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
        counts.append(count_correct(network(images).float(), labels))
    share = torch.stack(counts).cpu().double().sum(0).tolist() if counts else [0.0] * 4
    return Evaluation.from_counts(world.gather(share))


@torch.no_grad()
def evaluate_abreast(network: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    """Top-1 in percent of each of the A networks that one computes, with logits (B, A, classes), in eval mode.

    Args:
        batches: (images, labels), all of them.
    """
    network.eval()
    right: list[Tensor] = []  # kept on the device: synchronised once, at the end
    images = 0
    for pixels, labels in batches:
        logits = network(pixels).float()
        first = logits.topk(min(5, logits.shape[-1])).indices[..., 0]  # as `count_correct` chooses among equal ones
        right.append((first == labels[:, None]).sum(0))
        images += len(labels)
    return [100.0 * count / images for count in torch.stack(right).sum(0).tolist()]


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
