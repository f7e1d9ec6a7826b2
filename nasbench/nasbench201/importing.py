"""Official files and folders into our table: in parts that a later run continues, and nothing half written."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from configs.errors import DataError
from nasbench.nasbench201.accuracies import is_csv, read_accuracies
from nasbench.nasbench201.records import Record, collect, merge
from nasbench.nasbench201.sources import Source, describe_file, open_source
from nasbench.nasbench201.table import ResultsTable, write_results
from runtime.files import explained, write_json_atomic
from runtime.locks import locked
from runtime.progress import track
from runtime.tables import Pieces, cache_folder, open_table, write_table

PART = 250  # architectures of which a part is made
VERSION = 1  # of the parts
SAFETENSORS = ".safetensors"


def import_official(path: Path, out: Path, announce: bool = False) -> ResultsTable:
    """Read an official file or folder, or a table of accuracies in CSV, into a table.

    What a killed import had read stays beside `out`, and the same import continues with it.

    Raises:
        DataError: it is not there, cut off, corrupt or of another content; the message names the file.
        ConfigError: another import into `out` is going on.
        StorageError: something cannot be written.
    """
    if is_csv(path):
        read_accuracies(path).write(out)
        return ResultsTable.open(out)
    source = open_source(path)
    staging = out.with_name(f".{out.name}.importing")
    with locked(staging):
        parts = _find_parts(staging, source)
        done = min(len(parts) * PART, len(source))
        records = track(source.records(done), len(source), f"importing {path.name}", "architectures", announce, done)
        for number in range(len(parts), -(-len(source) // PART)):
            part = collect(islice(records, PART), source.architectures, path)
            parts.append(staging / f"part-{number:05d}{SAFETENSORS}")
            write_table(parts[-1], part.tensors, part.metadata)
        openers = [partial(open_table, part) for part in parts]
        evaluated, tensors, facts = merge(openers, len(source.architectures))
        write_results(out, source.architectures, evaluated, tensors, facts)
        shutil.rmtree(staging)
    return ResultsTable.open(out)


def build_table(records: Iterator[Record], architectures: list[str], where: object = "the dict") -> ResultsTable:
    """A table in memory; raises DataError where a record is not as the official ones."""
    part = collect(records, architectures, where)
    evaluated, tensors, facts = merge([lambda: part], len(architectures))
    arrays = {
        name: next(iter(value.pieces())) if isinstance(value, Pieces) else value for name, value in tensors.items()
    }
    return ResultsTable.build(architectures, evaluated, arrays, facts)


def import_cached(path: Path) -> ResultsTable:
    """The table of an official file or folder, imported into the cache folder when it is not there.

    Raises:
        As `import_official`.
    """
    if path.suffix == SAFETENSORS:
        return ResultsTable.open(path)
    if not path.exists():
        raise DataError(f"{path} is not there")
    identity = json.dumps(describe_file(path))
    digest = hashlib.blake2b(identity.encode(), digest_size=8).hexdigest()
    table = cache_folder() / f"nasbench201-{digest}{SAFETENSORS}"
    return ResultsTable.open(table) if table.is_file() else import_official(path, table, announce=True)


def _find_parts(staging: Path, source: Source) -> list[Path]:
    """The parts that an earlier import of the same files made; others are removed."""
    marker = staging / "source.json"
    identity = {"version": VERSION, "part": PART, **describe_file(source.path)}
    parts = sorted(staging.glob(f"part-*{SAFETENSORS}"))
    if not marker.is_file() or json.loads(marker.read_text()) != identity:
        with explained(staging):
            for part in parts:
                part.unlink()
        write_json_atomic(marker, identity)
        return []
    return parts
