"""`enumerate`: all cells, counted and written down."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from runtime.tables import write_table
from supernet.spaces.nasbench101.cell import MASK, MASK_SHIFT, VERTICES_SHIFT
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_costs
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench101.keys import hash_cells
from tools.arguments import positive

AXES = {
    "kind": "nasbench101-cells",
    "codes": "vertices << 29 | edges << 8 | labels; edge x -> y is bit x + y * (y - 1) / 2; the labels of the vertices "
    "between input and output are digits of base 3, the first foremost: conv3x3, conv1x1, maxpool3x3",
    "hashes": "the published keys, 16 bytes a cell",
    "params": "of the published network, in the canonical order of vertices",
    "macs": "multiply-accumulates of convolutions and linear layers for one image of 32 x 32 pixels",
}


def add_command(commands: Any) -> None:
    """Add `enumerate` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser("enumerate", help="count all cells; with --out write them")
    parser.add_argument("--out", type=Path, help="safetensors file of codes, hashes, params and macs")
    parser.add_argument("--threads", type=positive, help="default: one for each core")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=_enumerate)


def _enumerate(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    codes = all_orders().cells
    counted = {
        "cells": len(codes),
        "vertices": _count(codes >> VERTICES_SHIFT),
        "edges": _count(np.bitwise_count(codes >> MASK_SHIFT & MASK)),
    }
    if options.out:
        macs, params = cell_costs(NasBench101Description(), codes)
        hashes = hash_cells(codes, options.threads, announce=not options.json)
        write_table(options.out, {"codes": codes, "hashes": hashes, "params": params, "macs": macs}, AXES)
    counted["seconds"] = round(time.perf_counter() - started, 2)
    print(json.dumps(counted) if options.json else _describe(counted, options.out))


def _count(values: np.ndarray) -> dict[int, int]:
    """How many there are of each value."""
    return dict(zip(*(column.tolist() for column in np.unique(values, return_counts=True))))


def _describe(counted: dict[str, Any], out: Path | None) -> str:
    lines = [f"{counted['cells']:,} cells in {counted['seconds']} s" + (f", written to {out}" if out else "")]
    for axis in ("vertices", "edges"):
        shown = ", ".join(f"{value}: {count:,}" for value, count in counted[axis].items())
        lines.append(f"by {axis}: {shown}")
    return "\n".join(lines)
