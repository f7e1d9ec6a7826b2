"""`query`: what a table says about one cell."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nasbench.nasbench101 import NASBench
from supernet.spaces.nasbench101.cell import parse_rows


def add_command(commands: Any) -> None:
    """Add `query` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser("query", help="what a table says about one cell, as JSON")
    parser.add_argument("--table", type=Path, required=True, help="a table, or an official TFRecord file")
    cell = parser.add_mutually_exclusive_group(required=True)
    cell.add_argument("--hash", help="32 hexadecimal digits")
    cell.add_argument("--cell", help="rows and operations, such as 0101-0010-0001-0000:conv3x3,maxpool3x3")
    parser.set_defaults(run=_query)


def _query(options: argparse.Namespace) -> None:
    benchmark = NASBench(options.table)
    key = options.hash or parse_rows(options.cell).hash
    fixed, computed = benchmark.get_metrics_from_hash(key)
    fixed["module_adjacency"] = fixed["module_adjacency"].tolist()
    print(json.dumps({"hash": key, **fixed, "trainings": computed}, indent=2))
