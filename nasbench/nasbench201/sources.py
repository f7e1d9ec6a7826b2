"""Where records come from: the official single files, NATS-Bench's folders, and folders of our own runs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import DataError
from nasbench.nasbench201.records import Record
from nasbench.nasbench201.runs import FILE as TRIAL
from nasbench.nasbench201.runs import find_trials
from nasbench.nasbench201.runs import read_records as read_runs
from nasbench.nasbench201.splitting import NotSplittable, find_records, read_records
from nasbench.nasbench201.unpickling import explaining, load_pickle
from runtime.console import logger
from supernet.spaces.nasbench201.cell import all_cells

META, PICKLE = "meta.pickle.pbz2", re.compile(r"(\d{1,6})\.pickle\.pbz2")
WHOLE = 1 << 26  # bytes of a file that is unpickled as a whole, which is faster and takes several times its size
KEYS = ("meta_archs", "arch2infos", "evaluated_indexes")


@dataclass(frozen=True)
class Source:
    """Records of architectures, in an order that is always the same.

    Attributes:
        architectures: the texts of all of the space, by index.
        count: of records.
        records: those from the given one on.
    """

    path: Path
    architectures: list[str]
    count: int
    records: Callable[[int], Iterator[Record]]

    def __len__(self) -> int:
        return self.count


def open_source(path: Path) -> Source:
    """What can be imported.

    Raises:
        DataError: it is not there, or of no known layout.
    """
    if path.is_dir():
        return _open_folder(path)
    if path.is_file() and path.stat().st_size <= WHOLE:
        return _open_whole(path)
    logger.info("looking for the records in %s; then they are read", path.name)
    try:
        with explaining(path):
            layout = find_records(path)
    except NotSplittable:
        return _open_whole(path)
    if not isinstance(layout.head["meta_archs"], list):
        raise DataError(f"{path} is no benchmark file: it lists no architectures")

    def records(start: int) -> Iterator[Record]:
        with explaining(path):
            yield from read_records(path, layout, start)

    return Source(path, layout.head["meta_archs"], len(layout.spans), records)


def _open_whole(path: Path) -> Source:
    content = load_pickle(path)
    check_official(content, path)
    return Source(
        path, content["meta_archs"], len(content["arch2infos"]), lambda start: official_records(content, start)
    )


def check_official(content: Any, where: object) -> None:
    """Raise DataError where this is not the content of an official file."""
    missing = [key for key in KEYS if not isinstance(content, Mapping) or key not in content]
    if missing or not isinstance(content["arch2infos"], Mapping):
        raise DataError(f"{where} is no benchmark file: it lacks {', '.join(missing) or 'records by index'}")


def official_records(content: Mapping[str, Any], start: int = 0) -> Iterator[Record]:
    """The records of an official file by index, those from the given one on."""
    infos = content["arch2infos"]
    return ((index, infos[index]) for index in sorted(infos)[start:])


def describe_file(path: Path) -> dict[str, Any]:
    """What tells whether a file or folder is still the same."""
    files = [path]
    if path.is_dir():
        files = sorted(path.iterdir()) if (path / META).is_file() else find_trials(path)
    facts = "\n".join(f"{file.relative_to(path)} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files)
    return {"path": str(path.resolve()), "files": len(files), "digest": hashlib.blake2b(facts.encode()).hexdigest()}


def _open_folder(path: Path) -> Source:
    if not (path / META).is_file():
        return _open_runs(path)
    meta = load_pickle(path / META)
    if not isinstance(meta, Mapping) or not isinstance(meta.get("meta_archs"), list):
        raise DataError(f"{path / META} lists no architectures")
    named = {int(found[1]): file for file in path.iterdir() if (found := PICKLE.fullmatch(file.name))}
    if not named:
        raise DataError(f"{path} holds no records such as 000000.pickle.pbz2")
    indices = sorted(named)

    def records(start: int) -> Iterator[Record]:
        return ((index, _load_record(named[index])) for index in indices[start:])

    return Source(path, meta["meta_archs"], len(indices), records)


def _open_runs(path: Path) -> Source:
    files = find_trials(path)
    if not files:
        raise DataError(
            f"{path} holds nothing to import: neither {META} of NATS-Bench, nor a run of retrain.py with {TRIAL}"
        )
    records = read_runs(files)
    return Source(path, [str(cell) for cell in all_cells()], len(records), lambda start: iter(records[start:]))


def _load_record(path: Path) -> Mapping[str, Any]:
    record = load_pickle(path)
    if not isinstance(record, Mapping):
        raise DataError(f"{path} is no record of NATS-Bench")
    return record
