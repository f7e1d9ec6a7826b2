"""What an architecture takes on a device, from a table of measured layers such as Single-Path NAS's of a Pixel 1.

The file is JSON: `{"1": {"0": 4.49, "1": 9.20, …}, …}`, layer -> operation index -> milliseconds. Layers are numbered
from 0 through all stages at their largest depth; only those with a choice are read. Beside the layers may stand
`fixed`, what all architectures take, and `skip`, a layer that is left out, in milliseconds; where they do not, they are
what Single-Path NAS published with its table of a Pixel 1 (https://arxiv.org/abs/1904.02877).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from supernet.architecture import Architecture
from supernet.spaces.description import Operation
from supernet.spaces.mbconv import MBConvSpace

PIXEL1 = {"fixed": 19.5999, "skip": 0.7}
Place = tuple[int, int]  # stage, layer in it


@dataclass(frozen=True)
class LatencyTable:
    """Milliseconds of the operations of each layer that has a choice; latencies add.

    Attributes:
        fixed: of everything else.
        skip: of a layer that is left out.
        layers: operation index -> milliseconds, by stage and place in it.
    """

    fixed: float
    skip: float
    layers: Mapping[Place, Mapping[int, float]]

    def latency(self, architecture: Architecture) -> float:
        """Milliseconds of an architecture of the table's space; layers behind a stage's end are left out."""
        total = self.fixed
        for (stage, layer), operations in self.layers.items():
            chosen = architecture.stages[stage]
            total += operations[chosen[layer]] if layer < len(chosen) else self.skip
        return total


def read_latency_table(path: str | Path, space: MBConvSpace) -> LatencyTable:
    """The table of a file for a space.

    Raises:
        ConfigError: it is missing or broken, or lacks a layer or operation of the space; the message names it.
    """
    table = _read_json(path)
    fixed, skip = (_milliseconds(path, name, table.get(name, default)) for name, default in PIXEL1.items())
    layers: dict[Place, Mapping[int, float]] = {}
    for number, stage, layer, choices in _decided(space):
        where = f"layer {number} (stage {stage}, block {layer} of {space.name})"
        row = table.get(str(number))
        if not isinstance(row, dict):
            raise ConfigError(f"the latency table {path} lacks {where}")
        given = {index: row.get(str(index), skip if one.block == "skip" else None) for index, one in choices.items()}
        layers[stage, layer] = {
            index: _milliseconds(path, f"operation {index} of {where}", value) for index, value in given.items()
        }
    return LatencyTable(fixed, skip, layers)


def _decided(space: MBConvSpace) -> Iterator[tuple[int, int, int, dict[int, Operation]]]:
    """(number, stage, place in it, operations) of each layer that has a choice."""
    places = [(stage, layer) for stage, shapes in enumerate(space.shapes) for layer in range(len(shapes))]
    for number, (stage, layer) in enumerate(places):
        choices = space.choices(stage, layer)
        if len(choices) > 1 or layer >= space.description.stages[stage].depths[0]:
            yield number, stage, layer, choices


def _read_json(path: str | Path) -> dict[str, Any]:
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the latency table {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigError(f"the latency table {path} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise ConfigError(f"the latency table {path} is not an object of layers, operations and milliseconds")
    return table


def _milliseconds(path: str | Path, name: str, value: object) -> float:
    if value is None:
        raise ConfigError(f"the latency table {path} lacks {name}")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ConfigError(f"the latency table {path} gives {value!r} for {name}; it should be milliseconds")
    return float(value)
