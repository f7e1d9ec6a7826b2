"""What a pick is worth: its test accuracy against that of random architectures of its window, with the uncertainty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from tools.report import read

# 0.975 quantiles of Student's t for 1, 2, … degrees of freedom; beyond them the last one errs on the wide side.
STUDENT = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Tested:
    """A retrained architecture: top-1 in percent within the supernet, then of the network on its search and test split.

    `images` is the number of test images.
    """

    name: str
    text: str
    macs: int
    params: int
    supernet: float
    search: float
    test: float
    images: int


@dataclass(frozen=True)
class SeedComparison:
    """The pick of one search and the random architectures (two at least) retrained beside it."""

    seed: int
    pick: Tested
    random: tuple[Tested, ...]

    @property
    def all(self) -> tuple[Tested, ...]:
        """The pick first."""
        return (self.pick, *self.random)

    @property
    def summary(self) -> dict[str, Any]:
        """Figures by name; accuracies in points of percent, `tau` None where one of the two rankings is all ties.

        `random_standard_error` is that of the mean, from the spread among the random architectures; `binomial` that of
        the pick's accuracy, from the finite number of test images.
        """
        accuracies = [one.test for one in self.random]
        tests = [one.test for one in self.all]
        share = self.pick.test / 100
        return {
            "seed": self.seed,
            "pick": self.pick.test,
            "random_mean": mean(accuracies),
            "random_deviation": stdev(accuracies),
            "random_standard_error": stdev(accuracies) / math.sqrt(len(accuracies)),
            "difference": self.pick.test - mean(accuracies),
            "binomial": 100 * math.sqrt(share * (1 - share) / self.pick.images),
            "rank": 1 + sum(value > self.pick.test for value in accuracies),
            "pick_macs": self.pick.macs,
            "random_mean_macs": mean(one.macs for one in self.random),
            "macs_rank": 1 + sum(one.macs > self.pick.macs for one in self.random),
            "tau_macs": kendall_tau([one.macs for one in self.all], tests),
            "tau_supernet": kendall_tau([one.supernet for one in self.all], tests),
        }

    def to_json(self) -> dict[str, Any]:
        """The summary and every architecture."""
        return {**self.summary, "architectures": [asdict(one) for one in self.all]}


def read_tested(folder: Path, supernet: float) -> Tested:
    """What retrain.py and test.py wrote into FOLDER and FOLDER/test.

    Raises:
        ConfigError: one of them has not finished.
    """
    trained, tested = read(folder / "result.json"), read(folder / "test" / "result.json")["test"]
    return Tested(
        name=folder.name,
        text=trained["selection"],
        macs=trained["macs"],
        params=trained["params"],
        supernet=supernet,
        search=trained["search"]["top1"],
        test=tested["top1"],
        images=tested["images"],
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float | None]:
    """The mean and the half width of its 95 % interval (Student's t; None for one value)."""
    if len(values) < 2:
        return mean(values), None
    quantile = STUDENT[min(len(values) - 1, len(STUDENT)) - 1]
    return mean(values), quantile * stdev(values) / math.sqrt(len(values))


def kendall_tau(first: Sequence[float], second: Sequence[float]) -> float | None:
    """Kendall's rank correlation tau-b in [-1, 1]; None where all values of one sequence are equal."""
    pairs = list(combinations(zip(first, second), 2))
    signs = [(_sign(a[0] - b[0]), _sign(a[1] - b[1])) for a, b in pairs]
    untied = [sum(pair[side] != 0 for pair in signs) for side in (0, 1)]
    return sum(one * other for one, other in signs) / math.sqrt(untied[0] * untied[1]) if all(untied) else None


def summarize(comparisons: Sequence[SeedComparison]) -> dict[str, Any]:
    """Everything as a JSON object: the mean difference over the seeds with its interval, then each seed."""
    difference, half_width = mean_interval([one.summary["difference"] for one in comparisons])
    return {
        "mean_difference": difference,
        "half_width_95": half_width,
        "seeds": [one.to_json() for one in comparisons],
    }


def format_markdown(comparisons: Sequence[SeedComparison]) -> str:
    """The result in one sentence, a table of the seeds and one of all architectures."""
    count, total = len(comparisons), len(comparisons[0].all)
    difference, half_width = mean_interval([one.summary["difference"] for one in comparisons])
    interval = "no interval" if half_width is None else f"95 % interval ± {half_width:.2f}, Student's t over the seeds"
    lines = [
        f"Pick minus the mean of {total - 1} random architectures: {difference:+.2f} points of test top-1 "
        f"({count} seeds, {interval}).",
        "",
        f"| seed | pick, test % | random, mean ± s.d. | difference ± s.e. | binomial s.e. | rank of {total} | "
        "M MACs, pick / random mean | rank by MACs | tau MACs | tau supernet |",
        "|---|---|---|---|---|---|---|---|---|---|",
        *(_seed_row(one.summary) for one in comparisons),
        "",
        "Difference ± the standard error of the random mean; binomial s.e.: of one test accuracy; tau: Kendall's tau-b "
        f"of the {total} test accuracies with MACs, and with the accuracy by the supernet's weights.",
        "",
        "| seed | network | architecture | M MACs | parameters | supernet % | search % | test % |",
        "|---|---|---|---|---|---|---|---|",
        *(_network_row(one.seed, tested) for one in comparisons for tested in one.all),
    ]
    return "\n".join(lines) + "\n"


def _seed_row(row: dict[str, Any]) -> str:
    taus = ("-" if row[name] is None else f"{row[name]:.2f}" for name in ("tau_macs", "tau_supernet"))
    cells = [
        str(row["seed"]),
        f"{row['pick']:.2f}",
        f"{row['random_mean']:.2f} ± {row['random_deviation']:.2f}",
        f"{row['difference']:+.2f} ± {row['random_standard_error']:.2f}",
        f"{row['binomial']:.2f}",
        str(row["rank"]),
        f"{row['pick_macs'] / 1e6:.2f} / {row['random_mean_macs'] / 1e6:.2f}",
        str(row["macs_rank"]),
        *taus,
    ]
    return f"| {' | '.join(cells)} |"


def _network_row(seed: int, one: Tested) -> str:
    accuracies = " | ".join(f"{value:.2f}" for value in (one.supernet, one.search, one.test))
    return f"| {seed} | {one.name} | `{one.text}` | {one.macs / 1e6:.2f} | {one.params:,} | {accuracies} |"


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)
