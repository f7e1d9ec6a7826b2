"""`NASBench`: the official questions and answers."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from nasbench import nasbench101 as api
from nasbench.nasbench101.importing import import_official
from runtime.tables import write_table
from runtime.tfrecords import write_tfrecords
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.enumeration import all_orders
from tools.speed.nasbench101 import make_records

CELLS = [Cell(code) for code in all_orders().cells[::30_000].tolist()]
METRICS = ("training_time", "train_accuracy", "validation_accuracy", "test_accuracy")


def spec_of(cell: Cell) -> api.ModelSpec:
    return api.ModelSpec(*cell.to_list())


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("official") / "made.tfrecord"
    with path.open("wb") as file:
        write_tfrecords(file, list(make_records(np.array([cell.code for cell in CELLS], np.uint32))))
    return path


@pytest.fixture(scope="module")
def table(official: Path) -> Path:
    path = official.with_name("table.safetensors")
    import_official(official)[0].write(path)
    return path


def test_a_query_answers_one_of_the_repeats_and_spends_its_budget(table: Path) -> None:
    benchmark = api.NASBench(table, seed=1)
    assert benchmark.valid_epochs == {4, 12, 36, 108}
    seen, seconds = set(), 0.0
    for _ in range(60):
        answer = benchmark.query(spec_of(CELLS[3]), epochs=36)
        seen.add(answer["test_accuracy"])
        seconds += answer["training_time"]
    fixed, computed = benchmark.get_metrics_from_spec(spec_of(CELLS[3]))
    assert seen == {training["final_test_accuracy"] for training in computed[36]}
    assert benchmark.get_budget_counters() == (seconds, 60 * 36)
    assert answer.keys() == {"module_adjacency", "module_operations", "trainable_parameters", *METRICS}
    assert (answer["module_adjacency"] == fixed["module_adjacency"]).all()
    assert fixed["module_adjacency"].tolist() == [list(row) for row in CELLS[3].matrix]
    assert answer["module_operations"] == list(CELLS[3].ops)
    benchmark.reset_budget_counters()
    assert benchmark.get_budget_counters() == (0.0, 0)


def test_stopping_halfway_costs_half_the_epochs(table: Path) -> None:
    benchmark = api.NASBench(table, seed=1)
    answer = benchmark.query(spec_of(CELLS[1]), stop_halfway=True)
    halves = benchmark.get_metrics_from_spec(spec_of(CELLS[1]))[1][108]
    assert tuple(answer[name] for name in METRICS) in {
        tuple(training[f"halfway_{name}"] for name in METRICS) for training in halves
    }
    assert benchmark.get_budget_counters() == (answer["training_time"], 54)


def test_answers_are_the_callers_own(table: Path) -> None:
    benchmark = api.NASBench(table, seed=1)
    answer = benchmark.query(spec_of(CELLS[5]))
    answer["module_adjacency"][:] = 7
    answer["module_operations"].clear()
    again = benchmark.query(spec_of(CELLS[5]))
    assert again["module_adjacency"].max() == 1
    assert again["module_operations"] == list(CELLS[5].ops)


def test_every_order_of_a_cell_finds_it(table: Path) -> None:
    benchmark, orders = api.NASBench(table), all_orders()
    for cell in CELLS[::4]:
        for code in orders.codes[orders.canonical == cell.code].tolist():
            answer = benchmark.query(spec_of(Cell(code)))
            assert answer["module_adjacency"].tolist() == [list(row) for row in cell.matrix]


@pytest.mark.parametrize("halfway", [False, True])
def test_queries_in_bulk_are_those_one_by_one(table: Path, halfway: bool) -> None:
    specs = [spec_of(cell) for cell in CELLS * 5]
    one, many, keys = (api.NASBench(table, seed=7) for _ in range(3))
    single = [one.query(spec, 12, halfway) for spec in specs]
    bulk = many.query_many(specs, 12, halfway)
    by_hash = keys.query_many([spec.hash_spec() for spec in specs], 12, halfway)
    for name in ("trainable_parameters", *METRICS):
        assert bulk[name].tolist() == by_hash[name].tolist() == [answer[name] for answer in single]
    assert one.get_budget_counters() == many.get_budget_counters() == keys.get_budget_counters()


def test_the_generator_is_its_own(table: Path) -> None:
    states = random.getstate(), np.random.get_state()[1].tolist()
    spec = spec_of(CELLS[2])
    first, same, other = (api.NASBench(table, seed=seed) for seed in (5, 5, 6))
    draws = [[benchmark.query(spec)["test_accuracy"] for _ in range(40)] for benchmark in (first, same, other)]
    assert draws[0] == draws[1] != draws[2]
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_cells_outside_of_the_benchmark_or_the_table(table: Path) -> None:
    benchmark = api.NASBench(table)
    large = api.ModelSpec(np.eye(8, k=1), ["input", *["maxpool3x3"] * 6, "output"])
    assert not benchmark.is_valid(large)
    assert not benchmark.is_valid(api.ModelSpec([[0, 0], [0, 0]], ["input", "output"]))
    for ask in (benchmark.query, benchmark.get_metrics_from_spec, lambda spec: benchmark.query_many([spec])):
        with pytest.raises(api.OutOfDomainError, match="8 vertices after pruning"):
            ask(large)
    absent = spec_of(Cell(int(all_orders().cells[1])))
    assert benchmark.is_valid(absent)
    for ask in (benchmark.query, benchmark.get_metrics_from_spec):
        with pytest.raises(api.OutOfDomainError, match=r"does not hold|holds no cell"):
            ask(absent)
    with pytest.raises(api.OutOfDomainError, match="no training of model 1 at"):
        benchmark.query_many([spec_of(CELLS[0]), absent])
    with pytest.raises(api.OutOfDomainError, match="100 epochs are no budget of this table; it has 4, 12, 36, 108"):
        benchmark.query(spec_of(CELLS[0]), epochs=100)
    for wrong in ("", "0" * 32, "zz" * 16):
        with pytest.raises(api.OutOfDomainError, match="holds no cell"):
            benchmark.get_metrics_from_hash(wrong)
    assert benchmark.get_budget_counters() == (0.0, 0)


def test_an_official_file_is_imported_once(official: Path, tmp_path: Path) -> None:
    benchmark = api.NASBench(official)
    assert sorted(benchmark.hash_iterator()) == sorted(cell.hash for cell in CELLS)
    (cached,) = (tmp_path / "cache").glob("nasbench101-*.safetensors")
    made = cached.stat().st_mtime_ns
    api.NASBench(str(official))
    assert cached.stat().st_mtime_ns == made


def test_other_files_are_refused(tmp_path: Path) -> None:
    write_table(tmp_path / "cells.safetensors", {"codes": np.zeros(3, np.uint32)}, {"kind": "something"})
    with pytest.raises(DataError, match="is no table of NAS-Bench-101 results"):
        api.NASBench(tmp_path / "cells.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        api.NASBench(tmp_path / "nowhere.tfrecord")


def test_a_script_changes_one_import_and_needs_no_torch(table: Path) -> None:
    """The official example, but for its import line."""
    script = f"""
from nasbench import nasbench101 as api
import sys
nasbench = api.NASBench({str(table)!r}, seed=0)
count = 0
for unique_hash in nasbench.hash_iterator():
    fixed_metrics, computed_metrics = nasbench.get_metrics_from_hash(unique_hash)
    count += len(computed_metrics[108])
spec = api.ModelSpec(matrix=fixed_metrics['module_adjacency'], ops=fixed_metrics['module_operations'])
data = nasbench.query(spec, epochs=108)
print(count, nasbench.is_valid(spec), data['trainable_parameters'], 'torch' in sys.modules)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.split()[::3] == [str(3 * len(CELLS)), "False"]
