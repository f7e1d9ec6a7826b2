"""How fast are NAS-Bench-101's results imported, opened and queried? `python -m tools.speed nasbench101 --cells 20000`.

A file of the official layout is made for it, with metrics that are made up: 12 records a cell, four budgets and three
repeats, as in `nasbench_full.tfrecord`. All 423,624 cells make 5,083,488 records.
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nasbench.nasbench101 import ModelSpec, NASBench
from runtime.files import open_atomic
from runtime.seeds import derive_seed
from runtime.tfrecords import write_tfrecords
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.costs import NasBench101Description, cell_costs
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench101.keys import hash_cells
from tools.arguments import positive

BUDGETS, REPEATS = (4, 12, 36, 108), 3
PART = 10_000  # cells written together
BULK = 25  # queries in bulk for one by itself
IMPORT = """
import sys
from tools.nasbench101.__main__ import main
main(["import", sys.argv[1], "--out", sys.argv[2]])
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""  # its own peak in KiB: what `resource` says of a child counts its parent too


def main(arguments: Sequence[str] | None = None) -> None:
    """Print records imported a second and the memory that took, seconds to open, and queries a second.

    Rates of queries are by processor time of one thread, which neighbours disturb least.
    """
    options = _parser().parse_args(arguments)
    with TemporaryDirectory(prefix="nasbench101-") as folder:
        file, table = Path(folder, "made.tfrecord"), Path(folder, "table.safetensors")
        codes = _choose_cells(options.cells)
        with open_atomic(file) as opened:
            for start in range(0, len(codes), PART):
                write_tfrecords(opened, list(make_records(codes[start : start + PART])))
        records = len(codes) * len(BUDGETS) * REPEATS
        speed: dict[str, float] = {"records": records, "file_megabytes": round(file.stat().st_size / 1e6, 1)}
        speed |= _import(file, table, records) | _query(table, codes, options.queries)
    print(json.dumps(speed) if options.json else "\n".join(f"{name}: {value:,}" for name, value in speed.items()))


def make_records(codes: np.ndarray) -> Iterator[bytes]:
    """The official payloads of cells' trainings, with made-up times and accuracies."""
    generator = np.random.default_rng(derive_seed(0, "tools.speed nasbench101"))
    params = cell_costs(NasBench101Description(), codes)[1].tolist()
    for code, key, count in zip(codes.tolist(), hash_cells(codes, 1), params):
        cell = Cell(code)
        adjacency = "".join(str(entry) for row in cell.matrix for entry in row)
        for budget, _ in product(BUDGETS, range(REPEATS)):
            seconds, *accuracies = generator.random(4)
            metrics = b64encode(make_metrics(budget, 1800 * seconds, accuracies, count)).decode()
            yield json.dumps([key.tobytes().hex(), budget, adjacency, ",".join(cell.ops), metrics]).encode()


def make_metrics(budget: int, seconds: float, accuracies: Sequence[float], params: int) -> bytes:
    """A `ModelMetrics` message: evaluations at the start, half of the budget and its end."""
    message = b""
    for part in (0.0, 0.5, 1.0):
        values = (budget * part, seconds * part, *(accuracy * part for accuracy in accuracies))
        evaluation = b"".join(struct.pack("<Bd", number << 3 | 1, value) for number, value in enumerate(values, 1))
        message += struct.pack("<BB", 1 << 3 | 2, len(evaluation)) + evaluation
    varint = b""
    while params >= 0x80:
        varint, params = varint + bytes([params & 0x7F | 0x80]), params >> 7
    return message + bytes([2 << 3]) + varint + bytes([params]) + struct.pack("<Bd", 3 << 3 | 1, seconds)


def _choose_cells(count: int) -> np.ndarray:
    cells = all_orders().cells
    return cells[np.linspace(0, len(cells) - 1, min(count, len(cells))).astype(np.int64)]


def _import(file: Path, table: Path, records: int) -> dict[str, float]:
    """By a process of its own, whose memory can be told."""
    started = time.perf_counter()
    command = [sys.executable, "-c", IMPORT, str(file), str(table)]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    seconds, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    return {
        "import_seconds": round(seconds, 2),
        "import_records_per_second": round(records / seconds),
        "import_records_per_processor_second": round(records / processor),
        "import_peak_mebibytes": round(int(printed.split()[-1]) / 1024),
        "table_megabytes": round(table.stat().st_size / 1e6, 1),
    }


def _query(table: Path, codes: np.ndarray, count: int) -> dict[str, float]:
    started = time.perf_counter()
    benchmark = NASBench(table, seed=0)
    opened = time.perf_counter() - started
    chosen = np.random.default_rng(0).choice(codes, count).tolist()
    specs = [ModelSpec(*Cell(code).to_list()) for code in chosen]
    hashes = [spec.cell.hash for spec in specs]
    each, many, by_hash = (
        _time(lambda: [benchmark.query(spec) for spec in specs]),
        _time(lambda: benchmark.query_many(specs * BULK)),
        _time(lambda: benchmark.query_many(hashes * BULK)),
    )
    return {
        "open_seconds": round(opened, 4),
        "query_microseconds": round(each / count * 1e6, 2),
        "query_many_cells_per_second": round(BULK * count / many),
        "query_many_hashes_per_second": round(BULK * count / by_hash),
    }


def _time(call: Callable[[], object]) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.speed nasbench101", description=__doc__)
    parser.add_argument("--cells", type=positive, default=20_000, help="at most 423624; default: %(default)s")
    parser.add_argument("--queries", type=positive, default=20_000, help="one by one; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser
