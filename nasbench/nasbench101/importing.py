"""The official TFRecord files into our table, streaming: every checksum verified, nothing left half written."""

from __future__ import annotations

import json
from binascii import a2b_base64
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from nasbench.nasbench101.metrics import decode_metrics
from nasbench.nasbench101.table import METRICS, MOMENTS, ResultsTable
from runtime.progress import track
from runtime.tfrecords import BLOCK, Batch, read_tfrecords
from supernet.spaces.nasbench101.cell import INPUT, MAX_VERTICES, OPERATIONS, OUTPUT, Cell

MAX_CELLS = 423_624
_LABEL = {operation: label for label, operation in enumerate(OPERATIONS)}


def import_official(path: Path, announce: bool = False) -> tuple[ResultsTable, int]:
    """Read an official file; the table, and how many records it was made of.

    Cells keep the file's order, and a cell's trainings of a budget too. Memory: the table, and some 100 bytes a cell.

    Raises:
        DataError: the file is not there, cut off, corrupt or of another content; the message names the record.
    """
    builder = _Builder()
    size = path.stat().st_size if path.is_file() else 0
    records = 0
    batches = read_tfrecords(path)
    for batch in track(batches, -(-size // BLOCK), f"importing {path.name}", "parts", announce):
        try:
            builder.add(batch.payloads)
        except _MALFORMED:
            raise DataError(f"{path}: {_find_fault(batch)}") from None
        records += len(batch.payloads)
    if not records:
        raise DataError(f"{path} holds no records")
    return builder.finish(path), records


_MALFORMED = (ValueError, TypeError, LookupError, AttributeError, RecursionError)  # base64's errors are ValueErrors


def _find_fault(batch: Batch) -> str:
    """Which record of a batch cannot be read, and why."""
    for place, payload in enumerate(batch.payloads):
        try:
            _Builder().add([payload])
        except _MALFORMED as error:
            return f"record {batch.first + place} is none of NAS-Bench-101: {error}"
    return f"one of the records from {batch.first} on is none of NAS-Bench-101"


class _Builder:
    """The table while it grows. The memory of cells that have not come yet is not taken: nothing wrote there."""

    def __init__(self) -> None:
        self.rows: dict[bytes, int] = {}
        self.codes: list[int] = []
        self.budgets: list[int] = []
        self.params = np.zeros(MAX_CELLS, np.int64)
        self.repeats = np.zeros((MAX_CELLS, 0), np.uint8)
        self.metrics = np.zeros((MAX_CELLS, 0, 0, len(MOMENTS), len(METRICS)))

    def add(self, payloads: Sequence[bytes]) -> None:
        """Enter records; raises one of _MALFORMED, with some of them entered."""
        records = json.loads(b"[" + b",".join(payloads) + b"]")
        if len(records) != len(payloads):
            raise ValueError("it is no JSON list")
        values, params = decode_metrics([a2b_base64(record[4]) for record in records])
        rows = np.fromiter(map(self._row, records), np.int64, len(records))
        epochs = np.array([record[1] for record in records])
        if epochs.dtype != np.int64 or epochs.min() < 1:
            raise ValueError("its epochs are no positive integer")
        budgets = sorted({*self.budgets, *epochs.tolist()})
        self._grow(budgets, self.metrics.shape[2])
        places = np.searchsorted(budgets, epochs)
        repeats = self._number(rows * len(budgets) + places)
        self._grow(budgets, int(repeats.max()) + 1)
        self.metrics[rows, places, repeats] = values
        self.params[rows] = params
        np.maximum.at(self.repeats, (rows, places), (repeats + 1).astype(np.uint8))

    def finish(self, path: Path) -> ResultsTable:
        """The table of all that was entered."""
        count = len(self.codes)
        metrics, repeats = self.metrics[:count], self.repeats[:count]
        missing = np.arange(metrics.shape[2]) >= repeats[:, :, None]
        if missing.any():
            metrics[missing] = np.nan
        hashes = np.frombuffer(b"".join(self.rows), np.uint8).reshape(-1, 16)
        try:
            return ResultsTable.build(
                self.budgets, metrics, repeats, self.params[:count], np.array(self.codes, np.uint32), hashes
            )
        except DataError as error:
            raise DataError(f"{path}, cells counted in the order of their first records: {error}") from error

    def _row(self, record: Sequence[str]) -> int:
        key = bytes.fromhex(record[0])
        row = self.rows.get(key, -1)
        if row < 0:
            code = _read_cell(record[2], record[3])
            if len(key) != 16 or len(self.rows) == MAX_CELLS:
                raise ValueError(f"{record[0]!r} is no hash of a cell")
            row = self.rows[key] = len(self.rows)
            self.codes.append(code)
        return row

    def _number(self, trainings: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which repeat of its cell and budget each training is."""
        order = np.argsort(trainings, kind="stable")
        ordered = trainings[order]
        first = np.searchsorted(ordered, ordered)
        numbers = np.empty_like(trainings)
        numbers[order] = np.arange(len(ordered)) - first
        numbers += self.repeats.reshape(-1)[trainings]
        if numbers.max() > 254:
            raise ValueError("a cell has more than 255 trainings of one budget")
        return numbers

    def _grow(self, budgets: list[int], repeats: int) -> None:
        """Make room for more budgets or repeats; in an official file that happens with the first records only."""
        count, before = len(self.codes), self.metrics
        if budgets == self.budgets and repeats <= before.shape[2]:
            return
        places = np.searchsorted(budgets, np.array(self.budgets, np.int64))
        self.metrics = np.zeros((MAX_CELLS, len(budgets), max(repeats, before.shape[2]), *before.shape[3:]))
        self.metrics[:count, places, : before.shape[2]] = before[:count]
        made, self.repeats = self.repeats, np.zeros((MAX_CELLS, len(budgets)), np.uint8)
        self.repeats[:count, places] = made[:count]
        self.budgets = budgets


def _read_cell(adjacency: str, operations: str) -> int:
    """The code of a cell as the file writes it: row-major digits, names joined by commas."""
    names = operations.split(",")
    vertices = len(names)
    if vertices > MAX_VERTICES or len(adjacency) != vertices**2 or (names[0], names[-1]) != (INPUT, OUTPUT):
        raise ValueError(f"{adjacency!r}, {operations!r} is no cell")
    columns = [adjacency[target::vertices] for target in range(vertices)]
    sources = [int(column[::-1], 2) for column in columns]
    if any(source >> target for target, source in enumerate(sources)):
        raise ValueError(f"{adjacency!r} is not upper triangular")
    return Cell.pack(sources, [_LABEL[name] for name in names[1:-1]]).code
