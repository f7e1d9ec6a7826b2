"""A benchmark's results as what a search sees: architectures with a validation score, and the test score behind it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import ConfigError, DataError, SpaceError
from nasbench.nasbench101.table import METRICS, MOMENTS
from nasbench.nasbench101.table import ResultsTable as NasBench101Results
from nasbench.nasbench201 import ResultsTable as NasBench201Results
from supernet.catalog import build_layered_space
from supernet.genomes import AnyGenome, LayersGenome, NasBench101Genome, NasBench201Genome
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.enumeration import all_orders
from supernet.spaces.nasbench201.cell import all_cells
from supernet.window_listed import ListedWindow

Floats = NDArray[np.float64]
Results = tuple[Floats, Floats, Floats | None]  # validation and test accuracy in percent, seconds
SEARCHED_201 = {  # by the names that results are published under: searched on, tested on
    "cifar10": (("cifar10-valid", "x-valid"), ("cifar10", "ori-test")),
    "cifar100": (("cifar100", "x-valid"), ("cifar100", "x-test")),
    "ImageNet16-120": (("ImageNet16-120", "x-valid"), ("ImageNet16-120", "x-test")),
}


@dataclass(frozen=True)
class TabularBenchmark:
    """Architectures and their results; axis (architecture). Where a table has several trainings, their means.

    Attributes:
        name: of the benchmark, and of the data set and setting where it has several.
        window: the architectures, in the order of the arrays.
        validation: (n,) percent; what a search sees.
        test: (n,) percent.
        seconds: (n,) what a query would have taken by training, None where the table does not say.
        missing: architectures of the space that the table holds no results of; they are left out.
    """

    name: str
    window: ListedWindow[Any]
    validation: Floats
    test: Floats
    seconds: Floats | None
    missing: int

    @classmethod
    def build(
        cls,
        name: str,
        architectures: Sequence[Any],
        genome: AnyGenome,
        results: Results,
        everything: int,
    ) -> TabularBenchmark:
        """From results (validation, test, seconds) in which NaN is an architecture without them.

        Raises:
            DataError: all are.
        """
        validation, test, seconds = results
        known = np.flatnonzero(~np.isnan(validation + test))
        if not len(known):
            raise DataError(f"the table holds no results of {name}")
        window = ListedWindow([architectures[place] for place in known.tolist()], genome)
        times = None if seconds is None else seconds[known]
        return cls(name, window, validation[known], test[known], times, everything - len(known))

    def __len__(self) -> int:
        return len(self.validation)

    @cached_property
    def order(self) -> NDArray[np.int64]:
        """(n,) from the best validation score down; equal ones in the architectures' order, as pickers rank."""
        members = self.window.architectures
        return np.array(sorted(range(len(self)), key=lambda row: (-self.validation[row], members[row])))

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """(n,) the place of each architecture in `order`."""
        ranks = np.empty(len(self), np.int64)
        ranks[self.order] = np.arange(len(self))
        return ranks


def open_benchmark(name: str, table: Path, dataset: str | None = None, setting: str | None = None) -> TabularBenchmark:
    """The results of `nasbench201`, `nasbench101` or `nasbench_macro` in a file.

    Args:
        table: of NAS-Bench-101 and -201 what the tool of that name imported; of NAS-Bench-Macro its published JSON.
        dataset: a key of SEARCHED_201; None: cifar10, which the other benchmarks have alone.
        setting: epochs of a training; None: the benchmark's longest.

    Raises:
        ConfigError: no such benchmark, data set or setting.
        DataError: the file is not there, of another kind, or without that data set and setting.
    """
    if name not in (openers := {"nasbench201": _open_201, "nasbench101": _open_101, "nasbench_macro": _open_macro}):
        raise ConfigError(f"there is no benchmark {name!r}; there are {', '.join(openers)}")
    datasets = SEARCHED_201 if name == "nasbench201" else {"cifar10"}
    if (dataset := dataset or "cifar10") not in datasets:
        raise ConfigError(f"{name} has no data set {dataset!r}; it has {', '.join(datasets)}")
    return openers[name](table, dataset, setting)


def _open_201(path: Path, dataset: str, setting: str | None) -> TabularBenchmark:
    setting = setting or "200"
    results = read_results_201(path, dataset, setting)
    cells = all_cells()
    return TabularBenchmark.build(
        f"nasbench201, {dataset}, {setting} epochs", cells, NasBench201Genome(), results, len(cells)
    )


def read_results_201(path: Path, dataset: str, setting: str) -> Results:
    """Validation and test accuracy and seconds of all cells in the official order: means over the seeds.

    A query takes all epochs of training and one validation, as in the official `simulate_train_eval`.

    Raises:
        DataError: no such table, or it has not this data set and setting.
    """
    table = NasBench201Results.open(path)
    if table.architectures != tuple(map(str, all_cells())):
        raise DataError(f"{path} holds another benchmark than NAS-Bench-201's 15,625 cells")
    (searched, split), (tested, held_out) = SEARCHED_201[dataset]
    validation, test = (
        _mean(table.values(name, setting, f"{part}-accuracy")) for name, part in ((searched, split), (tested, held_out))
    )
    group = table.group(searched, setting)
    if not {"train-time", f"{split}-time"} <= group.columns.keys():
        return validation, test, None
    seconds = group.epochs * table.values(searched, setting, "train-time")
    return validation, test, _mean(seconds + table.values(searched, setting, f"{split}-time"))


def _open_101(path: Path, dataset: str, setting: str | None) -> TabularBenchmark:
    table = NasBench101Results.open(path)
    budgets = {str(budget): place for budget, place in table.places.items()}
    setting = setting or str(table.budgets[-1])
    if setting not in budgets:
        raise ConfigError(f"{path} has no trainings of {setting!r} epochs; it has {', '.join(budgets)}")
    final = table.metrics[:, budgets[setting], :, MOMENTS.index("final")]
    seconds, _, validation, test = (_mean(final[..., place]) for place in range(len(METRICS)))
    orders = all_orders()
    codes = orders.canonical[np.searchsorted(orders.codes, table.codes)].tolist()
    results = 100 * validation, 100 * test, seconds
    cells = [Cell(code) for code in codes]
    name = f"nasbench101, {dataset}, {setting} epochs"
    return TabularBenchmark.build(name, cells, NasBench101Genome(), results, len(orders.cells))


def _open_macro(path: Path, dataset: str, setting: str | None) -> TabularBenchmark:
    """One mean accuracy, on the test images, is all that was published: a search sees it and is judged by it."""
    if setting is not None:
        raise ConfigError("nasbench_macro has a single setting: leave --setting out")
    space = build_layered_space("nasbench_macro")
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        accuracy = np.array([float(record["mean_acc"]) for record in records.values()])
        architectures = [space.parse(digits) for digits in records]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SpaceError) as error:
        raise DataError(f"{path} is no table of NAS-Bench-Macro: {error}") from error
    results = accuracy, accuracy, None
    return TabularBenchmark.build(
        f"nasbench_macro, {dataset}", architectures, LayersGenome(space), results, space.count
    )


def _mean(values: Floats) -> Floats:
    """(n, trainings) -> (n,) over those that were made; NaN where none was."""
    made = ~np.isnan(values)
    return np.divide(np.nansum(values, 1), made.sum(1), out=np.full(len(values), np.nan), where=made.any(1))
