"""The official NATS-Bench interface on a table that opens at once.

from nasbench.nats_bench import create  # instead of: from nats_bench import create
api = create("NATS-tss-v1_0-3ffb9-simple", "tss", fast_mode=True, verbose=False)
api.get_more_info(112, "cifar10", hp="200", is_random=False)
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from nasbench.nasbench201 import arch_results, results
from nasbench.nasbench201.benchmark import mean_over_seeds
from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.interface import BenchmarkInterface, announced
from supernet.spaces.nasbench201.cell import OPERATIONS
from supernet.spaces.nasbench201.text import str2lists, str2matrix, unique_text

__all__ = ["ArchResults", "NATSsize", "NATStopology", "ResultsCount", "create", "search_space_info"]

TOPOLOGY, SIZE = ("tss", "topology"), ("sss", "size")
RELIABLE_SEED = 888  # where trials of one network disagree about its costs, this one is right: NATS-Bench 1.6
COMMENT = (
    "In this dict, train-loss/accuracy/time is the metric on the {0} of CIFAR-10. The test-loss/accuracy/time is the "
    "performance of the CIFAR-10 test set after training on the {0} by {1} epochs. The per-time and total-time "
    "indicate the per epoch and total time costs, respectively."
)
TRAINED_ON = {"cifar10-valid": "train set", "cifar10": "train+valid sets"}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class ResultsCount(results.ResultsCount):
    """A trial; means are the sum by the length, as NATS-Bench takes them."""

    mean = _mean
    total = sum


class ArchResults(arch_results.ArchResults):
    """An architecture's trials under one setting."""

    trial_class = ResultsCount
    separator = " &"

    @staticmethod
    def choose_costs(values: list[float], seeds: list[int]) -> list[float]:
        """Which trials tell the parameters and FLOPs: all, or where they disagree that of RELIABLE_SEED."""
        if len({f"{value:.5f}" for value in values}) > 1 and RELIABLE_SEED in seeds:
            return [values[seeds.index(RELIABLE_SEED)]]
        return values


class _SizeResults(ArchResults):
    shown: ClassVar = {**arch_results.SHOWN, "cifar10-valid": {"valid": "x-valid", "test": "ori-test"}}


class _NATS(BenchmarkInterface):
    results_class = ArchResults
    record_names = ("{:06d}.pickle.pbz2", "{:d}.pickle.pbz2")
    search_space_name: ClassVar[str]
    full_train_epochs: ClassVar[int]

    def __init__(
        self,
        file_path_or_dict: str | Path | Mapping[str, Any] | None = None,
        fast_mode: bool = False,
        verbose: bool = True,
        generator: random.Random | None = None,
    ) -> None:
        """Open the results; see `BenchmarkInterface`. With `fast_mode` or without, all are there at once."""
        self.fast_mode = fast_mode
        super().__init__(file_path_or_dict, verbose, generator)

    @property
    def evaluated_indexes(self) -> set[int]:
        return set(super().evaluated_indexes)

    @property
    def is_size(self) -> bool:
        """Whether this is the size space."""
        return self.search_space_name == "size"

    @property
    def is_topology(self) -> bool:
        """Whether this is the topology space."""
        return self.search_space_name == "topology"

    @property
    def full_epochs_in_paper(self) -> int:
        """The longest training's epochs."""
        return self.full_train_epochs

    def reset_fast_mode(self, fast_mode: bool) -> None:
        """Change `fast_mode`, which changes nothing else."""
        self.fast_mode = fast_mode

    def _comment(self, dataset: str, hp: str | int) -> dict[str, Any]:
        return {"comment": COMMENT.format(TRAINED_ON[dataset], hp)} if dataset in TRAINED_ON else {}

    def simulate_train_eval(
        self,
        arch: Any,
        dataset: str,
        iepoch: int | None = None,
        hp: str | int = "12",
        account_time: bool = True,
    ) -> tuple[float, float | None, float, float]:
        """A random trial's validation accuracy (percent), the latency (s), its time (s), and `used_time`.

        Where an epoch's validation accuracy is not known, it is that of validation and test images together.

        Raises:
            QueryError: there is no such architecture, dataset, setting or epoch, or no times are known.
        """
        if dataset not in ("cifar10", "cifar100", "ImageNet16-120"):
            raise QueryError(f"{dataset!r} is none of cifar10, cifar100, ImageNet16-120")
        index, trained = self._index(arch), "cifar10-valid" if dataset == "cifar10" else dataset
        info = last = self.get_more_info(index, trained, iepoch, hp, True)
        if "valid-accuracy" not in info:
            last = self.get_more_info(index, dataset, None, hp, True)
        accuracy = info.get("valid-accuracy", info.get("valtest-accuracy"))
        if accuracy is None or info.get("train-all-time") is None or last.get("valid-per-time") is None:
            raise QueryError(f"accuracy and times of architecture {index} on {dataset} are not known after {iepoch}")
        seconds = info["train-all-time"] + last["valid-per-time"]
        latency = self.get_latency(index, dataset, hp)
        if account_time:
            self._used_time += seconds
        return accuracy, latency, seconds, self._used_time

    @announced
    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        flop_max: float | None = None,
        param_max: float | None = None,
        hp: str | int = "12",
        enforce_all: bool | None = None,
    ) -> tuple[int, float | None]:
        """The index of the highest mean accuracy within limits in millions, and that accuracy.

        Args:
            metric_on_set: train, valid, test, or a set's own name.
            enforce_all: of no effect, for all results are there.

        Returns:
            -1 and None where no architecture is within the limits.

        Raises:
            QueryError: there is no such dataset, set or setting.
        """
        return self._find_best(dataset, metric_on_set, flop_max, param_max, hp)

    def _mean_costs(self, values: np.ndarray, seeds: tuple[int, ...]) -> np.ndarray:
        means = mean_over_seeds(values)
        unequal = np.flatnonzero(np.fmax.reduce(values, 1) > np.fmin.reduce(values, 1))
        for index in unequal:
            known = [place for place, value in enumerate(values[index].tolist()) if value == value]
            if known:
                chosen = ArchResults.choose_costs(values[index, known].tolist(), [seeds[place] for place in known])
                means[index] = _mean(chosen)
        return means

    def __repr__(self) -> str:
        found = f"{len(self.evaluated_indexes)}/{len(self)} architectures, fast_mode={self.fast_mode}"
        return f"{type(self).__name__}({found}, file={self.filename})"


class NATStopology(_NATS):
    """The topology space: 15,625 cells, settings 12 and 200 epochs."""

    defaults = ("NATS-tss-v1_0-3ffb9-simple", "NATS-tss-v1_0-3ffb9.pickle.pbz2", "NATS-tss-v1_0-3ffb9.safetensors")
    archive = "NATS-tss-v1_0-3ffb9-full"
    search_space_name, full_train_epochs = "topology", 200
    str2lists = staticmethod(str2lists)
    str2matrix = staticmethod(str2matrix)

    def get_unique_str(self, arch: Any) -> str:
        """A text that cells which compute the same share; raises QueryError where there is no such architecture."""
        return unique_text(str2lists(self[self._index(arch)]), consider_zero=True)


class NATSsize(_NATS):
    """The size space: 32,768 networks of one cell with other channels, settings 1, 12 and 90 epochs."""

    results_class = _SizeResults
    defaults = ("NATS-sss-v1_0-50262-simple", "NATS-sss-v1_0-50262.pickle.pbz2", "NATS-sss-v1_0-50262.safetensors")
    archive = "NATS-sss-v1_0-50262-full"
    search_space_name, full_train_epochs = "size", 90


def create(
    file_path_or_dict: str | Path | Mapping[str, Any] | None,
    search_space: str,
    fast_mode: bool = False,
    verbose: bool = True,
    generator: random.Random | None = None,
) -> NATStopology | NATSsize:
    """The interface of one of the two spaces.

    Args:
        file_path_or_dict: as `BenchmarkInterface` takes it.
        search_space: tss or topology, sss or size.
        fast_mode: of no effect on what is answered: nothing has to be loaded either way.

    Raises:
        QueryError: there is no such space. As `BenchmarkInterface`.
    """
    if search_space not in (*TOPOLOGY, *SIZE):
        raise QueryError(f"{search_space!r} is none of {', '.join((*TOPOLOGY, *SIZE))}")
    kind = NATStopology if search_space in TOPOLOGY else NATSsize
    return kind(file_path_or_dict, fast_mode, verbose, generator)


def search_space_info(main_tag: str, aux_tag: str | None = None) -> dict[str, Any]:
    """What a space is made of; raises QueryError where there is none such."""
    if main_tag == "nats-bench" and aux_tag in SIZE:
        return {"candidates": [8, 16, 24, 32, 40, 48, 56, 64], "num_layers": 5}
    if (main_tag == "nats-bench" and aux_tag in TOPOLOGY) or (main_tag == "nas-bench-201" and aux_tag is None):
        return {"op_names": list(OPERATIONS), "num_nodes": 4}
    raise QueryError(f"{main_tag!r}, {aux_tag!r} is no space: it is nats-bench with tss or sss, or nas-bench-201")
