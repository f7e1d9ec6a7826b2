"""The official NAS-Bench-201 interface on a table that opens at once.

from nasbench.nas_201_api import NASBench201API as API  # instead of: from nas_201_api import NASBench201API as API
api = API("NAS-Bench-201-v1_1-096897.pth", verbose=False)
api.get_more_info(112, "cifar10", None, hp="200", is_random=True)
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nasbench.nasbench201.arch_results import ArchResults
from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.interface import BenchmarkInterface, announced
from nasbench.nasbench201.results import ResultsCount
from nasbench.nasbench201.unpickling import allow_numbers
from supernet.spaces.nasbench201.text import str2lists, str2matrix

__all__ = ["ArchResults", "NASBench201API", "ResultsCount"]

allow_numbers()


class NASBench201API(BenchmarkInterface):
    """The topology space: 15,625 cells, settings 12 and 200 epochs."""

    defaults = ("NAS-Bench-201-v1_1-096897.pth", "NAS-Bench-201-v1_0-e61699.pth", "NAS-Bench-201.safetensors")
    archive = "NAS-Bench-201-v1_1-archive"
    record_names = ("{:06d}-FULL.pth",)
    str2lists = staticmethod(str2lists)
    str2matrix = staticmethod(str2matrix)

    def __init__(
        self,
        file_path_or_dict: str | Path | Mapping[str, Any] | None = None,
        verbose: bool = True,
        generator: random.Random | None = None,
    ) -> None:
        """Open the results; see `BenchmarkInterface`."""
        super().__init__(file_path_or_dict, verbose, generator)

    def simulate_train_eval(
        self, arch: Any, dataset: str, hp: str | int = "12", account_time: bool = True
    ) -> tuple[float, float | None, float, float]:
        """A random trial's validation accuracy (percent), the latency (s), its time (s), and `used_time`.

        The time is of the whole training and one evaluation; CIFAR-10 is trained on half of its images.

        Raises:
            QueryError: there is no such architecture, dataset or setting, or no times are known.
        """
        if dataset not in ("cifar10", "cifar100", "ImageNet16-120"):
            raise QueryError(f"{dataset!r} is none of cifar10, cifar100, ImageNet16-120")
        index = self._index(arch)
        info = self.get_more_info(index, "cifar10-valid" if dataset == "cifar10" else dataset, None, hp, True)
        if info.get("train-all-time") is None or info.get("valid-per-time") is None:
            raise QueryError(f"no times are known of architecture {index} on {dataset}")
        seconds = info["train-all-time"] + info["valid-per-time"]
        latency = self.get_latency(index, dataset)
        if account_time:
            self._used_time += seconds
        return info["valid-accuracy"], latency, seconds, self._used_time

    @announced
    def find_best(
        self,
        dataset: str,
        metric_on_set: str,
        FLOP_max: float | None = None,
        Param_max: float | None = None,
        hp: str | int = "12",
    ) -> tuple[int, float | None]:
        """The index of the highest mean accuracy within limits in millions, and that accuracy.

        Args:
            metric_on_set: train, valid, test, or a set's own name.

        Returns:
            -1 and None where no architecture is within the limits.

        Raises:
            QueryError: there is no such dataset, set or setting.
        """
        return self._find_best(dataset, metric_on_set, FLOP_max, Param_max, hp)

    def _counted(self) -> range:
        return range(len(self))

    def __repr__(self) -> str:
        found = f"{len(self.evaluated_indexes)}/{len(self)} architectures, file={self.filename}"
        return f"{type(self).__name__}({found})"
