"""Search a benchmark's table instead of a supernet, with the same pickers, many times over.

python -m tools.tabular --benchmark nasbench201 --table nasbench201.safetensors --dataset cifar10 --setting 12 \\
    --algorithm random evolution reinforce local_search --queries 300 --runs 500 --out output/tabular
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from configs.errors import ConfigError
from configs.loading import load_config
from configs.schema import Picker as PickerConfig
from nasbench.tabular import TabularBenchmark, open_benchmark
from runtime.environment import describe_command
from runtime.files import explained, make_folder, write_json_atomic
from runtime.progress import track
from runtime.scripts import run
from search.tabular import Curve, expect_random, search_table, summarize
from tools.arguments import positive

TABLES = {
    "nasbench201": Path("data/nasbench201.safetensors"),
    "nasbench101": Path("data/nasbench101.safetensors"),
    "nasbench_macro": Path("data/nasbench-macro.json"),
}
ALGORITHMS: dict[str, dict[str, Any]] = {  # keys of PICKER, where they are not the defaults
    "random": {},
    "evolution": {
        "SURVIVAL": "youngest",
        "POPULATION": 20,
        "TOURNAMENT": 5,
        "MUTATION": 0,
        "CROSSOVER": 0,
        "GENERATION": 1,
    },
    "reinforce": {"GENERATION": 1},
    "local_search": {"POPULATION": 10, "GENERATION": 1},
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Search with each algorithm, print what it found, and write OUT/result.json and OUT/curve.png.

    Raises:
        ConfigError: an unknown benchmark, data set, setting or key, or more queries than architectures.
        DataError: the table is not there or another.
    """
    options = _parser().parse_intermixed_args(arguments)
    table = options.table or TABLES[options.benchmark]
    benchmark = open_benchmark(options.benchmark, table, options.dataset, options.setting)
    pickers = {name: configure(name, options.queries, options.overrides) for name in options.algorithm}
    print(_describe(benchmark))
    curves = {name: _search(benchmark, name, picker, options) for name, picker in pickers.items()}
    with explained(options.out):
        make_folder(options.out)
    facts = {
        "benchmark": benchmark.name,
        "table": {"file": str(table), "sha256": _digest(table)},
        "queries": options.queries,
        "runs": options.runs,
        "seed": options.seed,
        "command": describe_command(),
        "pickers": {name: picker.model_dump(by_alias=True) for name, picker in pickers.items()},
    }
    write_json_atomic(options.out / "result.json", {**facts, **report(benchmark, curves)})
    draw(benchmark, curves, options.out / "curve.png")


def configure(algorithm: str, queries: int, overrides: Sequence[str] = ()) -> PickerConfig:
    """The picker of an algorithm, its settings changed by `PICKER.KEY=VALUE`.

    Raises:
        ConfigError: a key or value is wrong, or a key has no meaning here.
    """
    others = [override for override in overrides if not override.startswith("PICKER.")]
    if others:
        raise ConfigError(f"{others[0]}: a table is searched by keys of PICKER only")
    settings = [f"PICKER.{key}={value}" for key, value in ALGORITHMS[algorithm].items()]
    config = load_config(None, [*settings, *overrides])
    return config.picker.model_copy(update={"name": algorithm, "evaluations": queries})


def report(benchmark: TabularBenchmark, curves: Mapping[str, Curve]) -> dict[str, Any]:
    """What was found, as JSON; accuracies in percent, curves by number of queries from 1."""
    best = int(benchmark.order[0])
    queries = next(iter(curves.values())).test.shape[1]
    expected = [expect_random(benchmark, number) for number in range(1, queries + 1)]
    return {
        "architectures": len(benchmark),
        "missing": benchmark.missing,
        "best_validation": {
            "architecture": str(benchmark.window.architectures[best]),
            "validation": float(benchmark.validation[best]),
            "test": float(benchmark.test[best]),
        },
        "best_test": float(benchmark.test.max()),
        "random_expected": {
            "test_mean": [mean for mean, _ in expected],
            "test_deviation": [std for _, std in expected],
        },
        "algorithms": {name: _report_curve(curve) for name, curve in curves.items()},
    }


def _report_curve(curve: Curve) -> dict[str, Any]:
    mean, deviation, error = summarize(curve.test)
    seconds = None if curve.seconds is None else curve.seconds.mean(0)
    return {
        "test": _list({"mean": mean[-1], "deviation": deviation[-1], "standard_error": error[-1]}),
        "simulated_seconds": None if seconds is None else float(seconds[-1]),
        "runs": {"test": curve.test[:, -1].tolist(), "validation": curve.validation[:, -1].tolist()},
        "curve": _list(
            {
                "test_mean": mean,
                "test_deviation": deviation,
                "test_standard_error": error,
                "validation_mean": curve.validation.mean(0),
                "simulated_seconds": seconds,
            }
        ),
    }


def _list(values: Mapping[str, Any]) -> dict[str, Any]:
    """Arrays as lists; null for what a single run has not."""
    shown = {key: None if value is None or np.isnan(value).any() else value for key, value in values.items()}
    return {key: None if value is None else np.asarray(value).tolist() for key, value in shown.items()}


def draw(benchmark: TabularBenchmark, curves: Mapping[str, Curve], path: Path) -> None:
    """The anytime curves: mean test accuracy and its standard error by queries, and by simulated time if known."""
    timed = benchmark.seconds is not None
    figure = Figure(figsize=(12 if timed else 6.5, 4.5), layout="constrained")
    axes = figure.subplots(1, 2 if timed else 1, squeeze=False, sharey=True)[0]
    for name, curve in curves.items():
        mean, _, error = summarize(curve.test)
        queries = np.arange(1, len(mean) + 1)
        scales = [queries] if curve.seconds is None else [queries, curve.seconds.mean(0) / 3600]
        for axis, scale in zip(axes, scales):
            axis.plot(scale, mean, label=name)
            axis.fill_between(scale, mean - error, mean + error, alpha=0.3)
    expected = [expect_random(benchmark, int(number))[0] for number in queries]
    axes[0].plot(queries, expected, "k:", label="random, exact")
    for axis, label in zip(axes, ("queries", "simulated hours")):
        axis.axhline(benchmark.test[benchmark.order[0]], color="grey", linestyle="--", label="best validation of all")
        axis.set(xlabel=label, xscale="log")
    axes[0].set_ylabel("test accuracy of the best validation pick, %")
    axes[0].legend()
    figure.suptitle(benchmark.name)
    with explained(path):
        figure.savefig(path, dpi=120)


def _search(benchmark: TabularBenchmark, name: str, picker: PickerConfig, options: argparse.Namespace) -> Curve:
    found = search_table(benchmark, picker, options.seed, range(options.runs))
    rows = np.array(list(track(found, options.runs, name, "runs")))
    curve = Curve.follow(benchmark, rows)
    mean, deviation, error = (values[-1] for values in summarize(curve.test))
    hours = "" if curve.seconds is None else f", {curve.seconds[:, -1].mean() / 3600:,.1f} simulated hours"
    print(f"{name}: {mean:.3f} +- {error:.3f} % (test), deviation of a run {deviation:.3f}{hours}")
    if name == "random":
        expected, spread = expect_random(benchmark, options.queries)
        print(f"random, exact expectation: {expected:.3f} %, deviation of a run {spread:.3f}")
    return curve


def _describe(benchmark: TabularBenchmark) -> str:
    left = f"; {benchmark.missing:,} more have no results in the table and are left out" if benchmark.missing else ""
    best = benchmark.order[0]
    return (
        f"{benchmark.name}: {len(benchmark):,} architectures{left}; the best by validation has "
        f"{benchmark.test[best]:.3f} % (test), the best by test {benchmark.test.max():.3f} %"
    )


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.tabular", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--benchmark", choices=TABLES, required=True)
    parser.add_argument("--algorithm", choices=ALGORITHMS, nargs="+", default=[*ALGORITHMS], help="default: all")
    parser.add_argument("--queries", type=positive, default=300, help="architectures of a run; default: %(default)s")
    parser.add_argument("--runs", type=positive, default=500, help="default: %(default)s")
    defaults = ", ".join(f"{path} for {name}" for name, path in TABLES.items())
    parser.add_argument("--table", type=Path, help=f"default: {defaults}")
    parser.add_argument("--dataset", help="of nasbench201: cifar10 (the default), cifar100 or ImageNet16-120")
    parser.add_argument("--setting", help="epochs of a training; default: the table's longest")
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument("--out", type=Path, default=Path("output/tabular"), help="folder; default: %(default)s")
    parser.add_argument("overrides", nargs="*", metavar="PICKER.KEY=VALUE", help="for all algorithms")
    return parser


if __name__ == "__main__":
    run(main)
