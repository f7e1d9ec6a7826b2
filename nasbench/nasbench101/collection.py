"""The results of cells that were trained here: one JSON file in the published form, and a table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from nasbench.nasbench101.architectures import format_by_hash, read_by_hash
from nasbench.nasbench101.table import METRICS, MOMENTS, ResultsTable
from runtime.files import write_text_atomic
from supernet.spaces.nasbench101.cell import Cell

FIELDS = ("trainable_params", "total_time", "evaluation_results")
ACCURACIES = METRICS[1:]
Trainings = Mapping[str, Sequence[Mapping[str, Any]]]  # by hash; each with FIELDS, and more of our own


def write_all_data(path: Path, trainings: Trainings) -> None:
    """Replace `all_data.json`: for each hash the published fields of its first training, and `repeats`, all of them.

    Raises:
        StorageError: the file cannot be written; it is as it was.
    """
    rows = {key: {**{name: made[0][name] for name in FIELDS}, "repeats": list(made)} for key, made in trainings.items()}
    write_text_atomic(path, format_by_hash(rows))


def read_all_data(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    """The trainings of each hash, from our file or a published one, which has one of each.

    Raises:
        DataError: the file cannot be read, or an entry is no result; the message names it.
    """
    trainings = {}
    for key, entry in read_by_hash(path).items():
        made = entry.get("repeats", [entry]) if isinstance(entry, dict) else []
        if not isinstance(made, list) or not made or not all(map(is_result, made)):
            raise DataError(f"{path}: the entry {key} is no result; it needs {', '.join(FIELDS)}")
        trainings[key] = made
    return trainings


def is_result(value: Any) -> bool:
    """Whether a value is one training in the published form."""
    if not isinstance(value, Mapping) or not all(map(_is_number, map(value.get, FIELDS[:2]))):
        return False
    evaluations = value.get(FIELDS[2])
    if not isinstance(evaluations, list) or not evaluations:
        return False
    needed = ("epochs", *ACCURACIES)
    return all(isinstance(one, Mapping) and all(map(_is_number, map(one.get, needed))) for one in evaluations)


def build_table(cells: Mapping[str, Cell], trainings: Trainings, epochs: int) -> ResultsTable:
    """The table of the trainings that reached `epochs`, their budget; cells without one are left out.

    Halfway is the evaluation at half of the epochs. Its training time is NaN where the results do not tell it.

    Raises:
        DataError: no training reached its budget.
    """
    reached = {key: [one for one in made if _epochs(one) == epochs] for key, made in trainings.items()}
    kept = {key: made for key, made in reached.items() if made}
    if not kept:
        raise DataError(f"no training reached {epochs} epochs: a table would hold nothing")
    repeats = max(map(len, kept.values()))
    metrics = np.full((len(kept), 1, repeats, len(MOMENTS), len(METRICS)), np.nan)
    for row, made in enumerate(kept.values()):
        for repeat, training in enumerate(made):
            metrics[row, 0, repeat] = _read_moments(training, epochs)
    return ResultsTable.build(
        [epochs],
        metrics,
        np.array([[len(made)] for made in kept.values()], np.uint8),
        np.array([made[0]["trainable_params"] for made in kept.values()], np.int64),
        np.array([cells[key].code for key in kept], np.uint32),
        np.frombuffer(bytes.fromhex("".join(kept)), np.uint8).reshape(-1, 16),
    )


def mean_accuracy(made: Sequence[Mapping[str, Any]], metric: str) -> float:
    """The mean over trainings of a final accuracy, as a fraction of 1."""
    return math.fsum(one["evaluation_results"][-1][metric] for one in made) / len(made)


def _epochs(training: Mapping[str, Any]) -> float:
    """Epochs after which the training ended."""
    return training["evaluation_results"][-1]["epochs"]


def _read_moments(training: Mapping[str, Any], epochs: int) -> NDArray[np.float64]:
    """(2, 4): halfway and final, as METRICS."""
    final = {"training_time": training["total_time"], **training["evaluation_results"][-1]}
    halfway: Mapping[str, Any] = next(
        (one for one in training["evaluation_results"] if 2 * one["epochs"] == epochs), {}
    )
    return np.array([[moment.get(metric, np.nan) for metric in METRICS] for moment in (halfway, final)])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
