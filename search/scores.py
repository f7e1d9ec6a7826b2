"""Named records of what has been measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from supernet.architecture import Architecture


@dataclass(frozen=True)
class Scored:
    """An architecture with its accuracy on the search split (percent) and its exact cost."""

    architecture: Architecture
    accuracy: float
    macs: int
    params: int

    @property
    def order(self) -> tuple[float, int, Architecture]:
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
        return cls(Architecture.from_json(value["architecture"]), value["accuracy"], value["macs"], value["params"])


def ranked(scores: Iterable[Scored]) -> list[Scored]:
    """Best first."""
    return sorted(scores, key=lambda scored: scored.order)
