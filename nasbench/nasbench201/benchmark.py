"""The benchmark as arrays: one question, one answer, no state."""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.importing import import_cached
from nasbench.nasbench201.table import COSTS, NONE, ResultsTable
from nasbench.nasbench201.trial import Trial


class Benchmark:
    """Plain queries of a table; datasets, settings and metrics as `ResultsTable.values` has them.

    Attributes:
        table: the results, as arrays.
    """

    def __init__(self, source: str | Path | ResultsTable) -> None:
        """Open a table, or an official file or folder, which is imported into the cache folder on first use.

        Raises:
            DataError: it is not there, corrupt or something else; StorageError: the cache cannot be written.
        """
        self.table = source if isinstance(source, ResultsTable) else import_cached(Path(source))

    def find(self, architecture: object) -> int:
        """The index of an architecture, given by its index, its text, or a value whose text it is, such as a `Cell`.

        Raises:
            QueryError: the benchmark has none such.
        """
        if hasattr(architecture, "__index__"):
            index = operator.index(architecture)
            if 0 <= index < len(self.table):
                return index
        elif str(architecture) in self.table.indices:
            return self.table.indices[str(architecture)]
        raise QueryError(f"{architecture} is none of the {len(self.table):,} architectures, 0 to {len(self.table) - 1}")

    def query(
        self,
        architecture: object,
        dataset: str,
        setting: str | int,
        metric: str,
        seed: int | None = None,
        epoch: int | None = None,
    ) -> float:
        """One number, as `values`.

        Args:
            architecture: as `find`.
            seed: of the trial; None: the mean of those that were made.
            epoch: from 0; None: the last.

        Raises:
            QueryError: something is not there; the message says what is.
        """
        group, index = self.table.group(dataset, setting), self.find(architecture)
        seeds = group.read_seeds(index)
        if not seeds or seed not in (None, *seeds):
            made = f"it was trained with {', '.join(map(str, seeds))}" if seeds else "it was not trained so"
            raise QueryError(f"architecture {index} has no trial of seed {seed} on {group}: {made}")
        chosen = [group.seeds.index(one) for one in ([seed] if seed is not None else seeds)]
        values = group.values_of(index, metric, epoch)[chosen]
        if np.isnan(values).all():
            raise QueryError(f"architecture {index} has no {metric} on {group} after epoch {group.check_epoch(epoch)}")
        return float(np.nanmean(values))

    def values(self, dataset: str, setting: str | int, metric: str, epoch: int | None = None) -> NDArray[np.float64]:
        """(architectures, seeds), as `ResultsTable.values`."""
        return self.table.values(dataset, setting, metric, epoch)

    def means(self, dataset: str, setting: str | int, metric: str, epoch: int | None = None) -> NDArray[np.float64]:
        """(architectures,) the mean over the trials that were made; NaN where there was none."""
        values = self.table.group(dataset, setting).values(metric, epoch)
        return mean_over_seeds(values)

    def describe(self, architecture: object, epoch: int | None = None) -> list[dict[str, Any]]:
        """All trials of an architecture: dataset, setting, seed, costs, and for each split what it reached."""
        index, shown = self.find(architecture), []
        for group in self.table.groups.values():
            for seed in group.read_seeds(index) if epoch is None or epoch < group.epochs else []:
                trial = Trial(group, self.table.architectures[index], index, group.seeds.index(seed))
                costs = {name: group.costs[name].item(index, trial.place) for name in COSTS}
                splits = {split: trial.read(split, group.check_epoch(epoch)) or {} for split in group.splits}
                known = {name: _known(values) for name, values in {"costs": costs, **splits}.items()}
                shown.append({"dataset": group.dataset, "setting": group.setting, "seed": seed, **known})
        return shown

    def to_frame(self, dataset: str, setting: str | int, epoch: int | None = None) -> Any:
        """A pandas DataFrame: a row for every trial, indexed by architecture and seed, a column for every metric.

        Raises:
            QueryError: pandas is not installed, or there is no such dataset, setting or epoch.
        """
        try:
            import pandas
        except ImportError as error:
            raise QueryError("a DataFrame needs pandas: install it (pip install pandas), or take the arrays") from error
        group = self.table.group(dataset, setting)
        at = np.nonzero(group.rows != NONE)
        columns = {"text": np.array(self.table.architectures, object)[at[0]]}
        for name in (*COSTS, *group.columns):
            if epoch is None or group.has_epoch(name, epoch):
                columns[name] = group.values(name, epoch)[at]
        index = pandas.MultiIndex.from_arrays([at[0], np.array(group.seeds)[at[1]]], names=["architecture", "seed"])
        return pandas.DataFrame(columns, index=index)


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None and value == value}


def mean_over_seeds(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each row's known values, added in order as the official packages add them; NaN where none is."""
    known = ~np.isnan(values)
    sums = np.zeros(len(values))
    for place in range(values.shape[1]):
        sums += np.where(known[:, place], values[:, place], 0.0)
    counts = known.sum(1)
    return np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
