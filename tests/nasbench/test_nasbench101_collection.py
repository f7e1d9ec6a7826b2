"""Files of cells and files of results."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, DataError
from nasbench.nasbench101 import ModelSpec, NASBench
from nasbench.nasbench101.architectures import draw_cells, read_cells, write_cells
from nasbench.nasbench101.collection import build_table, read_all_data, write_all_data
from runtime.seeds import make_generator
from supernet.spaces.nasbench101.cell import Cell
from supernet.spaces.nasbench101.enumeration import all_orders, canonical_cell

PUBLISHED = """{"048eda1b87d274d0a3edd77f6974f7c4": {"trainable_params": 21547914, "total_time": 2770.563542842865,
"evaluation_results": [{"epochs": 0, "training_steps": 0, "train_accuracy": 0.09845753014087677,
"validation_accuracy": 0.1028645858168602, "test_accuracy": 0.10056089609861374, "predict_time": 32.889620780944824},
{"epochs": 54, "training_steps": 8437, "train_accuracy": 0.35596954822540283, "validation_accuracy": 0.3452523946762085,
"test_accuracy": 0.34515222907066345, "predict_time": 34.821516036987305}, {"epochs": 108, "training_steps": 16875,
"train_accuracy": 0.9992988705635071, "validation_accuracy": 0.8845152258872986, "test_accuracy": 0.8683894276618958,
"predict_time": 34.703524351119995}]}}"""  # the example of the published document


def test_cells_are_drawn_uniformly_without_repetition() -> None:
    drawn = draw_cells(20_000, make_generator(0, "all"))
    assert len(set(drawn)) == 20_000
    assert draw_cells(5, make_generator(0, "all")) == drawn[:5] != draw_cells(5, make_generator(1, "all"))
    by_vertices = Counter(cell.vertices for cell in drawn)
    assert by_vertices[7] / len(drawn) == pytest.approx(359_082 / 423_624, abs=0.01)
    assert by_vertices[6] / len(drawn) == pytest.approx(62_010 / 423_624, abs=0.01)
    assert all(canonical_cell(cell) == cell for cell in drawn[:20])
    with pytest.raises(ConfigError, match="423,625 cells asked for"):
        draw_cells(423_625, make_generator(0, "all"))


def test_a_file_of_cells_reads_back_in_the_same_order_of_vertices(tmp_path: Path) -> None:
    orders = all_orders()
    others = orders.codes[orders.codes != orders.canonical][::100_000].tolist()
    cells = [*draw_cells(5, make_generator(0, "file")), *map(Cell, others)]
    write_cells(tmp_path / "cells.json", cells)
    read, faults = read_cells(tmp_path / "cells.json")
    assert (list(read.values()), faults) == (cells, {})
    assert all(key == cell.hash for key, cell in read.items())
    assert len((tmp_path / "cells.json").read_text().splitlines()) == len(cells) + 2


def test_other_forms_are_read_and_invalid_cells_are_named(tmp_path: Path) -> None:
    good, loose, large = "b5fb4f6193360330b6ff6a52cbf0cad7", "loose", "large"
    matrix = [[0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0]]
    ops = ["input", "conv3x3-bn-relu", "conv3x3-bn-relu", "output"]
    other = "043721b9c7fe8c5fad811d47d83132ec"
    path = tmp_path / "cells.json"
    wrong = {
        loose: {"matrix": [[0, 0], [0, 0]], "ops": ["input", "output"]},
        large: [np.eye(9, k=1, dtype=int).tolist(), ["input", *["maxpool3x3"] * 7, "output"]],
        "other": [matrix, ops],
        "short": [matrix],
        "number": 5,
        "ops": [matrix, 5],
        "matrix": ["x", ops],
        "unknown": [matrix, ["input", "conv3x3-bn-relu", "conv9x9", "output"]],
    }
    path.write_text(json.dumps({**wrong, good: [matrix, [-1, 0, 0, -2]], other: [[[0, 1], [0, 0]], [-1, -2]]}))
    cells, faults = read_cells(path)
    assert list(cells) == [good, other]
    assert cells[good] == ModelSpec(matrix, ops).cell
    assert faults.keys() == wrong.keys()
    assert "no path from input to output" in faults[loose]
    assert "9 vertices after pruning" in faults[large]
    assert faults["other"] == f"the hash of its cell is {good}"
    path.write_text(json.dumps(wrong))
    with pytest.raises(DataError, match="holds no valid cell; loose: the cell has no path"):
        read_cells(path)
    for text in ("{", "[]", "{}", ""):
        path.write_text(text)
        with pytest.raises(DataError, match=r"cells\.json"):
            read_cells(path)


def make_training(epochs: float, test: float, halfway: bool = True) -> dict:
    evaluations = [
        {
            "epochs": part * epochs,
            "train_accuracy": part,
            "validation_accuracy": test - 0.1,
            "test_accuracy": part * test,
        }
        for part in ((0, 0.5, 1) if halfway else (0, 1))
    ]
    return {"trainable_params": 7, "total_time": 3.5, "evaluation_results": evaluations, "seed": 1}


def test_trainings_become_a_table_that_nasbench_opens(tmp_path: Path) -> None:
    orders = all_orders()
    order = Cell(int(orders.codes[orders.codes != orders.canonical][-1]))  # a user's own order of vertices
    one, two, three = order, *draw_cells(2, make_generator(0, "table"))
    cells = {cell.hash: cell for cell in (one, two, three)}
    trainings = {
        one.hash: [make_training(5, 0.9), make_training(5, 0.8, halfway=False)],
        two.hash: [make_training(2, 0.5), make_training(5, 0.7)],  # the first was stopped early
        three.hash: [make_training(2, 0.5)],
    }
    build_table(cells, trainings, 5).write(tmp_path / "table.safetensors")
    benchmark = NASBench(tmp_path / "table.safetensors")
    assert (benchmark.valid_epochs, list(benchmark.hash_iterator())) == ({5}, [one.hash, two.hash])
    fixed, computed = benchmark.get_metrics_from_spec(ModelSpec(*canonical_cell(one).to_list()))
    assert fixed["module_adjacency"].tolist() == [list(row) for row in one.matrix]
    assert [made["final_test_accuracy"] for made in computed[5]] == [0.9, 0.8]
    assert [made["final_training_time"] for made in computed[5]] == [3.5, 3.5]
    assert computed[5][0]["halfway_test_accuracy"] == 0.45
    assert np.isnan([computed[5][0]["halfway_training_time"], computed[5][1]["halfway_test_accuracy"]]).all()
    assert benchmark.query(ModelSpec(*two.to_list()), epochs=5)["test_accuracy"] == 0.7
    with pytest.raises(DataError, match="no training reached 108 epochs"):
        build_table(cells, trainings, 108)


def test_results_are_written_in_the_published_form_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "all_data.json"
    trainings = {"a" * 32: [make_training(5, 0.9), make_training(5, 0.8)], "b" * 32: [make_training(5, 0.7)]}
    write_all_data(path, trainings)
    first = json.loads(path.read_text())["a" * 32]
    assert {**first, "seed": 1} == {**trainings["a" * 32][0], "repeats": trainings["a" * 32]}
    assert read_all_data(path) == trainings
    path.write_text(PUBLISHED)
    ((key, made),) = read_all_data(path).items()
    assert (key, made[0]["evaluation_results"][2]["test_accuracy"]) == (
        "048eda1b87d274d0a3edd77f6974f7c4",
        0.8683894276618958,
    )


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {},
        {"repeats": []},
        {"repeats": [{}]},
        {**make_training(5, 0.9), "evaluation_results": []},
        {**make_training(5, 0.9), "evaluation_results": [{"epochs": 5}]},
        {**make_training(5, 0.9), "total_time": "x"},
    ],
)
def test_other_results_are_refused(tmp_path: Path, entry: object) -> None:
    path = tmp_path / "all_data.json"
    path.write_text(json.dumps({"a" * 32: make_training(5, 0.9), "b" * 32: entry}))
    with pytest.raises(DataError, match=f"the entry {'b' * 32} is no result"):
        read_all_data(path)
