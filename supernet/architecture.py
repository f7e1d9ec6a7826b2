"""The value that a search is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, order=True)
class Architecture:
    """One path through a search space: for each stage, the operation index of each of its blocks.

    A stage's depth is the length of its tuple; a fixed stage is `(0,)`, so that Cream's published nested lists
    (`[[0], [3], [3, 3], …, [0]]`) are this value written down. The value knows nothing of costs or weights: ask its
    space. It is immutable, hashable and always an argument, never state in a module.
    """

    space: str
    stages: tuple[tuple[int, ...], ...]

    def __str__(self) -> str:
        return json.dumps(self.to_list(), separators=(",", ":"))

    def to_list(self) -> list[list[int]]:
        """The nested list of Cream's INPUT_ARCH."""
        return [list(stage) for stage in self.stages]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        return {"space": self.space, "stages": self.to_list()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Architecture:
        """Inverse of `to_json`."""
        return cls(value["space"], tuple(tuple(int(index) for index in stage) for stage in value["stages"]))
