"""`compare`: how many trained cells come close to a table."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import DataError
from nasbench.nasbench101 import NASBench
from nasbench.nasbench101.collection import mean_accuracy, read_all_data
from nasbench.nasbench101.table import METRICS, MOMENTS, NONE, ResultsTable
from tools.arguments import non_negative

COMPARED = ("test_accuracy", "validation_accuracy")
ROUNDING = 1e-9  # two accuracies of images differ by more, so that a difference of exactly the tolerance is within


def add_command(commands: Any) -> None:
    """Add `compare` to the parsers."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "compare", help="how many trained cells come close to a table"
    )
    parser.add_argument("--results", type=Path, required=True, help="all_data.json, ours or a published one")
    parser.add_argument("--table", type=Path, required=True, help="a table, or an official TFRecord file")
    parser.add_argument("--tolerance", type=non_negative, default=2.0, help="points of accuracy; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=_compare)


def _compare(options: argparse.Namespace) -> None:
    results = read_all_data(options.results)
    compared = compare(results, NASBench(options.table).table, options.tolerance)
    if not compared["cells"]:
        raise DataError(
            f"{options.table} holds none of the {len(results)} cells of {options.results} at their epochs; it has the "
            f"budgets {', '.join(map(str, NASBench(options.table).table.budgets))}"
        )
    print(json.dumps(compared) if options.json else _describe(compared))


def compare(
    results: Mapping[str, Sequence[Mapping[str, Any]]], table: ResultsTable, tolerance: float
) -> dict[str, Any]:
    """Final accuracies, means over the trainings, beside the table's means at the same epochs.

    Args:
        results: as `read_all_data`.
        tolerance: points of accuracy; a difference of just that is within.

    Returns:
        `cells` compared, `absent` hashes, which the table does not hold at those epochs; for each of COMPARED how
        many are `within`, the `mean_difference` in points (here - there) and the hashes `beyond` with theirs.
    """
    differences = {key: found for key, made in results.items() if (found := _difference(key, made, table)) is not None}
    compared: dict[str, Any] = {
        "tolerance": tolerance,
        "cells": len(differences),
        "absent": [key for key in results if key not in differences],
    }
    for place, metric in enumerate(COMPARED):
        points = {key: found[place] for key, found in differences.items()}
        beyond = {key: round(one, 4) for key, one in points.items() if abs(one) > tolerance + ROUNDING}
        mean = round(float(np.mean(list(points.values()))), 4) if points else None
        compared[metric] = {"within": len(points) - len(beyond), "mean_difference": mean, "beyond": beyond}
    return compared


def _difference(key: str, made: Sequence[Mapping[str, Any]], table: ResultsTable) -> list[float] | None:
    """Points between a cell's means here and in the table, as COMPARED; None where the table does not hold it."""
    row = int(table.rows_of_hashes([key])[0])
    place = table.places.get(made[0]["evaluation_results"][-1]["epochs"])
    if row == NONE or place is None or not table.repeats[row, place]:
        return None
    values = table.metrics[row, place, : table.repeats[row, place], MOMENTS.index("final")].mean(0)
    return [100 * (mean_accuracy(made, metric) - float(values[METRICS.index(metric)])) for metric in COMPARED]


def _describe(compared: Mapping[str, Any]) -> str:
    lines, tolerance = [], compared["tolerance"]
    for metric in COMPARED:
        one = compared[metric]
        lines.append(
            f"{metric.replace('_', ' ')}: {one['within']:,} of {compared['cells']:,} cells within {tolerance:g} points "
            f"of the table ({one['within'] / compared['cells']:.1%}); mean difference {one['mean_difference']:+.2f}"
        )
        lines += [f"  {key}: {difference:+.2f}" for key, difference in one["beyond"].items()]
    if compared["absent"]:
        lines.append(f"{len(compared['absent']):,} cells are not in the table at their epochs:")
        lines += [f"  {key}" for key in compared["absent"]]
    return "\n".join(lines)
