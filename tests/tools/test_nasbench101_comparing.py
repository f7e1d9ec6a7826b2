"""`compare`: trained cells beside a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from nasbench.nasbench101.collection import write_all_data
from nasbench.nasbench101.table import ResultsTable
from runtime.seeds import make_generator
from supernet.spaces.nasbench101.space import NasBench101Space
from tools.nasbench101.__main__ import main

SPACE = NasBench101Space()
CELLS = [SPACE.sample(make_generator(number, "compare")) for number in range(4)]


def training(epochs: int, validation: float, test: float) -> dict:
    last = {"epochs": epochs, "train_accuracy": 1.0, "validation_accuracy": validation, "test_accuracy": test}
    return {"trainable_params": 1, "total_time": 1.0, "evaluation_results": [last]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three cells, whose 108-epoch trainings have 0.90 on average; the third has one repeat only."""
    metrics = np.full((3, 2, 3, 2, 4), np.nan)
    metrics[:, :, :, 1, 1:] = np.array([0.88, 0.90, 0.92])[:, None]
    metrics[2, :, 1:] = np.nan
    metrics[2, :, 0, 1, 1:] = 0.9
    repeats = np.array([[3, 3], [3, 3], [1, 1]], np.uint8)
    codes, hashes = np.array([cell.code for cell in CELLS[:3]], np.uint32), [cell.hash for cell in CELLS[:3]]
    keys = np.frombuffer(bytes.fromhex("".join(hashes)), np.uint8).reshape(-1, 16)
    ResultsTable.build([36, 108], metrics, repeats, np.ones(3, np.int64), codes, keys).write(tmp_path / "t.safetensors")
    return tmp_path / "t.safetensors"


def test_cells_within_and_beyond_the_tolerance_are_counted(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two, three, absent = (cell.hash for cell in CELLS)
    results = {
        one: [training(108, 0.92, 0.88)],  # just at the tolerance
        two: [training(108, 0.90, 0.85), training(108, 0.90, 0.85)],
        three: [training(108, 0.87, 0.86), training(108, 0.89, 0.94)],  # on average 2 and 0 points away
        absent: [training(108, 0.9, 0.9)],
    }
    write_all_data(tmp_path / "all_data.json", results)
    command = ["compare", "--results", str(tmp_path / "all_data.json"), "--table", str(table)]
    main([*command, "--tolerance", "2", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["cells"], shown["absent"]) == (3, [absent])
    assert shown["test_accuracy"] == {
        "within": 2,
        "mean_difference": pytest.approx(-7 / 3, abs=1e-4),
        "beyond": {two: -5.0},
    }
    assert (shown["validation_accuracy"]["within"], shown["validation_accuracy"]["beyond"]) == (3, {})
    main([*command, "--tolerance", "1.9"])
    text = capsys.readouterr().out
    assert "test accuracy: 1 of 3 cells within 1.9 points of the table (33.3%); mean difference -2.33" in text
    assert f"1 cells are not in the table at their epochs:\n  {absent}" in text


def test_results_of_other_epochs_have_nothing_to_be_compared_with(table: Path, tmp_path: Path) -> None:
    write_all_data(tmp_path / "all_data.json", {CELLS[0].hash: [training(3, 0.5, 0.5)]})
    command = ["compare", "--results", str(tmp_path / "all_data.json"), "--table", str(table)]
    with pytest.raises(DataError, match=r"holds none of the 1 cells .* it has the budgets 36, 108"):
        main(command)
    with pytest.raises(SystemExit):
        main([*command, "--tolerance", "-1"])
    with pytest.raises(SystemExit):
        main([*command, "TRAIN.LR=1"])
