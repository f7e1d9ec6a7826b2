"""`ArchResults`, the official packages' record of an architecture under one setting; lazy where it is of a table."""

from __future__ import annotations

import operator
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.results import ResultsCount
from nasbench.nasbench201.table import Group, ResultsTable
from nasbench.nasbench201.trial import Trial
from nasbench.nasbench201.unpickling import load_weights

Metrics = dict[str, Any]
SHOWN = {"cifar10-valid": {"valid": "x-valid"}, "cifar10": {"test ": "ori-test"}}  # beside train
SHOWN_ELSE = {"valid": "x-valid", "test": "x-test"}


class ArchResults:
    """All trials of one architecture under one setting.

    Attributes:
        arch_index, arch_str: the architecture.
        dataset_seed: the seeds of each dataset, ascending.
        all_results: `ResultsCount` by (dataset, seed).
        clear_net_done: whether the trained weights were left out.
    """

    trial_class: ClassVar[type[ResultsCount]] = ResultsCount
    separator: ClassVar[str] = ","  # of loss and accuracy in `describe`
    shown: ClassVar[Mapping[str, Mapping[str, str]]] = SHOWN

    def __init__(self, arch_index: int, arch_str: str) -> None:
        self.arch_index, self.arch_str = int(arch_index), arch_str
        self.all_results: dict[tuple[str, int], ResultsCount] = {}
        self.dataset_seed: dict[str, list[int]] = {}
        self.clear_net_done = False

    @classmethod
    def create_from_state_dict(cls, state_dict_or_file: Mapping[str, Any] | str | Path) -> ArchResults:
        """From an official record, or a file that holds one.

        Raises:
            DataError: the file is not there, corrupt, or holds something else.
        """
        if isinstance(state_dict_or_file, (str, Path)):
            state_dict_or_file = load_weights(Path(state_dict_or_file))
        if not isinstance(state_dict_or_file, Mapping) or "all_results" not in state_dict_or_file:
            raise QueryError("an architecture's record is a dict with all_results, such as xdata['full']")
        results = cls(-1, "")
        results.load_state_dict(state_dict_or_file)
        return results

    @classmethod
    def from_table(cls, table: ResultsTable, index: int, setting: str, generator: random.Random) -> ArchResults:
        """A lazy one."""
        results = cls.__new__(cls)
        results.__dict__.update(
            arch_index=index,
            arch_str=table.architectures[index],
            clear_net_done=True,
            _groups=table.by_setting[setting],
            _generator=generator,
        )
        return results

    def __getattr__(self, name: str) -> Any:
        groups: dict[str, Group] = self.__dict__.get("_groups", {})
        if name == "dataset_seed" and "_groups" in self.__dict__:
            found = {dataset: group.read_seeds(self.arch_index) for dataset, group in groups.items()}
            self.dataset_seed = {dataset: seeds for dataset, seeds in found.items() if seeds}
        elif name == "all_results" and "_groups" in self.__dict__:
            self.all_results = {
                (dataset, seed): self._open(groups[dataset], seed)
                for dataset, seeds in self.dataset_seed.items()
                for seed in seeds
            }
        else:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        return self.__dict__[name]

    def _open(self, group: Group, seed: int) -> ResultsCount:
        trial = Trial(group, self.arch_str, self.arch_index, group.seeds.index(seed))
        return self.trial_class.from_trial(trial)

    def _trial(self, dataset: str, seed: int) -> ResultsCount:
        """One trial, without making the others."""
        if "all_results" in self.__dict__:
            return self.all_results[dataset, seed]
        return self._open(self._groups[dataset], seed)

    def _seeds(self, dataset: str) -> list[int]:
        if "dataset_seed" in self.__dict__:
            seeds = self.dataset_seed.get(dataset)
        else:
            seeds = self._groups[dataset].read_seeds(self.arch_index) if dataset in self._groups else None
        if not seeds:
            known = ", ".join(self.get_dataset_names()) or "no dataset"
            raise QueryError(f"architecture {self.arch_index} has no trials on {dataset!r}, but on {known}")
        return seeds

    def choose(self, dataset: str, is_random: bool | int) -> list[ResultsCount]:
        """The trials that `get_metrics` is asked for; raises QueryError where there are none."""
        seeds = self._seeds(dataset)
        if isinstance(is_random, bool):
            seeds = [self.__dict__.get("_generator", random).choice(seeds)] if is_random else seeds
        elif is_random in seeds:
            seeds = [int(is_random)]
        else:
            made = ", ".join(map(str, seeds))
            raise QueryError(f"architecture {self.arch_index} has no seed {is_random!r} on {dataset}, but {made}")
        return [self._trial(dataset, seed) for seed in seeds]

    def means(self, dataset: str, name: str, iepoch: int | None) -> Metrics | None:
        """The means over a dataset's trials on one set; None where one of them was not evaluated so.

        Raises:
            QueryError: there are no trials on the dataset.
        """
        seeds = self._seeds(dataset)
        group = None if "all_results" in self.__dict__ else self._groups[dataset]
        if group is not None and (iepoch is None or iepoch == group.epochs - 1) and name in group.final_means:
            accuracy, loss, seconds, total = [read(self.arch_index) for read in group.final_means[name]]
            if accuracy == accuracy and total == total:  # neither is NaN
                times = {"cur_time": seconds, "all_time": total}
                return {"iepoch": float(group.epochs - 1), "loss": loss, "accuracy": accuracy, **times}
        return self.combine([self._trial(dataset, seed) for seed in seeds], name, iepoch)

    @classmethod
    def combine(cls, trials: list[ResultsCount], name: str, iepoch: int | None) -> Metrics | None:
        """The means over trials on one set; None where one of them was not evaluated so."""
        found = [metrics for trial in trials if (metrics := trial.peek(name, iepoch)) is not None]
        if len(found) < len(trials):
            return None
        mean, columns = cls.trial_class.mean, {key: [metrics[key] for metrics in found] for key in found[0]}
        return {key: None if None in values else mean(values) for key, values in columns.items()}

    def get_metrics(
        self, dataset: str, setname: str, iepoch: int | None = None, is_random: bool | int = False
    ) -> Metrics:
        """iepoch, loss, accuracy (percent), cur_time and all_time (seconds) on one set.

        Args:
            setname: train, x-valid, x-test or ori-test, as the dataset has them.
            iepoch: the epoch from 0; None: the last.
            is_random: True: of a random trial; False: means over all; a number: of the trial with that seed.

        Raises:
            QueryError: there is no such dataset, set, epoch or seed.
        """
        trials = self.choose(dataset, is_random)
        name = "x-valid" if setname == "valid" else setname
        found = self.means(dataset, name, iepoch) if is_random is False else trials[0].peek(name, iepoch)
        if found is None:
            for trial in trials:
                trial.get_eval(setname, iepoch)
        return found or {}

    def get_compute_costs(self, dataset: str) -> Metrics:
        """params and flops in millions, latency in seconds for a batch of 256, and `ResultsCount.get_times`: means.

        Raises:
            QueryError: there are no trials on the dataset.
        """
        seeds = self._seeds(dataset)
        trials = [self._trial(dataset, seed) for seed in seeds]
        mean = self.trial_class.mean
        costs = {"flops": [trial.flop for trial in trials], "params": [trial.params for trial in trials]}
        info: Metrics = {name: mean(self.choose_costs(values, seeds)) for name, values in costs.items()}
        info["latency"] = self.mean_latency(dataset)
        times = [trial.get_times() for trial in trials]
        for key in dict.fromkeys(key for one in times for key in one):
            values = [seconds for one in times if (seconds := one.get(key)) is not None]
            info[key] = mean(values) if len(values) == len(times) else None
        return info

    get_comput_costs = get_compute_costs  # as the published examples spell it

    @staticmethod
    def choose_costs(values: list[float], seeds: list[int]) -> list[float]:
        """Which trials tell the parameters and FLOPs: all."""
        return values

    def mean_latency(self, dataset: str) -> float | None:
        """Seconds for a batch of 256, of the trials for which it was measured; None where it never was."""
        latencies = [self._trial(dataset, seed).get_latency() for seed in self._seeds(dataset)]
        known = [latency for latency in latencies if latency > 0]
        return self.trial_class.mean(known) if known else None

    def get_latency(self, dataset: str) -> float:
        """The mean latency in seconds; raises QueryError where it was not measured for a trial."""
        seeds = self._seeds(dataset)
        latencies = [self._trial(dataset, seed).get_latency() for seed in seeds]
        if min(latencies) <= 0:
            raise QueryError(f"latency was not measured for every trial of architecture {self.arch_index} on {dataset}")
        return sum(latencies) / len(latencies)

    def get_dataset_names(self) -> list[str]:
        """The datasets that it was trained on."""
        return list(self.dataset_seed)

    def get_dataset_seeds(self, dataset: str) -> list[int]:
        """The seeds of a dataset's trials; raises QueryError where there are none."""
        return list(self._seeds(dataset))

    def get_net_param(self, dataset: str, seed: int | None = None) -> Any:
        """The trained weights of one trial, or of all by seed; None stands for weights that the file did not have.

        Raises:
            QueryError: there is no such trial.
        """
        if seed is None:
            return {one: self._trial(dataset, one).get_net_param() for one in self._seeds(dataset)}
        return self.choose(dataset, operator.index(seed))[0].get_net_param()

    def get_total_epoch(self, dataset: str | None = None) -> int:
        """How many epochs the trainings had; raises QueryError where that differs between them."""
        names = self.get_dataset_names() if dataset is None else [dataset]
        found = {self._trial(name, seed).get_total_epoch() for name in names for seed in self._seeds(name)}
        if len(found) != 1:
            raise QueryError(
                f"the trials of architecture {self.arch_index} have {sorted(found)} epochs, not one number"
            )
        return found.pop()

    def query(self, dataset: str, seed: int | None = None) -> Any:
        """The `ResultsCount` of one trial, or of all by seed; raises QueryError where there is none."""
        results = self.all_results
        if seed is None:
            return {one: results[dataset, one] for one in self._seeds(dataset)}
        return self.choose(dataset, operator.index(seed))[0]

    def arch_idx_str(self) -> str:
        """The index in six digits, as files are called."""
        return f"{self.arch_index:06d}"

    def update(self, dataset_name: str, seed: int, result: ResultsCount) -> None:
        """Add a trial; raises QueryError where its seed is there already."""
        seeds = self.dataset_seed.get(dataset_name, [])
        if seed in seeds:
            raise QueryError(f"architecture {self.arch_index} has seed {seed} on {dataset_name} already")
        self.all_results[dataset_name, seed] = result
        self.dataset_seed[dataset_name] = sorted([*seeds, seed])
        self.clear_net_done = False

    def reset_latency(self, dataset: str, seed: int | None, latency: float) -> None:
        """Replace the latency of one trial or all, in seconds."""
        for trial in self._each(dataset, seed):
            trial.update_latency([latency])

    def reset_pseudo_train_times(self, dataset: str, seed: int | None, estimated_per_epoch_time: float) -> None:
        """Let every epoch of one trial or all have taken so many seconds."""
        for trial in self._each(dataset, seed):
            trial.reset_pseudo_train_times(estimated_per_epoch_time)

    def reset_pseudo_eval_times(
        self, dataset: str, seed: int | None, eval_name: str, estimated_per_epoch_time: float
    ) -> None:
        """Let every evaluation of a set have taken so many seconds, in one trial or all."""
        for trial in self._each(dataset, seed):
            trial.reset_pseudo_eval_times(eval_name, estimated_per_epoch_time)

    def _each(self, dataset: str, seed: int | None) -> list[ResultsCount]:
        found = self.query(dataset, seed)
        return list(found.values()) if seed is None else [found]

    def state_dict(self) -> dict[str, Any]:
        """The official record."""
        results = {key: trial.state_dict() for key, trial in self.all_results.items()}
        own = {key: value for key, value in self.__dict__.items() if not key.startswith("_")}
        return {**own, "dataset_seed": self.dataset_seed, "all_results": results}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take everything from an official record."""
        results = {key: self.trial_class.create_from_state_dict(one) for key, one in state_dict["all_results"].items()}
        self.__dict__.update({**state_dict, "all_results": results})

    def __getstate__(self) -> dict[str, Any]:
        return {**self.state_dict(), "all_results": self.all_results}

    def clear_params(self) -> None:
        """Forget the trained weights."""
        for trial in self.all_results.values():
            trial.net_state_dict = None
        self.clear_net_done = True

    def show(self, is_print: bool = False) -> list[str]:
        """What it cost and reached, as lines; printed on demand."""
        lines = self.describe()
        if is_print:
            print("\n".join(lines))
        return lines

    def describe(self, extra_info: str | None = None) -> list[str]:
        """Lines for reading; what is not known is left out."""
        lines = [self.arch_str, f"datasets : {self.get_dataset_names()}, extra-info : {extra_info}"]
        for dataset in self.get_dataset_names():
            costs = self.get_compute_costs(dataset)
            latency = "None" if costs["latency"] is None else f"{costs['latency'] * 1000:.2f}"
            lines.append(
                f"{dataset:14s} FLOP={costs['flops']:6.2f} M, Params={costs['params']:.3f} MB, latency={latency} ms."
            )
            sets = {"train": "train", **self.shown.get(dataset, SHOWN_ELSE)}
            trials = self.choose(dataset, False)
            reached = {name: self.combine(trials, split, None) for name, split in sets.items()}
            told = [f"{name} : [{self._tell(found)}]" for name, found in reached.items() if found]
            lines.append(f"{dataset:14s} {', '.join(told)}")
        return lines

    def _tell(self, found: Metrics) -> str:
        return f"loss = {found['loss']:.3f}{self.separator} top1 = {found['accuracy']:.2f}%"

    def debug_test(self) -> None:
        """Print latencies, trials and times of all datasets."""
        for dataset in self.get_dataset_names():
            print(f"---->>>> {dataset}\nThe latency on {dataset} is {self.mean_latency(dataset)} s")
            for trial in self.query(dataset).values():
                print(f"  ==>> result = {trial}\n  ==>> cost = {trial.get_times()}")

    def __repr__(self) -> str:
        return (
            f"ArchResults(arch-index={self.arch_index}, arch={self.arch_str}, {len(self.all_results)} runs, "
            f"clear={self.clear_net_done})"
        )
