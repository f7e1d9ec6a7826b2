"""`import`: official files and folders into a table."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np

from nasbench.nasbench201.importing import import_official
from nasbench.nasbench201.table import NONE


def add_command(commands: Any) -> None:
    """Add `import` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser("import", help="an official file or folder into a table")
    parser.add_argument(
        "file", type=Path, help="NAS-Bench-201-v1_1-096897.pth, NATS-tss-v1_0-3ffb9-simple, …, or a CSV"
    )
    parser.add_argument("--out", type=Path, required=True, help="safetensors file")
    parser.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> None:
    started = time.perf_counter()
    table = import_official(options.file, options.out, announce=True)
    seconds, size = time.perf_counter() - started, options.out.stat().st_size
    found = int(np.count_nonzero(table.evaluated))
    print(f"{options.out}: {found:,} of {len(table):,} architectures, {size / 1e6:,.1f} MB, in {seconds:.1f} s")
    for group in table.groups.values():
        trials = int(np.count_nonzero(group.rows != NONE))
        print(f"  {group}: {trials:,} trials, seeds {', '.join(map(str, group.seeds))}: {', '.join(group.splits)}")
