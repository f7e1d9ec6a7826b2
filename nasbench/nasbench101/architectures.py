"""Files of cells: which are to be trained, `{hash: {"matrix": …, "ops": …}, …}`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from configs.errors import ConfigError, DataError, SpaceError
from runtime.files import write_text_atomic
from supernet.spaces.nasbench101.cell import INPUT, OPERATIONS, OUTPUT, Cell
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench101.space import NasBench101Space

_OPERATIONS = {-1: INPUT, -2: OUTPUT, **dict(enumerate(OPERATIONS))}  # the numbers of the official generate_graphs.py


def draw_cells(count: int, generator: torch.Generator) -> list[Cell]:
    """Different cells in canonical order, uniform over all; a larger count begins with the same ones.

    Raises:
        ConfigError: there are not so many.
    """
    cells = all_orders().cells
    if count > len(cells):
        raise ConfigError(f"{count:,} cells asked for, and there are {len(cells):,}; draw fewer")
    return [Cell(code) for code in cells[torch.randperm(len(cells), generator=generator)[:count].numpy()].tolist()]


def write_cells(path: Path, cells: Iterable[Cell]) -> None:
    """Replace a file of cells; raises StorageError as `open_atomic`."""
    write_text_atomic(path, format_by_hash({cell.hash: cell.to_json() for cell in cells}))


def read_cells(path: Path) -> tuple[dict[str, Cell], dict[str, str]]:
    """The cells of a file by their hashes, in its order of vertices; and what is wrong with the others, by their keys.

    A cell is `{"matrix": …, "ops": …}` or `[matrix, ops]`; operations are names, or the official generator's numbers.

    Raises:
        DataError: the file cannot be read or is no JSON object, or none of its cells is valid.
    """
    cells, faults = {}, {}
    for key, value in read_by_hash(path).items():
        try:
            cells[key] = _read_cell(key, value)
        except (SpaceError, TypeError, ValueError) as error:
            faults[key] = str(error)
    if not cells:
        first = next((f"; {key}: {fault}" for key, fault in faults.items()), "")
        raise DataError(f"{path} holds no valid cell{first}")
    return cells, faults


def read_by_hash(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises:
        DataError: it cannot be read, or is none.
    """
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(read, dict):
        raise DataError(f"{path} holds a {type(read).__name__}, not an object whose keys are hashes of cells")
    return read


def format_by_hash(values: Mapping[str, Any]) -> str:
    """JSON with a line for each hash."""
    lines = (f"{json.dumps(key)}: {json.dumps(value)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _read_cell(key: str, value: Any) -> Cell:
    if isinstance(value, Mapping) and value.keys() >= {"matrix", "ops"}:
        value = [value["matrix"], value["ops"]]
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError('it is neither {"matrix": …, "ops": …} nor [matrix, ops]')
    matrix, ops = value
    cell = NasBench101Space().parse([matrix, [_OPERATIONS.get(operation, operation) for operation in ops]])
    if cell.hash != key:
        raise ValueError(f"the hash of its cell is {cell.hash}")
    return cell
