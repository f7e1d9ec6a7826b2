"""A step of the weights that a NaN cannot spoil."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from runtime.masters import MasterWeights
from runtime.optimization import average_gradients
from runtime.precision import Precision
from runtime.statistics import RunningStatistics
from runtime.world import World


class GuardedStep:
    """Moves weights by a loss; where the loss or a gradient is not finite on any rank, nothing moves on all of them.

    Nothing: neither weights nor the optimizer's state nor batch norm's running statistics, which a NaN image would turn
    into NaN although no gradient is ever applied. The ranks agree without a word: a loss that is not finite makes all
    gradients NaN (`Precision.backward`), and averaging hands them to every rank.

    No host waits for the answer: it stays on the device until the journal takes those of some steps (`take_faults`).
    """

    def __init__(
        self, weights: MasterWeights, optimizer: Optimizer, clip_norm: float, precision: Precision, world: World
    ) -> None:
        self.weights = weights
        self.optimizer, self.clip_norm = optimizer, clip_norm
        self.precision, self.world = precision, world
        self.statistics = RunningStatistics(weights.module)
        self._faults: list[Tensor] = []

    def __call__(self, *computations: Callable[[], Tensor]) -> Tensor:
        """One step by the mean of the losses that are computed one after another; that mean, left on the device.

        Each graph is freed before the next loss is computed, so that a step needs the memory of one micro-batch.
        """
        self.weights.clear_gradients()
        self.precision.begin()
        before = self.statistics.flat.clone()
        loss = self._accumulate(computations)
        average_gradients(self.weights.parameters, self.world)
        taken = self.precision.step(self.weights, self.optimizer, self.clip_norm)
        self.statistics.flat.copy_(torch.where(taken, self.statistics.flat, before))
        self._faults.append(self._is_fault(loss, taken))
        return loss

    def _accumulate(self, computations: Sequence[Callable[[], Tensor]]) -> Tensor:
        """Leave the gradient of the mean loss on the parameters; the mean."""
        losses = []
        for compute_loss in computations:
            with self.precision.autocast():
                loss = compute_loss()
            self.precision.backward(loss, 1 / len(computations))
            losses.append(loss.detach())
        return torch.stack(losses).mean() if len(losses) > 1 else losses[0]

    def _is_fault(self, loss: Tensor, taken: Tensor) -> Tensor:
        """A step that was not taken; with a dynamic loss scale, it may have been the search for the right scale."""
        if not self.precision.has_dynamic_scale:
            return ~taken
        spoilt = self.world.sum((~loss.isfinite()).float()) > 0
        return ~taken & (spoilt | self.precision.is_collapsed)

    def take_faults(self) -> list[bool]:
        """Which of the steps since the last call were skipped for a fault, in their order; waits for the device."""
        faults = torch.stack(self._faults).tolist() if self._faults else []
        self._faults.clear()
        return faults
