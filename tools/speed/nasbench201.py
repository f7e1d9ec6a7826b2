"""NAS-Bench-201 beside the official package, in one run: `python -m tools.speed nasbench201 --cells 1000`.

A file of the official layout is made for it, with metrics that are made up. Each side reads it in its own process:
the official package unpickles it whole, ours imports it once and maps the table. With `--full` a table of all 15,625
cells is made too, to measure opening, memory and searches at full size.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from nasbench.nasbench201.importing import PART
from nasbench.nasbench201.records import collect, merge
from nasbench.nasbench201.table import write_results
from runtime.seeds import derive_seed
from runtime.tables import Table
from supernet.spaces.nasbench201.cell import COUNT, all_cells
from tools.arguments import positive
from tools.speed.nasbench201_records import make_content

COMMON = """
import json, sys, time
def resident():
    lines = [line.split() for line in open("/proc/self/status") if line[:5] in ("VmHWM", "VmRSS")]
    return {name[:5]: int(kibibytes) / 1024 for name, kibibytes, _ in lines}
def timed(call, count):
    call()
    started = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - started) / count * 1e6
def query(api, count, searches):
    known, found = list(api.evaluated_indexes), {}
    step = iter(range(10**9))
    def index():
        return known[next(step) * 7919 % len(known)]
    ask, whole, best = api.get_more_info, api.query_meta_info_by_index, api.find_best
    found["get_more_info_microseconds"] = timed(lambda: ask(index(), "cifar100", None, "200"), count)
    found["get_more_info_means_microseconds"] = timed(lambda: ask(index(), "cifar100", None, "200", False), count)
    found["query_meta_info_by_index_microseconds"] = timed(lambda: whole(index(), "200"), 10 * searches)
    found["find_best_milliseconds"] = timed(lambda: best("cifar100", "test", hp="200"), searches) / 1000
    return found
"""
OURS = (
    COMMON
    + """
import numpy
from nasbench.nas_201_api import NASBench201API
before, started = resident()["VmRSS"], time.perf_counter()
api = NASBench201API(sys.argv[1], verbose=False)
found = {"open_seconds": time.perf_counter() - started}
found |= query(api, 5000, 50)
print(json.dumps(found | {"added_resident_mebibytes": resident()["VmRSS"] - before}))
"""
)
IMPORT = (
    COMMON
    + """
from pathlib import Path
from nasbench.nasbench201.importing import import_official
before, started = resident()["VmRSS"], time.perf_counter()
import_official(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps({"import_seconds": time.perf_counter() - started, "import_peak_mebibytes": resident()["VmHWM"]}))
"""
)
OFFICIAL = (
    COMMON
    + """
import torch
from nas_201_api import NASBench201API
load = torch.load
torch.load = lambda *arguments, **named: load(*arguments, **named, weights_only=False)  # as it was in its day
before, started = resident()["VmRSS"], time.perf_counter()
api = NASBench201API(sys.argv[1], verbose=False)
found = {"open_seconds": time.perf_counter() - started, "open_peak_mebibytes": resident()["VmHWM"]}
found |= query(api, 300, 5)
print(json.dumps(found | {"added_resident_mebibytes": resident()["VmRSS"] - before}))
"""
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print seconds, memory and the time of queries of both sides, and the official figure by ours.

    Queries are by processor time of one thread, which neighbours disturb least.
    """
    options = _parser().parse_args(arguments)
    with TemporaryDirectory(prefix="nasbench201-") as folder:
        file, table = Path(folder, "official.pth"), Path(folder, "table.safetensors")
        indices = np.linspace(0, COUNT - 1, min(options.cells, COUNT)).astype(int).tolist()
        generator = np.random.default_rng(derive_seed(0, "tools.speed nasbench201"))
        torch.save(make_content(indices, generator, missing=0.3), file)
        found = {"cells": len(indices), "file_megabytes": file.stat().st_size / 1e6}
        ours = _run(IMPORT, file, table) | _run(OURS, table)
        found["table_megabytes"] = table.stat().st_size / 1e6
        official = _run(OFFICIAL, file)
        ratios = {name: official[name] / ours[name] for name in official if name in ours}
        ratios["open_seconds_with_import"] = official["open_seconds"] / (ours["import_seconds"] + ours["open_seconds"])
        if options.full:
            make_full_table(table, generator)
            full = _run(OURS, table) | {"table_megabytes": table.stat().st_size / 1e6}
            found |= {f"full_{name}": value for name, value in full.items()}
    for side, figures in (("ours", ours), ("official", official), ("ratio", ratios)):
        found |= {f"{side}_{name}": value for name, value in figures.items()}
    rounded = {name: float(f"{value:.4g}") for name, value in found.items()}
    print(json.dumps(rounded) if options.json else "\n".join(f"{name}: {value:,}" for name, value in rounded.items()))


def make_full_table(path: Path, generator: np.random.Generator) -> None:
    """A table of all cells: one made-up part, again and again with other indices."""
    names = [str(cell) for cell in all_cells()]
    first = collect(make_content(range(PART), generator, missing=0.3)["arch2infos"].items(), names, "what was made")

    def part(start: int) -> Table:
        count = min(PART, COUNT - start)
        moved = {}
        for name, values in first.tensors.items():
            group = name.rsplit("/", 1)[0]
            kept = values < count if name == "evaluated" else first.tensors[f"{group}/index"] < count
            moved[name] = values[kept] + np.int32(start if name.endswith(("evaluated", "/index")) else 0)
        return Table({name: value.astype(first.tensors[name].dtype) for name, value in moved.items()}, first.metadata)

    parts = [lambda start=start: part(start) for start in range(0, COUNT, PART)]
    evaluated, tensors, facts = merge(parts, COUNT)
    write_results(path, names, evaluated, tensors, facts)


def _run(script: str, *arguments: Path) -> dict[str, float]:
    """The figures that a process of its own prints last."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed nasbench201", description=__doc__)
    parser.add_argument("--cells", type=positive, default=1000, help="of the file; default: %(default)s")
    parser.add_argument("--full", action="store_true", help="measure a table of all cells too, of some 1.1 GB")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser
