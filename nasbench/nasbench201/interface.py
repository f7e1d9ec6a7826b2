"""What `NASBench201API` and NATS-Bench's interfaces have in common, answered from the table."""

from __future__ import annotations

import inspect
import operator
import os
import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial, wraps
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from configs.errors import DataError
from nasbench.nasbench201.arch_results import ArchResults
from nasbench.nasbench201.benchmark import mean_over_seeds
from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.importing import build_table, import_cached
from nasbench.nasbench201.sources import check_official, official_records
from nasbench.nasbench201.table import DATASETS, NONE, ResultsTable
from nasbench.nasbench201.unpickling import load_weights

Method = TypeVar("Method", bound=Callable[..., Any])
Info = dict[str, Any]
KINDS = ("loss", "accuracy", "per-time", "all-time")
TOPICS = {  # what `get_more_info` tells: the split, and its keys
    name: [(split, [f"{topic}-{kind}" for kind in KINDS]) for topic, split in splits.items()]
    for name, splits in {
        "cifar10-valid": {"train": "train", "valid": "x-valid", "test": "ori-test"},
        "cifar10": {"train": "train", "valid": "x-valid", "test": "ori-test"},
        "else": {"train": "train", "valid": "x-valid", "test": "x-test", "valtest": "ori-test"},
    }.items()
}


def announced(method: Method) -> Method:
    """Print each call where the interface is verbose, as the official packages do."""
    signature = inspect.signature(method)

    @wraps(method)
    def call(self: BenchmarkInterface, *arguments: Any, **named: Any) -> Any:
        if self.verbose:
            bound = signature.bind(self, *arguments, **named)
            bound.apply_defaults()
            told = ", ".join(f"{name}={value}" for name, value in [*bound.arguments.items()][1:])
            print(f"Call the {method.__name__} function with {told}.")
        return method(self, *arguments, **named)

    return call  # type: ignore[return-value]


class BenchmarkInterface:
    """Queries by index, in the order of the official indices.

    Attributes:
        table: the results, as arrays.
        verbose: print every call.
        meta_archs: the architectures' texts. archstr2index: their indices. evaluated_indexes: those with results.
        filename: of the file, or None.
    """

    results_class: ClassVar[type[ArchResults]] = ArchResults
    defaults: ClassVar[tuple[str, ...]] = ()  # names in $TORCH_HOME, the first that is there is taken
    archive: ClassVar[str] = ""  # the folder in $TORCH_HOME of records with weights
    record_names: ClassVar[tuple[str, ...]] = ()  # of the files in it

    def __init__(
        self, source: str | Path | Mapping[str, Any] | None, verbose: bool, generator: random.Random | None
    ) -> None:
        """Open the results.

        Args:
            source: an official file or folder (imported into the cache folder on first use), our table, the content
                of an official file, or None: a file of the default name in $TORCH_HOME.
            generator: draws the random trials and architectures; None: Python's own, which `random.seed` sets.

        Raises:
            DataError: it is not there, corrupt or something else; StorageError: the cache cannot be written.
        """
        self.verbose, self.filename = verbose, None
        self._generator: Any = generator or random
        self._reloaded: dict[int, dict[str, ArchResults]] = {}
        self.reset_time()
        if isinstance(source, Mapping):
            self.table = self._take(source)
        else:
            path = self._find_default() if source is None else Path(source)
            self._say(f"try to create the {type(self).__name__} from {path}")
            self.table, self.filename = import_cached(path), path.name

    def _take(self, content: Mapping[str, Any]) -> ResultsTable:
        """The content of an official file; records that have weights are kept as they are."""
        check_official(content, "the dict")
        for index, infos in official_records(content):
            trials = [trial for info in infos.values() for trial in info.get("all_results", {}).values()]
            if any(trial.get("net_state_dict") is not None for trial in trials):
                self._reloaded[index] = self._read_record(infos)
        return build_table(official_records(content), list(content["meta_archs"]))

    def _read_record(self, infos: Mapping[str, Any]) -> dict[str, ArchResults]:
        settings = {"less": "12", "full": "200"}
        found = {settings.get(name, name): self.results_class.create_from_state_dict(infos[name]) for name in infos}
        return dict(sorted(found.items(), key=lambda item: int(item[0])))

    def _find_default(self) -> Path:
        home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".torch")
        for name in self.defaults:
            if (home / name).exists():
                return home / name
        raise DataError(f"{home} ($TORCH_HOME) holds none of {', '.join(self.defaults)}: give the file's path")

    def _say(self, text: str) -> None:
        if self.verbose:
            print(text)

    @property
    def meta_archs(self) -> tuple[str, ...]:
        return self.table.architectures

    @property
    def archstr2index(self) -> dict[str, int]:
        return self.table.indices

    @property
    def evaluated_indexes(self) -> Any:
        return sorted({*np.flatnonzero(self.table.evaluated).tolist(), *self._reloaded})

    @property
    def arch2infos_dict(self) -> Mapping[int, Mapping[str, ArchResults]]:
        """Every architecture's `ArchResults` by setting; what is changed in them is not kept."""
        return _Records(self)

    @property
    def avaliable_hps(self) -> list[str]:
        """The settings, as the official packages spell it."""
        return list(self.table.settings)

    @property
    def used_time(self) -> float:
        """Seconds of simulated training."""
        return self._used_time

    def reset_time(self) -> None:
        """Set `used_time` to zero."""
        self._used_time = 0.0

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: int) -> str:
        return self.meta_archs[index]

    @announced
    def arch(self, index: int) -> str:
        """The text of an architecture; raises QueryError where there is no such index."""
        return self.meta_archs[self._check(index)]

    def random(self) -> int:
        """A random index."""
        return self._generator.randint(0, len(self) - 1)

    @announced
    def query_index_by_arch(self, arch: Any) -> int:
        """The index of an architecture: an index, a text, or a value with `tostr`; -1 where there is no such text.

        Raises:
            QueryError: there is no such index.
        """
        if hasattr(arch, "__index__"):
            return self._check(arch)
        text = arch.tostr() if hasattr(arch, "tostr") else arch
        return self.archstr2index.get(text, -1) if isinstance(text, str) else -1

    def _check(self, index: int) -> int:
        found = operator.index(index)
        if not 0 <= found < len(self):
            raise QueryError(f"there is no architecture {index}: indices are 0 to {len(self) - 1}")
        return found

    def _index(self, arch: Any) -> int:
        index = self.query_index_by_arch.__wrapped__(self, arch)  # type: ignore[attr-defined]
        if index < 0:
            raise QueryError(f"{arch!r} is no architecture of this space, such as {self[0]}")
        return index

    def _results(self, index: int, hp: str | int) -> ArchResults:
        """An architecture's trials under a setting, new each time but for reloaded ones."""
        index, setting = self._check(index), str(hp)
        if index in self._reloaded:
            if setting in self._reloaded[index]:
                return self._reloaded[index][setting]
            raise QueryError(f"architecture {index} has the settings {', '.join(self._reloaded[index])}, not {hp!r}")
        if not self.table.evaluated.item(index):
            known = sorted(self.evaluated_indexes)
            raise QueryError(
                f"there are no results of architecture {index}, but of {len(known)} others: {_list(known)}"
            )
        if setting not in self.table.by_setting:
            raise QueryError(f"there is no setting (hp) {hp!r}, but {', '.join(self.table.settings)}")
        return self.results_class.from_table(self.table, index, setting, self._generator)

    @announced
    def query_meta_info_by_index(self, arch_index: int, hp: str | int = "12") -> ArchResults:
        """The caller's own `ArchResults` of an architecture under a setting; raises QueryError without results."""
        return self._own(self._check(arch_index), hp)

    def _own(self, index: int, hp: str | int) -> ArchResults:
        results = self._results(index, hp)
        if index not in self._reloaded:
            return results
        copied = type(results).create_from_state_dict(results.state_dict())
        copied.dataset_seed = {dataset: [*seeds] for dataset, seeds in copied.dataset_seed.items()}
        return copied

    @announced
    def query_by_index(self, arch_index: int, dataname: str | None = None, hp: str | int = "12") -> Any:
        """The `ArchResults`, or with a dataset its `ResultsCount` by seed; raises QueryError without results."""
        results = self._own(self._check(arch_index), hp)
        return results if dataname is None else results.query(dataname)

    @announced
    def get_more_info(
        self, index: Any, dataset: str, iepoch: int | None = None, hp: str | int = "12", is_random: bool | int = True
    ) -> Info:
        """What one training reached and took.

        Args:
            index: an architecture's index, text, or a value with `tostr`.
            iepoch: the epoch from 0; None: the last.
            is_random: True: a random trial; False: means over all; a number: the trial of that seed.

        Returns:
            For train, valid, test and valtest (valid and test together), as far as they are known: `<set>-loss`,
            `<set>-accuracy` in percent, `<set>-per-time` and `<set>-all-time` in seconds of an epoch and of all.

        Raises:
            QueryError: there is no such architecture, dataset, setting, epoch or seed.
        """
        results = self._results(index if type(index) is int else self._index(index), hp)
        find = partial(results.means, dataset) if is_random is False else results.choose(dataset, is_random)[0].peek
        info = self._comment(dataset, hp)
        for split, (loss, accuracy, each, together) in TOPICS.get(dataset, TOPICS["else"]):
            found = find(split, iepoch)
            if found is not None:
                seconds = found["all_time"]
                info[loss], info[accuracy] = found["loss"], found["accuracy"]
                info[each] = None if seconds is None else seconds / (found["iepoch"] + 1)
                info[together] = seconds
        return info

    def _comment(self, dataset: str, hp: str | int) -> Info:
        """What else is told beside the metrics."""
        return {}

    @announced
    def get_cost_info(self, index: int, dataset: str, hp: str | int = "12") -> Info:
        """`ArchResults.get_compute_costs` of an architecture; raises QueryError without trials on the dataset."""
        return self._results(index, hp).get_compute_costs(dataset)

    @announced
    def get_latency(self, index: int, dataset: str, hp: str | int = "12") -> float | None:
        """Mean seconds for a batch of 256; None where unknown. Raises QueryError without trials on the dataset."""
        return self._results(index, hp).mean_latency(dataset)

    @announced
    def get_net_config(self, index: int, dataset: str) -> Info:
        """What `nasbench.models.get_cell_based_tiny_net` takes; raises QueryError without trials on the dataset."""
        for results in self.arch2infos_dict[index].values():
            if dataset in results.get_dataset_names():
                return next(iter(results.query(dataset).values())).get_config(None)
        raise QueryError(f"architecture {index} has no trials on {dataset!r}")

    @announced
    def get_net_param(self, index: int, dataset: str, seed: int | None, hp: str | int = "12") -> Any:
        """The trained weights of one trial, or by seed of all; None without weights, which `reload` brings.

        Raises:
            QueryError: there is no such trial.
        """
        return self._results(index, hp).get_net_param(dataset, seed)

    @announced
    def clear_params(self, index: int, hp: str | int | None = None) -> None:
        """Forget an architecture's trained weights, under one setting or all."""
        for setting in [*self._reloaded.get(self._check(index), {})] if hp is None else [hp]:
            self._results(index, setting).clear_params()

    @announced
    def reload(self, archive_root: str | Path | None = None, index: int | None = None) -> None:
        """Replace the results of one architecture or all by those of its file in a folder, with trained weights.

        Raises:
            DataError: the folder or a file is not there, or a file is corrupt.
        """
        home = Path(os.environ.get("TORCH_HOME") or Path.home() / ".torch")
        root = home / self.archive if archive_root is None else Path(archive_root)
        if not root.is_dir():
            raise DataError(f"{root} is no folder of records")
        for one in range(len(self)) if index is None else [self._check(index)]:
            named = [root / name.format(one) for name in self.record_names]
            path = next((path for path in named if path.is_file()), None)
            if path is None:
                raise DataError(f"{root} holds no record of architecture {one}: {named[0].name} is not there")
            self._reloaded[one] = self._load_record(path)

    def _load_record(self, path: Path) -> dict[str, ArchResults]:
        infos = load_weights(path)
        if not isinstance(infos, Mapping) or not infos or not all(isinstance(info, Mapping) for info in infos.values()):
            raise DataError(f"{path} is no record of an architecture")
        return self._read_record({name: info for name, info in infos.items() if "all_results" in info})

    def _find_best(self, dataset: str, setname: str, flop_max: Any, param_max: Any, hp: str | int) -> tuple[int, Any]:
        """The index of the highest mean accuracy within limits in millions, and that accuracy; -1 and None without."""
        dataset, setname = remap_dataset_set_names(dataset, setname)
        group = self.table.group(dataset, hp)
        accuracies = mean_over_seeds(group.values(f"{setname}-accuracy"))
        for name, most in (("flops", flop_max), ("params", param_max)):
            if most is not None:
                with np.errstate(invalid="ignore"):
                    accuracies = np.where(self._mean_costs(group.costs[name], group.seeds) > most, np.nan, accuracies)
        for index, results in self._reloaded.items():
            accuracies[index] = _reached(results.get(str(hp)), dataset, setname, flop_max, param_max)
        best = -1 if np.isnan(accuracies).all() else int(np.nanargmax(accuracies))
        return best, (accuracies[best] if best >= 0 else None)

    def _mean_costs(self, values: np.ndarray, seeds: tuple[int, ...]) -> np.ndarray:
        return mean_over_seeds(values)

    @announced
    def query_info_str_by_arch(self, arch: Any, hp: str | int = "12") -> str:
        """What an architecture costs and reached, as text; raises QueryError without results."""
        index = self._index(arch)
        return "\n".join(self._results(index, hp).describe(f"arch-index={index}"))

    def query_by_arch(self, arch: Any, hp: str | int) -> str:
        """`query_info_str_by_arch`, under its older name."""
        return self.query_info_str_by_arch(arch, hp)

    def show(self, index: int = -1) -> None:
        """Print what an architecture costs and reached, or with a negative index all of them."""
        index = operator.index(index)
        if index >= len(self):
            print(f"This index ({index}) is out of range (0~{len(self)}).")
        elif index >= 0:
            self._show(index)
        else:
            print(self)
            known = sorted(self.evaluated_indexes)
            for place, one in enumerate(known):
                print(f"\n{'-' * 10} The ({place:5d}/{len(known):5d}) {one:06d}-th architecture! {'-' * 10}")
                print(f"arch : {self[one]}")
                self._show(one)

    def _show(self, index: int) -> None:
        if index not in self.arch2infos_dict:
            print(f"The {index}-th architecture has not been evaluated or not saved.")
            return
        for results in self.arch2infos_dict[index].values():
            if results.get_dataset_names():
                print(f"{'>' * 40} {results.get_total_epoch():03d} epochs {'>' * 40}")
                print("\n".join(results.describe()))
        print(f"{'<' * 40}------------{'<' * 40}")

    @announced
    def statistics(self, dataset: str, hp: str | int) -> dict[int, int]:
        """How many architectures have how many trials on a dataset.

        Raises:
            QueryError: there is no such dataset or setting.
        """
        if dataset not in DATASETS:
            raise QueryError(f"{dataset!r} is none of {', '.join(DATASETS)}")
        if str(hp) not in self.table.settings:
            raise QueryError(f"there is no setting (hp) {hp!r}, but {', '.join(self.table.settings)}")
        group = self.table.groups.get((dataset, str(hp)))
        made = np.zeros(len(self), np.int64) if group is None else np.count_nonzero(group.rows != NONE, 1)
        for index, infos in self._reloaded.items():
            made[index] = len(infos[str(hp)].dataset_seed.get(dataset, [])) if str(hp) in infos else 0
        numbers, counts = np.unique(made[list(self._counted())], return_counts=True)
        return dict(zip(numbers.tolist(), counts.tolist()))

    def _counted(self) -> Any:
        return self.evaluated_indexes


class _Records(Mapping[int, Mapping[str, ArchResults]]):
    def __init__(self, interface: BenchmarkInterface) -> None:
        self._interface = interface

    def __getitem__(self, index: int) -> Mapping[str, ArchResults]:
        if index not in self:
            raise KeyError(index)
        if index in self._interface._reloaded:
            return self._interface._reloaded[index]
        settings = self._interface.table.settings
        return {setting: self._interface._results(index, setting) for setting in settings}

    def __contains__(self, index: object) -> bool:
        interface = self._interface
        if not isinstance(index, (int, np.integer)) or not 0 <= index < len(interface):
            return False
        return index in interface._reloaded or bool(interface.table.evaluated[index])

    def __iter__(self) -> Iterator[int]:
        return iter(self._interface.evaluated_indexes)

    def __len__(self) -> int:
        return len(self._interface.evaluated_indexes)


def remap_dataset_set_names(dataset: str, metric_on_set: str) -> tuple[str, str]:
    """The dataset and set that valid and test stand for: on CIFAR-10, valid is of the trials on half of the images."""
    if dataset == "cifar10":
        return {"valid": ("cifar10-valid", "x-valid"), "test": (dataset, "ori-test")}.get(
            metric_on_set, (dataset, metric_on_set)
        )
    test = "ori-test" if dataset == "cifar10-valid" else "x-test"
    return dataset, {"valid": "x-valid", "test": test}.get(metric_on_set, metric_on_set)


def _reached(results: ArchResults | None, dataset: str, setname: str, flop_max: Any, param_max: Any) -> float:
    """A reloaded architecture's mean accuracy; NaN where it is unknown or a limit is passed."""
    if results is None or dataset not in results.dataset_seed:
        return np.nan
    costs = results.get_compute_costs(dataset)
    if (flop_max is not None and costs["flops"] > flop_max) or (param_max is not None and costs["params"] > param_max):
        return np.nan
    found = results.means(dataset, setname, None)
    return np.nan if found is None else found["accuracy"]


def _list(indices: list[int]) -> str:
    return ", ".join(map(str, indices[:5])) + (", …" if len(indices) > 5 else "")
