"""Named records of what has been measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from supernet.architecture import Architecture
from supernet.spaces.nasbench101.cell import Cell as NasBench101Cell
from supernet.spaces.nasbench201.cell import Cell as NasBench201Cell

KINDS: dict[str, Any] = {  # by a key of their JSON
    "stages": Architecture,
    "matrix": NasBench101Cell,
    "operations": NasBench201Cell,
}


@dataclass(frozen=True)
class Scored:
    """An architecture with its accuracy on the search split (percent) and its exact cost.

    `architecture` is an immutable, hashable and ordered value of its space, one of KINDS. Where costs play no role, as
    in searching a table, they are 0.
    """

    architecture: Any
    accuracy: float
    macs: int = 0
    params: int = 0

    @property
    def order(self) -> tuple[float, int, Any]:
        """Sort key: the most accurate first, then the cheapest, then a fixed order."""
        return -self.accuracy, self.macs, self.architecture

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {
            "architecture": self.architecture.to_json(),
            "accuracy": self.accuracy,
            "macs": self.macs,
            "params": self.params,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Scored:
        """Inverse of `to_json`."""
        return cls(read_architecture(value["architecture"]), value["accuracy"], value["macs"], value["params"])


def read_architecture(value: Mapping[str, Any]) -> Any:
    """The architecture of any space that its `to_json` wrote."""
    return next(kind.from_json(value) for key, kind in KINDS.items() if key in value)


def ranked(scores: Iterable[Scored]) -> list[Scored]:
    """Best first."""
    return sorted(scores, key=lambda scored: scored.order)
