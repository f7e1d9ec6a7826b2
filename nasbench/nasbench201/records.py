"""Official records into arrays, some architectures at a time, and those parts into one table."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from configs.errors import DataError
from nasbench.nasbench201.table import COSTS, EPOCHS, NONE, TIME, describe
from runtime.tables import Pieces, Table

SETTINGS = {"less": "12", "full": "200"}  # how NAS-Bench-201's own files call them; NATS-Bench says the epochs
MALFORMED = (ValueError, TypeError, LookupError, AttributeError, OverflowError)

Record = tuple[int, Mapping[str, Mapping[str, Any]]]  # an architecture's index, and its `ArchResults` by setting


@dataclass
class Trials:
    """The trials of one dataset under one setting while they are collected; a column has a value for every epoch."""

    epochs: int
    config: dict[str, Any]
    orders: list[list[str]] = field(default_factory=list)
    places: list[dict[str, float]] = field(default_factory=list)
    columns: list[dict[str, NDArray[np.float64]]] = field(default_factory=list)

    def add(self, index: int, seed: int, result: Mapping[str, Any]) -> None:
        """Take a `ResultsCount` record; raises one of MALFORMED where it is none."""
        names, latency = [*result["eval_names"]], result["latency"]
        if names not in self.orders:
            self.orders.append(names)
        seconds = np.nan if latency is None else sum(latency) / len(latency)
        costs = {"params": result["params"], "flops": result["flop"], "latency": seconds}
        self.places.append({"index": index, "seed": seed, "order": self.orders.index(names), **costs})
        self.columns.append(_read_columns(result, names, self.epochs))

    def to_arrays(self) -> dict[str, NDArray]:
        """(trials,) of what describes them, and metrics: (trials, epochs), or (trials, 1) where the last says all."""
        kinds = {"index": np.int32, "seed": np.int32, "order": np.uint8}
        arrays: dict[str, NDArray] = {
            name: np.array([place[name] for place in self.places], kinds.get(name, np.float64))
            for name in self.places[0]
        }
        unknown = np.full(self.epochs, np.nan)
        for name in dict.fromkeys(chain.from_iterable(self.columns)):
            values = np.stack([columns.get(name, unknown) for columns in self.columns])
            before, last = values[:, :-1], values[:, -1:]
            shorter = (before == last) | np.isnan(last) & np.isnan(before) if name.endswith(TIME) else np.isnan(before)
            arrays[name] = last if shorter.all() else values
        return arrays


def collect(records: Iterable[Record], architectures: Sequence[str], where: object) -> Table:
    """A part of a table: the trials of some architectures.

    Raises:
        DataError: a record is not as the official ones, or not of its architecture.
    """
    groups: dict[str, Trials] = {}
    evaluated = []
    for index, infos in records:
        try:
            text = architectures[index]
            for setting, state in infos.items():
                if state["arch_str"] != text:
                    raise ValueError(f"it is {state['arch_str']} and not {text}")
                for (dataset, seed), result in state["all_results"].items():
                    name = f"{dataset}/{SETTINGS.get(setting, setting)}"
                    epochs, config = result["epochs"], mask_config(result["arch_config"], text)
                    trials = groups.setdefault(name, Trials(epochs, config))
                    if (trials.epochs, trials.config) != (epochs, config):
                        raise ValueError(f"{name} has other epochs or another network than the architectures before")
                    trials.add(index, int(seed), result)
        except MALFORMED as error:
            raise DataError(f"{where}: architecture {index} has no official record: {error!r}") from error
        evaluated.append(index)
    tensors = {f"{name}/{key}": value for name, trials in groups.items() for key, value in trials.to_arrays().items()}
    facts = {name: describe(trials.epochs, [], trials.orders, trials.config) for name, trials in groups.items()}
    return Table({"evaluated": np.array(evaluated, np.int32), **tensors}, {"groups": json.dumps(facts)})


def mask_config(config: Mapping[str, Any], architecture: str) -> dict[str, Any]:
    """The official network description, with None for the architecture's text."""
    return {key: None if value == architecture else value for key, value in config.items()}


def merge(
    parts: Sequence[Callable[[], Table]], architectures: int
) -> tuple[NDArray[np.uint8], dict[str, NDArray | Pieces], dict[str, dict[str, Any]]]:
    """What `table.write_results` writes; histories are read from one part after the other while they are written.

    Args:
        parts: each opens a part that `collect` made, for a moment.
        architectures: how many there are.

    Raises:
        DataError: parts contradict each other.
    """
    evaluated = np.zeros(architectures, np.uint8)
    found: dict[str, _Merging] = {}
    for part in parts:
        table = part()
        evaluated[table.tensors["evaluated"]] = 1
        for name, facts in json.loads(table.metadata["groups"]).items():
            merging = found.setdefault(name, _Merging(name, facts["epochs"], facts["config"], parts))
            merging.take(table, facts)
    names = sorted(found, key=lambda name: name.rsplit("/", 1)[1].zfill(4))
    tensors = {key: value for name in names for key, value in found[name].tensors(architectures).items()}
    return evaluated, tensors, {name: found[name].facts() for name in names}


class _Merging:
    """One group over all parts."""

    def __init__(self, name: str, epochs: int, config: dict[str, Any], parts: Sequence[Callable[[], Table]]) -> None:
        self.name, self.epochs, self.config, self.parts = name, epochs, config, parts
        self.orders: list[list[str]] = []
        self.small: list[dict[str, NDArray]] = []
        self.widths: dict[str, int] = {}

    def take(self, table: Table, facts: Mapping[str, Any]) -> None:
        if (facts["epochs"], facts["config"]) != (self.epochs, self.config):
            raise DataError(f"{self.name} has architectures of other epochs or networks than the others")
        own = _own(table, self.name)
        for name, values in own.items():
            if values.ndim == 2:
                self.widths[name] = max(self.widths.get(name, 1), values.shape[1])
        self.orders += [order for order in facts["orders"] if order not in self.orders]
        codes = np.array([self.orders.index(order) for order in facts["orders"]], np.uint8)
        small = {name: np.array(values if values.ndim == 1 else values[:, -1]) for name, values in own.items()}
        self.small.append(small | {"order": codes[own["order"]]})

    def facts(self) -> dict[str, Any]:
        return describe(self.epochs, self.seeds().tolist(), self.orders, self.config)

    def seeds(self) -> NDArray[np.int32]:
        return np.unique(self._joined("seed"))

    def tensors(self, architectures: int) -> dict[str, NDArray | Pieces]:
        seeds, indices = self.seeds(), self._joined("index")
        at = indices, np.searchsorted(seeds, self._joined("seed"))

        def spread(values: NDArray, nothing: float) -> NDArray:
            """(trials,) over the axes architecture and seed."""
            found = np.full((architectures, len(seeds)), nothing, values.dtype)
            found[at] = values
            return found

        rows = np.arange(len(indices), dtype=np.int32)
        tensors: dict[str, NDArray | Pieces] = {"rows": spread(rows, NONE), "order": spread(self._joined("order"), 0)}
        if np.count_nonzero(tensors["rows"] != NONE) < len(rows):
            raise DataError(f"{self.name} has two trials of one architecture and seed")
        tensors |= {name: spread(self._joined(name), np.nan) for name in (*COSTS, *self.widths)}
        for name in [name for name, width in self.widths.items() if width > 1]:
            shape, pieces = (len(rows), self.epochs), partial(self._pieces, name)
            tensors[name + EPOCHS] = Pieces(shape, np.dtype(np.float64), pieces)
        return {f"{self.name}/{name}": value for name, value in tensors.items()}

    def _joined(self, name: str) -> NDArray:
        return np.concatenate([_or_nan(small, name) for small in self.small])

    def _pieces(self, name: str) -> Iterator[NDArray[np.float64]]:
        for part in self.parts:
            own = _own(part(), self.name)
            if own:
                yield _expand(own.get(name), len(own["index"]), self.epochs, name.endswith(TIME))


def _own(table: Table, name: str) -> dict[str, NDArray]:
    return {key.removeprefix(name + "/"): value for key, value in table.tensors.items() if key.startswith(name + "/")}


def _or_nan(arrays: Mapping[str, NDArray], name: str) -> NDArray:
    return arrays[name] if name in arrays else np.full(len(arrays["index"]), np.nan)


def _expand(values: NDArray | None, trials: int, epochs: int, steady: bool) -> NDArray[np.float64]:
    """Every epoch of a part's metric."""
    if values is not None and values.shape[1] == epochs:
        return values
    found = np.full((trials, epochs), np.nan)
    if values is not None:
        found[:, 0 if steady else -1 :] = values
    return found


def _read_columns(result: Mapping[str, Any], names: Iterable[str], epochs: int) -> dict[str, NDArray[np.float64]]:
    """Every metric of a trial, NaN in epochs where it was not measured."""
    numbers = range(epochs)
    series: dict[str, tuple[Mapping, Sequence]] = {
        "train-accuracy": (result["train_acc1es"], numbers),
        "train-top5": (result["train_acc5es"], numbers),
        "train-loss": (result["train_losses"], numbers),
        "train-time": (result["train_times"], numbers),
    }
    for name in names:
        keys = _keys(name, epochs)
        series[f"{name}-accuracy"] = result["eval_acc1es"], keys
        series[f"{name}-loss"] = result["eval_losses"], keys
        series[f"{name}-time"] = result["eval_times"], keys
    return {name: _read_series(values, keys) for name, (values, keys) in series.items() if values}


def _read_series(values: Mapping[Any, float], keys: Iterable[Any]) -> NDArray[np.float64]:
    try:
        return np.array([values[key] for key in keys], np.float64)
    except KeyError:
        return np.array([values.get(key, np.nan) for key in keys], np.float64)


@cache
def _keys(name: str, epochs: int) -> tuple[str, ...]:
    """How the official records call an evaluation set's epochs."""
    return tuple(f"{name}@{epoch}" for epoch in range(epochs))
