"""What an architecture costs: exact integers from a table, never a forward pass.

MACs are multiply-accumulates of convolutions and linear layers for one image (biases, batch norm, activations and
pooling are not counted); the field writes them as "FLOPs", and so do FLOPS_MINIMUM and FLOPS_MAXIMUM, in millions.
Parameters are every trainable number. NAS-Bench-201's cells alone have the FLOPs of their publication, which add the
classifier's biases.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from configs.errors import ConfigError
from supernet.architecture import Architecture


@dataclass(frozen=True, order=True)
class Cost:
    """MACs for one image and trainable parameters, both exact."""

    macs: int
    params: int

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.macs + other.macs, self.params + other.params)


@dataclass(frozen=True)
class StageCosts:
    """One stage of `minimum_depth` to `len(layers)` blocks; `layers[b]` maps each allowed operation index to its cost.

    A stage of depth d uses layers 0 … d-1 (skipped blocks trail).
    """

    minimum_depth: int
    layers: tuple[Mapping[int, Cost], ...]

    @property
    def maximum_depth(self) -> int:
        return len(self.layers)


@dataclass(frozen=True)
class CostTable:
    """All costs of a space at one resolution. Costs add: fixed (stem, head) plus one entry for each block."""

    space: str
    resolution: int
    fixed: Cost
    stages: tuple[StageCosts, ...]

    def cost(self, architecture: Architecture) -> Cost:
        """Exact cost of an architecture that the space has validated."""
        total = self.fixed
        for stage, choices in zip(self.stages, architecture.stages, strict=True):
            for layer, operation in zip(stage.layers, choices, strict=False):
                total += layer[operation]
        return total


def macs_from_millions(value: float | int | str | Decimal) -> int:
    """MACs from a bound in millions; decimals are exact (85.84 is 85,840,000), a fraction of a MAC is refused.

    Raises:
        ConfigError: not a finite number, negative, or finer than one MAC.
    """
    try:
        macs = Decimal(str(value)) * 1_000_000
    except InvalidOperation:
        raise ConfigError(f"a bound of {value!r} million MACs is not a number") from None
    if not macs.is_finite() or macs < 0 or macs != macs.to_integral_value():
        raise ConfigError(f"a bound of {value} million MACs is not a whole, non-negative number of MACs")
    return int(macs)


def format_millions(macs: int) -> str:
    """MACs as millions without loss: 85840000 -> '85.84'."""
    return f"{Decimal(macs) / 1_000_000:f}"
