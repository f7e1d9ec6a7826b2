"""`ResultsCount`, the official packages' record of a trial.

One that comes from a table is lazy: a metric is read from it when it is asked for, and the official attributes are
made when one of them is touched. From then on it is as one that was made from a `state_dict`.
"""

from __future__ import annotations

import copy
import operator
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.table import PAIRWISE
from nasbench.nasbench201.trial import Trial

Numbers = Sequence[float]


def mean(values: Numbers) -> float:
    """As numpy.mean, to the last bit, and in a tenth of its time where there are few."""
    if len(values) >= PAIRWISE:
        return float(np.mean(values))
    total = values[0]
    for value in values[1:]:
        total += value
    return total / len(values)


class ResultsCount:
    """All information of one trial of one architecture.

    Attributes:
        name: the dataset. seed: as the official file has it, "0777". epochs: of the training.
        params: millions. flop: millions of multiply-accumulates. latency: seconds for a batch of 256, or None.
        train_acc1es, train_acc5es, train_losses, train_times: by epoch from 0; percent, percent, nats, seconds.
        eval_names: the evaluation sets. eval_acc1es, eval_losses, eval_times: by `set@epoch`.
        arch_config: the network. net_state_dict: its trained weights, or None.
    """

    mean: ClassVar[Callable[[Numbers], float]] = mean
    total: ClassVar[Callable[[Numbers], float]] = np.sum  # NAS-Bench-201 adds in pairs, NATS-Bench one by one

    def __init__(
        self,
        name: Any,
        state_dict: Any,
        train_accs: Any,
        train_losses: Any,
        params: Any,
        flop: Any,
        arch_config: Any,
        seed: Any,
        epochs: Any,
        latency: Any,
    ) -> None:
        self.name, self.net_state_dict = name, state_dict
        self.train_acc1es, self.train_losses = copy.deepcopy(train_accs), copy.deepcopy(train_losses)
        self.train_acc5es: Any = None
        self.train_times: Any = None
        self.arch_config = copy.deepcopy(arch_config)
        self.params, self.flop, self.seed, self.epochs, self.latency = params, flop, seed, epochs, latency
        self.reset_eval()

    @classmethod
    def create_from_state_dict(cls, state_dict: Mapping[str, Any]) -> ResultsCount:
        """The trial that an official record tells."""
        result = cls(*[None] * 10)
        result.load_state_dict(state_dict)
        return result

    @classmethod
    def from_trial(cls, trial: Trial) -> ResultsCount:
        """A lazy one, of a table."""
        result = cls.__new__(cls)
        result.__dict__["_trial"] = trial
        return result

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or "_trial" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        self._settle()
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._settle()
        super().__setattr__(name, value)

    def _settle(self) -> None:
        """Make all attributes, so that they can be looked at and changed."""
        trial = self.__dict__.pop("_trial", None)
        if trial is not None:
            self.__dict__.update(trial.state())

    def state_dict(self) -> dict[str, Any]:
        """The official record."""
        self._settle()
        return dict(self.__dict__)

    __getstate__ = state_dict

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take all attributes from an official record."""
        self.__dict__.update(state_dict)

    def get_train(self, iepoch: int | None = None) -> dict[str, Any]:
        """iepoch, loss, accuracy (percent), cur_time and all_time (seconds, None where unknown) on the training set.

        Args:
            iepoch: the epoch from 0; None: the last.

        Raises:
            QueryError: there is no such epoch.
        """
        return self._read("train", iepoch)

    def get_eval(self, name: str, iepoch: int | None = None) -> dict[str, Any]:
        """As `get_train` on an evaluation set: x-valid (also called valid), x-test or ori-test.

        Raises:
            QueryError: the set was not evaluated after that epoch.
        """
        return self._read("x-valid" if name == "valid" else name, iepoch)

    def peek(self, name: str, iepoch: int | None = None) -> dict[str, Any] | None:
        """As `get_train` for the name train, else as `get_eval`; None where the set was not evaluated so."""
        trial = self.__dict__.get("_trial")
        if trial is not None:
            return trial.read(name, _check(iepoch, trial.group.epochs))
        epoch = _check(iepoch, self.epochs)
        return _read_train(self, epoch) if name == "train" else _read_eval(self, name, epoch)

    def _read(self, name: str, iepoch: int | None) -> dict[str, Any]:
        found = self.peek(name, iepoch)
        if found is None:
            raise QueryError(f"{name} has no results after epoch {iepoch}; {self._known(name)}")
        return found

    def _known(self, name: str) -> str:
        if name != "train" and name not in self.eval_names:
            return f"there are train, {', '.join(self.eval_names)}"
        epochs = [epoch for epoch in range(self.epochs) if self.peek(name, epoch) is not None]
        return f"it has them after {len(epochs)} of {self.epochs} epochs, {epochs[-1] if epochs else None} the last"

    def get_times(self) -> dict[str, float | None]:
        """Seconds `T-<set>@epoch`, the mean of the epochs, and `T-<set>@total`, their sum; None where unknown."""
        series = {"train": list((self.train_times or {}).values())}
        for name in self.eval_names:
            keys = [f"{name}@{epoch}" for epoch in range(self.epochs)]
            series[name] = [self.eval_times[key] for key in keys if key in self.eval_times]
        found: dict[str, float | None] = {}
        for name, times in series.items():
            complete = len(times) == self.epochs
            found[f"T-{name}@epoch"] = type(self).mean(times) if complete else None
            found[f"T-{name}@total"] = type(self).total(times) if complete else None
        return found

    def get_latency(self) -> float:
        """Seconds for a batch of 256; -1 where it was not measured."""
        return -1.0 if self.latency is None else sum(self.latency) / len(self.latency)

    def get_total_epoch(self) -> int:
        """How many epochs the training had."""
        return self.epochs

    def get_eval_set(self) -> list[str]:
        """The evaluation sets."""
        return self.eval_names

    def get_net_param(self, clone: bool = False) -> Any:
        """The trained weights, copied on demand; None where the file had none."""
        return copy.deepcopy(self.net_state_dict) if clone else self.net_state_dict

    def get_config(self, str2structure: Callable[[str], Any] | None) -> dict[str, Any]:
        """What `get_cell_based_tiny_net` takes; with a function, `genotype` is what it makes of the text."""
        config = self.arch_config
        if config.get("name") == "infer.shape.tiny":  # the size space
            shape, text = {"name": config["name"], "channels": config["channels"]}, config["genotype"]
            structure = {"genotype": str2structure(text) if str2structure else text}
        else:
            shape, text = {"name": "infer.tiny", "C": config["channel"], "N": config["num_cells"]}, config["arch_str"]
            structure = {"genotype": str2structure(text)} if str2structure else {"arch_str": text}
        return {**shape, **structure, "num_classes": config["class_num"]}

    def update_train_info(self, train_acc1es: Any, train_acc5es: Any, train_losses: Any, train_times: Any) -> None:
        """Replace what was measured on the training set."""
        self.train_acc1es, self.train_acc5es = train_acc1es, train_acc5es
        self.train_losses, self.train_times = train_losses, train_times

    def update_eval(self, accs: Mapping[str, float], losses: Mapping[str, float], times: Mapping[str, float]) -> None:
        """Add evaluation sets, measured after every epoch, by `set@epoch`."""
        for name in dict.fromkeys(key.split("@")[0] for key in accs):
            self._add_set(name)
            for epoch in range(self.epochs):
                key = f"{name}@{epoch}"
                self.eval_acc1es[key], self.eval_losses[key], self.eval_times[key] = accs[key], losses[key], times[key]

    def update_OLD_eval(self, name: str, accs: Mapping[int, float], losses: Mapping[int, float]) -> None:
        """Add an evaluation set, measured after some epochs, without times."""
        self._add_set(name)
        for epoch in [epoch for epoch in range(self.epochs) if epoch in accs]:
            self.eval_acc1es[f"{name}@{epoch}"], self.eval_losses[f"{name}@{epoch}"] = accs[epoch], losses[epoch]

    def _add_set(self, name: str) -> None:
        if name in self.eval_names:
            raise QueryError(f"the evaluation set {name} is there already")
        self.eval_names.append(name)

    def update_latency(self, latency: Numbers | None) -> None:
        """Replace the measured latencies, in seconds."""
        self.latency = copy.deepcopy(latency)

    def reset_pseudo_train_times(self, estimated_per_epoch_time: float) -> None:
        """Let every epoch of training have taken so many seconds."""
        self.train_times = OrderedDict.fromkeys(range(self.epochs), estimated_per_epoch_time)

    def reset_pseudo_eval_times(self, eval_name: str, estimated_per_epoch_time: float) -> None:
        """Let every evaluation of a set have taken so many seconds."""
        if eval_name not in self.eval_names:
            raise QueryError(f"there is no evaluation set {eval_name}; there are {', '.join(self.eval_names)}")
        self.eval_times |= {f"{eval_name}@{epoch}": estimated_per_epoch_time for epoch in range(self.epochs)}

    def reset_eval(self) -> None:
        """Forget all evaluations."""
        self.eval_names: list[str] = []
        self.eval_acc1es: dict[str, float] = {}
        self.eval_times: dict[str, float] = {}
        self.eval_losses: dict[str, float] = {}

    def __repr__(self) -> str:
        sets, arch = ", ".join(self.eval_names), self.arch_config.get("arch_str", self.arch_config.get("channels"))
        return (
            f"{type(self).__name__}({self.name}, arch={arch}, FLOP={self.flop:.2f}M, "
            f"Param={self.params:.3f}MB, seed={self.seed}, {len(self.eval_names)} eval-sets: [{sets}])"
        )


def _check(iepoch: int | None, epochs: int) -> int:
    """An epoch from 0; the last for None."""
    if iepoch is None:
        return epochs - 1
    epoch = operator.index(iepoch)
    if not 0 <= epoch < epochs:
        raise QueryError(f"there is no epoch {epoch}: the training had the epochs 0 to {epochs - 1}")
    return epoch


def _read_train(result: ResultsCount, epoch: int) -> dict[str, Any] | None:
    if epoch not in (result.train_acc1es or ()):
        return None
    seconds, total = _add_times(result.train_times, range(epoch + 1))
    loss, accuracy = result.train_losses[epoch], result.train_acc1es[epoch]
    return {"iepoch": epoch, "loss": loss, "accuracy": accuracy, "cur_time": seconds, "all_time": total}


def _read_eval(result: ResultsCount, name: str, epoch: int) -> dict[str, Any] | None:
    key = f"{name}@{epoch}"
    if key not in result.eval_acc1es:
        return None
    seconds, total = _add_times(result.eval_times, [f"{name}@{one}" for one in range(epoch + 1)])
    loss, accuracy = result.eval_losses[key], result.eval_acc1es[key]
    return {"iepoch": epoch, "loss": loss, "accuracy": accuracy, "cur_time": seconds, "all_time": total}


def _add_times(times: Mapping[Any, float] | None, keys: Sequence[Any]) -> tuple[float | None, float | None]:
    """Seconds of the last epoch and of all; None where one of them is unknown."""
    if not times or any(key not in times for key in keys):
        return None, None
    return times[keys[-1]], sum(times[key] for key in keys)
