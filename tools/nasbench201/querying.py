"""`query`: what a table says about one architecture."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from nasbench.nasbench201.benchmark import Benchmark


def add_command(commands: Any) -> None:
    """Add `query` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser("query", help="what a table says about one, as JSON")
    parser.add_argument("--table", type=Path, required=True, help="a table, or an official file or folder")
    parser.add_argument("--architecture", required=True, help="index or text, such as '|none~0|+|none~0|none~1|+|…|'")
    parser.add_argument("--epoch", type=int, help="from 0; default: the last")
    parser.set_defaults(run=_query)


def _query(options: argparse.Namespace) -> None:
    benchmark, text = Benchmark(options.table), options.architecture
    index = benchmark.find(int(text) if text.isdecimal() else text)
    shown = {"index": index, "architecture": benchmark.table.architectures[index]}
    print(json.dumps(shown | {"trials": benchmark.describe(index, options.epoch)}, indent=2))
