"""NAS-Bench-201's and NATS-Bench's results as one memory-mapped table with named axes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from nasbench.nasbench201.errors import QueryError
from runtime.tables import Arrays, open_table, write_table

KIND = "nasbench201-results"
DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
COSTS = ("params", "flops", "latency")  # millions, millions of multiply-accumulates, seconds for a batch of 256
TRIAL = (*COSTS, "rows", "order")  # what a group holds beside its metrics
EPOCHS = "/epochs"  # ends the name of a metric after every epoch
TIME = "-time"  # ends the name of a metric in seconds
NONE = -1  # the row of a trial that was not made
PAIRWISE = 8  # numbers from which on numpy does not add one after the other
AXES = (
    "DATASET/SETTING/METRIC has the axes (architecture, seed): after the last epoch, a time the seconds of that epoch; "
    "DATASET/SETTING/METRIC/epochs has (trial, epoch), and DATASET/SETTING/rows the trial of (architecture, seed). "
    "A time without epochs is the same in all of them; another metric without them is known after the last only"
)


Reader = Callable[..., float]


@dataclass(frozen=True)
class Column:
    """One metric of a group's trials.

    Attributes:
        last: (architectures, seeds) after the last epoch; NaN where it is not known.
        history: (trials, epochs), or None where all is in `last`.
        steady: without a history `last` holds in every epoch.
    """

    last: NDArray[np.float64]
    history: NDArray[np.float64] | None
    steady: bool


@dataclass(frozen=True)
class Split:
    """What was measured on one set of images; what was not is None.

    Attributes:
        epochs: of each training.
    """

    accuracy: Column | None
    loss: Column | None
    time: Column | None
    epochs: int

    @cached_property
    def final_values(self) -> tuple[NDArray[np.float64] | None, ...]:
        """Accuracy, loss, seconds of the last epoch and of all, each (architectures, seeds).

        The seconds of all epochs are added one by one, as the official packages add them; where epochs take different
        times there are none here.
        """
        total = None
        if self.time is not None and self.time.history is None:
            total = _add(self.time.last, self.epochs)
        columns = (column.last if column else None for column in (self.accuracy, self.loss, self.time))
        return (*columns, total)

    @cached_property
    def final(self) -> tuple[Reader, ...]:
        """`final_values` as functions of (architecture, seed)."""
        return tuple(_no_reader if values is None else values.item for values in self.final_values)


@dataclass(frozen=True)
class Group:
    """The trials of one dataset under one setting.

    Attributes:
        epochs: of each training.
        seeds: ascending, as the axis `seed` has them.
        orders: the orders of evaluation sets that trials have; `order` tells which.
        config: the official `arch_config`; None stands for the architecture's text.
        rows: (architectures, seeds) of a trial in the histories; NONE where it was not made.
        order: (architectures, seeds).
        costs: COSTS, each (architectures, seeds).
        columns: metrics by name, `<split>-accuracy`, `-loss`, `-time` and `train-top5`.
    """

    dataset: str
    setting: str
    epochs: int
    seeds: tuple[int, ...]
    orders: tuple[tuple[str, ...], ...]
    config: dict[str, Any]
    rows: NDArray[np.int32]
    order: NDArray[np.uint8]
    costs: dict[str, NDArray[np.float64]]
    columns: dict[str, Column]

    @classmethod
    def read(cls, name: str, facts: Mapping[str, Any], tensors: Mapping[str, NDArray]) -> Group:
        """From the tensors whose names begin with the group's."""
        own = {key.removeprefix(name + "/"): value for key, value in tensors.items() if key.startswith(name + "/")}
        metrics = [key for key in own if key not in TRIAL and not key.endswith(EPOCHS)]
        columns = {key: Column(own[key], own.get(key + EPOCHS), key.endswith(TIME)) for key in metrics}
        dataset, setting = name.rsplit("/", 1)
        orders = tuple(map(tuple, facts["orders"]))
        costs = {key: own[key] for key in COSTS}
        seeds, config = tuple(facts["seeds"]), facts["config"]
        return cls(dataset, setting, facts["epochs"], seeds, orders, config, own["rows"], own["order"], costs, columns)

    @cached_property
    def splits(self) -> dict[str, Split]:
        """By name, those that there are accuracies of."""
        names = [name.removesuffix("-accuracy") for name in self.columns if name.endswith("-accuracy")]
        get = self.columns.get
        return {
            name: Split(get(f"{name}-accuracy"), get(f"{name}-loss"), get(name + TIME), self.epochs) for name in names
        }

    @cached_property
    def final_means(self) -> dict[str, tuple[Reader, ...]]:
        """By split the means of `Split.final` over an architecture's trials; NaN where one of them lacks the value.

        Trials are added one by one, as numpy does for fewer than PAIRWISE: with more there are no means here.
        """
        if len(self.seeds) >= PAIRWISE:
            return {}
        made = self.rows != NONE
        return {
            name: tuple(_no_reader if values is None else _mean(values, made).item for values in split.final_values)
            for name, split in self.splits.items()
        }

    def read_seeds(self, index: int) -> list[int]:
        """The seeds an architecture was trained with."""
        return [seed for seed, row in zip(self.seeds, self.rows[index].tolist()) if row != NONE]

    def values(self, metric: str, epoch: int | None = None) -> NDArray[np.float64]:
        """(architectures, seeds) of a metric or cost.

        Raises:
            QueryError: no such metric or epoch.
        """
        if metric in self.costs:
            return self.costs[metric]
        epoch = self.check_epoch(epoch)
        if not self.has_epoch(metric, epoch):
            raise QueryError(f"{self} has {metric!r} after the last epoch only, {self.epochs - 1}, not after {epoch}")
        column = self.columns[metric]
        if epoch == self.epochs - 1 or column.history is None:
            return column.last
        return np.where(self.rows == NONE, np.nan, column.history[:, epoch][self.rows])

    def values_of(self, index: int, metric: str, epoch: int | None = None) -> NDArray[np.float64]:
        """(seeds,) of one architecture; raises as `values`."""
        if metric not in self.costs and self.has_epoch(metric, self.check_epoch(epoch)):
            history = self.columns[metric].history
            if history is not None:
                return np.where(self.rows[index] == NONE, np.nan, history[self.rows[index], self.check_epoch(epoch)])
        return self.values(metric, epoch)[index]

    def has_epoch(self, metric: str, epoch: int) -> bool:
        """Whether a metric is known after an epoch; raises QueryError where there is no such metric."""
        if metric in self.costs:
            return True
        if metric not in self.columns:
            raise QueryError(f"{self} has no {metric!r}; it has {', '.join([*self.columns, *COSTS])}")
        column = self.columns[metric]
        return epoch == self.epochs - 1 or column.steady or column.history is not None

    def check_epoch(self, epoch: int | None) -> int:
        """An epoch counted from 0; the last one for None.

        Raises:
            QueryError: there is none such.
        """
        if epoch is None:
            return self.epochs - 1
        if not 0 <= epoch < self.epochs:
            raise QueryError(f"{self} has the epochs 0 to {self.epochs - 1}, not {epoch}")
        return epoch

    def __str__(self) -> str:
        return f"{self.dataset} under setting {self.setting}"


@dataclass(frozen=True)
class ResultsTable:
    """All trials of a benchmark; axes (architecture, dataset, setting, seed, epoch, metric). What is missing is NaN.

    Attributes:
        architectures: their texts in the order of the indices; of NAS-Bench-201 all 15,625 in the official order.
        evaluated: (architectures,) whether the benchmark's file had a record of it.
        groups: by dataset and setting.
    """

    architectures: tuple[str, ...]
    evaluated: NDArray[np.uint8]
    groups: dict[tuple[str, str], Group]

    @classmethod
    def build(
        cls,
        architectures: Iterable[str],
        evaluated: NDArray[np.uint8],
        tensors: Mapping[str, NDArray],
        facts: Mapping[str, Mapping[str, Any]],
    ) -> ResultsTable:
        """From what `write_results` takes."""
        groups = [Group.read(name, facts[name], tensors) for name in facts]
        return cls(tuple(architectures), evaluated, {(group.dataset, group.setting): group for group in groups})

    @classmethod
    def open(cls, path: str | Path) -> ResultsTable:
        """Map a table that an import wrote.

        Raises:
            DataError: the file is not there or no such table.
        """
        table = open_table(Path(path))
        if table.metadata.get("kind") != KIND:
            raise DataError(f"{path} is no table of NAS-Bench-201 results: make one with tools.nasbench201 import")
        try:
            architectures = table.tensors["architectures"].tobytes().decode().split("\n")
            facts = json.loads(table.metadata["groups"])
            return cls.build(architectures, table.tensors["evaluated"], table.tensors, facts)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is no complete table: import it again ({error!r})") from error

    def __len__(self) -> int:
        return len(self.architectures)

    @cached_property
    def indices(self) -> dict[str, int]:
        """The index of each architecture's text."""
        return {text: index for index, text in enumerate(self.architectures)}

    @cached_property
    def by_setting(self) -> dict[str, dict[str, Group]]:
        """The groups of every setting by dataset, settings by epochs and datasets in the usual order."""
        order = [*DATASETS, *(dataset for dataset, _ in self.groups)]
        names = sorted(self.groups, key=lambda name: (int(name[1]), order.index(name[0])))
        found: dict[str, dict[str, Group]] = {}
        for dataset, setting in names:
            found.setdefault(setting, {})[dataset] = self.groups[dataset, setting]
        return found

    @property
    def settings(self) -> tuple[str, ...]:
        """By number of epochs."""
        return tuple(self.by_setting)

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds of all trials, ascending."""
        return tuple(sorted({seed for group in self.groups.values() for seed in group.seeds}))

    def group(self, dataset: str, setting: str | int) -> Group:
        """The trials of a dataset under a setting.

        Raises:
            QueryError: there are none.
        """
        try:
            return self.groups[dataset, str(setting)]
        except KeyError:
            known = ", ".join(map(str, self.groups.values()))
            raise QueryError(
                f"there are no results of {dataset!r} under setting {setting!r}; there is {known}"
            ) from None

    def values(self, dataset: str, setting: str | int, metric: str, epoch: int | None = None) -> NDArray[np.float64]:
        """A metric of all architectures.

        Args:
            metric: `<split>-accuracy` (percent), `-loss` or `-time` (seconds of an epoch) with the split train,
                x-valid, x-test or ori-test, `train-top5`; or params (millions), flops (millions of MACs), latency (s).
            epoch: from 0; None: the last.

        Returns:
            (architectures, seeds), the seeds as `self.seeds` has them; NaN where there was no such trial or value.

        Raises:
            QueryError: there is no such dataset, setting, metric or epoch.
        """
        group = self.group(dataset, setting)
        places = [self.seeds.index(seed) for seed in group.seeds]
        found = np.full((len(self), len(self.seeds)), np.nan)
        found[:, places] = group.values(metric, epoch)
        return found

    def write(self, path: Path) -> None:
        """Write one safetensors file; raises as `runtime.tables.write_table`."""
        tensors: dict[str, NDArray] = {}
        for (dataset, setting), group in self.groups.items():
            own: dict[str, NDArray] = {"rows": group.rows, "order": group.order, **group.costs}
            for name, column in group.columns.items():
                own[name] = column.last
                if column.history is not None:
                    own[name + EPOCHS] = column.history
            tensors |= {f"{dataset}/{setting}/{name}": value for name, value in own.items()}
        facts = {
            f"{dataset}/{setting}": describe(group.epochs, group.seeds, group.orders, group.config)
            for (dataset, setting), group in self.groups.items()
        }
        write_results(path, self.architectures, self.evaluated, tensors, facts)


def _no_reader(*_: int) -> float:
    return np.nan


def _mean(values: NDArray[np.float64], made: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(architectures,) over the trials that were made; NaN without any."""
    total = sum(np.where(own, column, 0.0) for column, own in zip(values.T, made.T))
    with np.errstate(invalid="ignore"):
        return np.asarray(total / made.sum(1))


def _add(seconds: NDArray[np.float64], epochs: int) -> NDArray[np.float64]:
    found = seconds.copy()
    for _ in range(epochs - 1):
        found += seconds
    return found


def describe(epochs: int, seeds: Iterable[int], orders: Iterable[Iterable[str]], config: Mapping) -> dict[str, Any]:
    """A group's facts that are no arrays."""
    return {"epochs": epochs, "seeds": [*seeds], "orders": [[*order] for order in orders], "config": dict(config)}


def write_results(
    path: Path,
    architectures: Iterable[str],
    evaluated: NDArray[np.uint8],
    tensors: Arrays,
    facts: Mapping[str, Mapping[str, Any]],
) -> None:
    """Write a table's parts as `ResultsTable.open` wants them; raises as `runtime.tables.write_table`."""
    texts = np.frombuffer("\n".join(architectures).encode(), np.uint8)
    metadata = {"kind": KIND, "axes": AXES, "groups": json.dumps(facts)}
    write_table(path, {"architectures": texts, "evaluated": evaluated, **tensors}, metadata)
