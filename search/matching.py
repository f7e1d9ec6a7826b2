"""Cream's meta matching: which prioritized path teaches, how strongly, and how that is learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from runtime.casting import at_least_fp32
from runtime.optimization import average_tensors
from runtime.world import World
from search.board import PrioritizedBoard
from supernet.blocks.pointwise import matrix_products
from supernet.networks.path_supernet import frozen_statistics
from supernet.networks.supernets import Supernet


class Teacher(NamedTuple):
    """A board path chosen as teacher; `strength` is rho in (0, 1), differentiable towards the matching network."""

    architecture: Any
    strength: Tensor


class MatchingNetwork(nn.Module):
    """w_i = M(softmax(student(x_i)) - features_i): a linear map from (slice x classes) to one number (sec. 3.3)."""

    def __init__(self, slice_size: int, classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.linear = nn.Linear(slice_size * classes, 1)
        bound = (slice_size * classes) ** -0.5
        with torch.no_grad():
            self.linear.weight.uniform_(-bound, bound, generator=generator)
            self.linear.bias.zero_()

    def forward(self, differences: Tensor) -> Tensor:
        """(entries, slice, classes) -> weights (entries,)."""
        return self.linear(differences.flatten(1)).squeeze(1)

    def choose(self, supernet: Supernet, student: Any, board: PrioritizedBoard, world: World) -> Teacher | None:
        """The entry with the largest weight and rho = sigmoid of that weight; None if only the student is on the board.

        All entries are scored by one forward pass of the student over all their images. Weights are averaged over the
        ranks, so that all choose alike. The host waits for them: they decide what runs next.
        """
        candidates = board.candidates(student)
        if not candidates:
            return None
        softmax = path_softmax(supernet, board.images, student)
        weights = self(softmax.view_as(board.features) - board.features)
        ranking = world.mean(weights.detach().clone()).tolist()
        best = max(candidates, key=ranking.__getitem__)
        return Teacher(board.entries[best].scored.architecture, torch.sigmoid(weights[best]))


@torch.no_grad()
def path_softmax(supernet: Supernet, images: Tensor, architecture: Any) -> Tensor:
    """Softmax of a path in training mode, without gradient and without moving batch-norm statistics: (B, classes)."""
    with frozen_statistics(supernet), matrix_products():
        return supernet(_at_least_two(images), architecture)[: len(images)].float().softmax(1)


def _at_least_two(values: Tensor) -> Tensor:
    """A batch of one is doubled, which leaves its statistics as they are.

    Batch norm in training refuses to compute those of a single value a channel.
    """
    return torch.cat([values, values]) if len(values) == 1 else values


def distillation_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """KD = -mean over images of sum softmax(teacher) log softmax(student), T = 1; `teacher` is a softmax."""
    return -(teacher * logits.log_softmax(1)).sum(1).mean()


def matching_gradient(
    supernet: Supernet,
    student: Any,
    teacher: Teacher,
    train_images: Tensor,
    held_out: tuple[Tensor, Tensor],
    lr: float,
    world: World,
) -> Tensor:
    """d L / d rho of the one-step look-ahead (eq. 7-8): L = CE of theta' on held-out images, theta' = theta - lr rho g.

    g = grad_theta KD on `train_images`, through the whole student path. Since rho enters theta' linearly, the exact
    derivative is -lr <grad L(theta'), g>: no second-order differentiation is needed. All of it is computed in fp32,
    since a step ahead is smaller than what half precision resolves.

    Returns:
        A scalar, equal on all ranks; gradient descent on rho lowers the held-out loss.
    """
    weights = {name: at_least_fp32(parameter) for name, parameter in supernet.named_parameters()}
    train_images, images, labels = map(_at_least_two, (train_images, *held_out))
    target = path_softmax(supernet, train_images, teacher.architecture)
    with frozen_statistics(supernet):
        inner = distillation_loss(functional_call(supernet, weights, (train_images, student)).float(), target)
        first = _gradients(inner, list(weights.values()), world)
        step = lr * float(teacher.strength.detach())
        ahead = {
            name: (weight if slope is None else weight - step * slope).detach().requires_grad_()
            for (name, weight), slope in zip(weights.items(), first)
        }
        outer = functional.cross_entropy(functional_call(supernet, ahead, (images, student)).float(), labels)
        second = _gradients(outer, list(ahead.values()), world)
    products = [torch.sum(a * b) for a, b in zip(first, second) if a is not None and b is not None]
    return -lr * torch.stack(products).sum()


def _gradients(loss: Tensor, parameters: Sequence[Tensor], world: World) -> list[Tensor | None]:
    """Gradients averaged over the ranks; None off the path."""
    gradients: list[Tensor | None] = list(torch.autograd.grad(loss, parameters, allow_unused=True))
    average_tensors([gradient for gradient in gradients if gradient is not None], world)
    return gradients
