"""`import`: an official TFRecord file into a table."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from nasbench.nasbench101.importing import import_official


def add_command(commands: Any) -> None:
    """Add `import` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser("import", help="an official TFRecord file into a table")
    parser.add_argument("file", type=Path, help="nasbench_full.tfrecord, nasbench_only108.tfrecord, …")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    table, records = import_official(options.file, announce=True)
    table.write(options.out)
    seconds = time.perf_counter() - started
    budgets = ", ".join(map(str, table.budgets))
    print(f"{options.out}: {len(table):,} cells at {budgets} epochs, up to {table.metrics.shape[2]} trainings each")
    print(f"{records:,} records in {seconds:.1f} s, {records / seconds:,.0f} records/s")
