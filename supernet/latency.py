"""What an architecture takes on a device, from a table of measured layers such as Single-Path NAS's of a Pixel 1.

The file is JSON: `{"1": {"0": 4.49, "1": 9.20, …}, …}`, layer -> operation index -> milliseconds. Layers are numbered
from 0 through all stages at their largest depth; only those with a choice are read. Beside the layers may stand
`fixed`, what all architectures take, and `skip`, a layer that is left out, in milliseconds; where they do not, they are
what Single-Path NAS published with its table of a Pixel 1 (https://arxiv.org/abs/1904.02877). `python -m tools.latency
--build` writes such files; what they were measured on stands under `measured`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from configs.errors import ConfigError
from supernet.architecture import Architecture
from supernet.cost import Cost, CostTable, StageCosts
from supernet.space import SharedSpace
from supernet.spaces.description import Operation
from supernet.spaces.mbconv import MBConvSpace
from supernet.window import FlopsWindow
from supernet.window_costed import CostedWindow
from supernet.window_latency import LatencyCosts, LatencyWindow

PIXEL1 = {"fixed": 19.5999, "skip": 0.7}
UNITS = 2000  # of a window's latencies in the slowest architecture, at most: more take longer to count through
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

    def costs(self, space: MBConvSpace, source: str) -> LatencyCosts:
        """The table in whole units, each entry rounded to one: what a window is exact about.

        A unit is 1, 2 or 5 times a power of ten of milliseconds, so that the slowest architecture takes at most 2,000.
        """
        unit = _unit(self.slowest)
        depths = [stage.depths for stage in space.description.stages]
        stages = tuple(
            StageCosts(least, tuple(self._row(space, stage, layer, unit) for layer in range(most)))
            for stage, (least, most) in enumerate(depths)
        )
        left_out = sum(most - least for least, most in depths) * _units(self.skip, unit)
        fixed = Cost(_units(self.fixed, unit) + left_out, 0)
        return LatencyCosts(CostTable(space.name, space.resolution, fixed, stages), unit, source)

    def _row(self, space: MBConvSpace, stage: int, layer: int, unit: Decimal) -> dict[int, Cost]:
        """Units of a layer's operations; where it may be left out, beyond those that leaving it out takes."""
        taken = self.layers.get((stage, layer), dict.fromkeys(space.choices(stage, layer), 0.0))
        may_end = layer >= space.description.stages[stage].depths[0]
        instead = _units(self.skip, unit) if may_end else 0
        return {index: Cost(_units(milliseconds, unit) - instead, 0) for index, milliseconds in taken.items()}

    @property
    def slowest(self) -> float:
        """Milliseconds of the slowest architecture, or a little above."""
        return self.fixed + sum(max(self.skip, *row.values()) for row in self.layers.values())


def _unit(milliseconds: float) -> Decimal:
    least = Decimal(str(max(milliseconds, 1e-6))) / UNITS
    power = Decimal(10) ** least.adjusted()
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least)


def _units(milliseconds: float, unit: Decimal) -> int:
    return round(Decimal(str(milliseconds)) / unit)


def open_window(
    space: SharedSpace, minimum: int, maximum: int, table: str | Path = "", milliseconds: float | str | None = None
) -> FlopsWindow | CostedWindow[Any]:
    """The architectures with minimum <= MACs <= maximum, and of at most so many milliseconds by the table of a file.

    Raises:
        ConfigError: the table is missing, broken or another space's, the bound is no number, or the space has cells.
        WindowError: there is none; the message names what is feasible.
    """
    if milliseconds is None:
        return space.window(minimum, maximum)
    if not isinstance(space, MBConvSpace):
        raise ConfigError(f"a largest latency is about spaces of layers, and {space.name} has cells: leave it out")
    if not table:
        raise ConfigError(
            "a largest latency needs LATENCY_TABLE (--table): `python -m tools.latency --build` writes one"
        )
    try:
        bound = Decimal(str(milliseconds))
    except InvalidOperation:
        raise ConfigError(f"a latency of {milliseconds!r} ms is not a number") from None
    if not bound.is_finite() or bound < 0:
        raise ConfigError(f"a latency of at most {milliseconds} ms is no bound; it should be a number of at least 0")
    costs = read_latency_table(table, space).costs(space, str(table))
    return LatencyWindow(space.cost_table(), minimum, maximum, costs, math.floor(bound / costs.unit))


def read_latency_table(path: str | Path, space: MBConvSpace) -> LatencyTable:
    """The table of a file for a space.

    Raises:
        ConfigError: it is missing or broken, lacks a layer or operation of the space, or was measured of another one
            or at another resolution; the message names it.
    """
    table = _read_json(path)
    _refuse_other(path, table.get("measured"), space)
    fixed, skip = (_milliseconds(path, name, table.get(name, default)) for name, default in PIXEL1.items())
    layers: dict[Place, Mapping[int, float]] = {}
    for number, stage, layer, choices in decided_layers(space):
        where = f"layer {number} (stage {stage}, block {layer} of {space.name})"
        row = table.get(str(number))
        if not isinstance(row, dict):
            raise ConfigError(f"the latency table {path} lacks {where}")
        given = {index: row.get(str(index), skip if one.block == "skip" else None) for index, one in choices.items()}
        layers[stage, layer] = {
            index: _milliseconds(path, f"operation {index} of {where}", value) for index, value in given.items()
        }
    return LatencyTable(fixed, skip, layers)


def decided_layers(space: MBConvSpace) -> Iterator[tuple[int, int, int, dict[int, Operation]]]:
    """(number, stage, place in it, operations) of each layer that has a choice."""
    places = [(stage, layer) for stage, shapes in enumerate(space.shapes) for layer in range(len(shapes))]
    for number, (stage, layer) in enumerate(places):
        choices = space.choices(stage, layer)
        if len(choices) > 1 or layer >= space.description.stages[stage].depths[0]:
            yield number, stage, layer, choices


def _refuse_other(path: str | Path, measured: object, space: MBConvSpace) -> None:
    own = {"space": space.name, "resolution": space.resolution}
    for name, value in own.items():
        if isinstance(measured, dict) and measured.get(name, value) != value:
            raise ConfigError(
                f"the latency table {path} was measured for {name} {measured[name]}, not {value}: build one with "
                f"`python -m tools.latency --space {space.name} --resolution {space.resolution} --build FILE`"
            )


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
