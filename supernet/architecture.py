"""The value that a search is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True, order=True)
class Architecture:
    """One path through a search space: for each stage, the operation index of each of its blocks.

    A stage's depth is the length of its tuple; a fixed stage is `(0,)`, so that Cream's published nested lists
    (`[[0], [3], [3, 3], …, [0]]`) are this value written down. The value knows nothing of costs or weights: ask its
    space. It is immutable, hashable and always an argument, never state in a module.

    `resolution` is the image size in pixels where a search chooses that too, else None: the space's own.
    """

    space: str
    stages: tuple[tuple[int, ...], ...]
    resolution: int | None = None

    def __str__(self) -> str:
        return json.dumps(self.to_list(), separators=(",", ":")) + self.suffix

    @property
    def suffix(self) -> str:
        """`@160` at the end of a text form that names the resolution."""
        return f"@{self.resolution}" if self.resolution else ""

    def at(self, resolution: int | None) -> Architecture:
        """The same architecture for images of another size (None: the space's own)."""
        return self if resolution == self.resolution else replace(self, resolution=resolution)

    def to_list(self) -> list[list[int]]:
        """The nested list of Cream's INPUT_ARCH."""
        return [list(stage) for stage in self.stages]

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` reads back."""
        value = {"space": self.space, "stages": self.to_list()}
        return {**value, "resolution": self.resolution} if self.resolution else value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Architecture:
        """Inverse of `to_json`."""
        stages = tuple(tuple(int(index) for index in stage) for stage in value["stages"])
        return cls(value["space"], stages, value.get("resolution"))


def named_resolution(architecture: Any) -> int | None:
    """The image size that an architecture of any space names; cells name none."""
    return architecture.resolution if isinstance(architecture, Architecture) else None
