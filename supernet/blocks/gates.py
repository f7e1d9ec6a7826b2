"""A layer's choice as factors that a gradient reaches (Single-Path NAS).

Stamoulis et al. 2019 (https://arxiv.org/abs/1904.02877), eq. 5-9: whether a shell of the superkernel is used is an
indicator, hard in the forward pass and a sigmoid in the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Gates(NamedTuple):
    """One layer's decisions, each 0 or 1. Levels are nested: one is 1 only where all smaller ones are.

    Attributes:
        kernels: (kernel levels,), the first always 1.
        expansions: (expansion levels,), the first always 1.
        keep: (), 0 makes the layer the identity; None: it cannot be.
    """

    kernels: Tensor
    expansions: Tensor
    keep: Tensor | None

    def to(self, dtype: torch.dtype) -> Gates:
        """The same in another floating-point type."""
        keep = None if self.keep is None else self.keep.to(dtype)
        return Gates(self.kernels.to(dtype), self.expansions.to(dtype), keep)

    def behind(self, before: Gates) -> Gates:
        """These gates where the layer before may end the stage: left out, it leaves out this one too."""
        if self.keep is None or before.keep is None:
            return self
        return self._replace(keep=self.keep * before.keep)

    def blend(self, images: Tensor, outputs: Tensor) -> Tensor:
        """The layer's outputs, or its inputs where it is left out: exactly, and with a gradient in either case."""
        if self.keep is None:
            return outputs
        return self.keep * outputs + (1 - self.keep) * images


def indicate(margins: Tensor) -> Tensor:
    """1 where a margin is at least 0, else 0; backward as the sigmoid's."""
    soft = margins.sigmoid()
    return (margins >= 0).to(margins.dtype) + (soft - soft.detach())


def nest(indicators: Tensor) -> Tensor:
    """(n,) indicators of the levels above the smallest -> (n + 1,) gates."""
    return torch.cat([indicators.new_ones(1), indicators]).cumprod(0)


def spread(gates: Tensor, sizes: list[int]) -> Tensor:
    """The gate of each channel: (levels,) -> (sizes[-1],), where level l has the first sizes[l] channels."""
    counts = [size - smaller for smaller, size in zip((0, *sizes), sizes)]
    return torch.cat([gate.expand(count) for gate, count in zip(gates, counts)])
