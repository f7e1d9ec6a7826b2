"""The weight-sharing networks: `supernet(images, architecture)` -> logits, of any space that has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import nn

from supernet.networks.nasbench201_supernet import CellSupernet
from supernet.networks.path_supernet import PathSupernet

Supernet = PathSupernet | CellSupernet


@runtime_checkable
class RunsAbreast(Protocol):
    """A supernet that computes several architectures in one forward pass."""

    def abreast(self, cells: Sequence[Any], /) -> nn.Module:
        """A network of A architectures: images (B, channels, H, W) -> logits (B, A, classes)."""
