"""The tool over its benchmarks' files, and what it writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, DataError
from nasbench.nasbench101.importing import import_official as import_101
from nasbench.nasbench201.importing import import_official
from nasbench.tabular import open_benchmark
from tools.tabular import main


@pytest.fixture(scope="module")
def cells201(shared_file: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tables") / "cells.safetensors"
    import_official(shared_file("data/nasbench201-12epoch.csv.gz"), path, announce=False)
    return path


@pytest.fixture
def macro(shared_file: Callable[[str], Path]) -> Path:
    return shared_file("data/nasbench-macro-dev.json")


def test_everything_to_make_it_again_is_written(macro: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    common = ["--benchmark", "nasbench_macro", "--table", str(macro), "--queries", "20", "--runs", "3"]
    main([*common, "--out", str(tmp_path / "one"), "PICKER.POPULATION=5"])
    result = json.loads((tmp_path / "one" / "result.json").read_text())
    assert "5,561 more have no results in the table and are left out" in capsys.readouterr().out
    assert result["table"]["sha256"] == hashlib.sha256(macro.read_bytes()).hexdigest()
    assert (result["architectures"], result["missing"]) == (1000, 5561)
    assert result["pickers"]["evolution"]["SURVIVAL"] == "youngest"
    assert {picker["POPULATION"] for picker in result["pickers"].values()} == {5}
    for found in result["algorithms"].values():
        runs = found["runs"]["test"]
        assert found["test"]["mean"] == pytest.approx(np.mean(runs)) == found["curve"]["test_mean"][-1]
        assert found["test"]["standard_error"] == pytest.approx(np.std(runs, ddof=1) / 3**0.5)
        assert len(found["curve"]["validation_mean"]) == len(result["random_expected"]["test_mean"]) == 20
    assert (tmp_path / "one" / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_nasbench201_has_three_data_sets(cells201: Path) -> None:
    first = open_benchmark("nasbench201", cells201, "cifar10", "12")
    assert (len(first), first.missing, first.seconds) == (15_625, 0, None)
    assert (first.validation[0], first.test[0]) == (63.364, 69.55)
    last = open_benchmark("nasbench201", cells201, "ImageNet16-120", "12")
    assert (last.validation[0], last.test[0]) == (18.4667, 17.0)


def test_times_are_those_of_training_and_validation(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "cells.safetensors"
    table = import_official(shared_file("data/nasbench201-official-layout.pth"), path, announce=False)
    benchmark = open_benchmark("nasbench201", path, "cifar10", "12")
    group = table.group("cifar10-valid", "12")
    assert len(benchmark) + benchmark.missing == 15_625
    assert benchmark.seconds is not None
    for cell, seconds in zip(benchmark.window, benchmark.seconds):
        train, valid = (np.nanmean(group.values_of(cell.index, name)) for name in ("train-time", "x-valid-time"))
        assert seconds == pytest.approx(12 * train + valid)


def test_nasbench101_is_percent_and_seconds(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    path = tmp_path / "cells.safetensors"
    import_101(shared_file("data/nasbench101-official-layout.tfrecord"))[0].write(path)
    benchmark = open_benchmark("nasbench101", path, setting="36")
    assert (len(benchmark), benchmark.missing) == (50, 423_574)
    assert 1 < benchmark.validation.min() < benchmark.test.max() <= 100
    sizes, algorithms = ["--queries", "12", "--runs", "1"], ["--algorithm", "evolution", "local_search"]
    main(["--benchmark", "nasbench101", "--table", str(path), *sizes, *algorithms, "--out", str(tmp_path / "out")])
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["algorithms"]["evolution"]["test"]["deviation"] is None
    assert result["algorithms"]["local_search"]["simulated_seconds"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "svhn"], "no data set 'svhn'; it has cifar10, cifar100, ImageNet16-120"),
        (["--setting", "200"], "no results of 'cifar10-valid' under setting '200'; there is cifar10 under setting 12"),
        (["--setting", "12", "--queries", "15626"], "15,626 queries are more than the 15,625 architectures"),
        (["--setting", "12", "TRAIN.LR=1"], "TRAIN.LR=1: a table is searched by keys of PICKER only"),
    ],
)
def test_what_is_not_there_is_refused(cells201: Path, arguments: list[str], message: str) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        main(["--benchmark", "nasbench201", "--table", str(cells201), *arguments])


def test_another_file_is_refused(macro: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no table of NAS-Bench-Macro"):
        open_benchmark("nasbench_macro", tmp_path / "absent.json")
    with pytest.raises(DataError, match="cannot be read as a safetensors table"):
        open_benchmark("nasbench201", macro)
    with pytest.raises(ConfigError, match="leave --setting out"):
        open_benchmark("nasbench_macro", macro, setting="50")
