"""Latency tables: Single-Path NAS's of a Pixel 1, and what is wrong with others."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch

from configs.errors import ConfigError
from supernet.blocks.gates import Gates, nest
from supernet.catalog import build_space, select
from supernet.expected_cost import ExpectedCost
from supernet.latency import open_window, read_latency_table
from supernet.nested import nested_layers
from supernet.window_latency import LatencyWindow

ROW = {"0": 1.0, "1": 2.0, "2": 1.5, "3": 2.5}
TABLE: dict[str, Any] = {str(layer): ROW for layer in range(1, 21)}


def write(folder: Path, value: object) -> Path:
    path = folder / "table.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return path


def test_spnasnet_on_a_pixel_1(shared_file: Callable[[str], Path]) -> None:
    """19.5999 ms and its twenty layers."""
    table = read_latency_table(shared_file("data/single-path-pixel1-latency.json"), build_space("spnas"))
    assert round(table.latency(select("spnasnet_100").architecture), 2) == 81.14


def test_latencies_add_and_the_rest_has_defaults(tmp_path: Path) -> None:
    space = build_space("spnas")
    architecture = select("spnasnet_100").architecture
    chosen = [index for stage in architecture.stages[1:-1] for index in stage]
    layers = sum({**ROW, "4": 0.7}[str(index)] for index in chosen)
    assert read_latency_table(write(tmp_path, TABLE), space).latency(architecture) == pytest.approx(19.5999 + layers)
    own = read_latency_table(write(tmp_path, {**TABLE, "fixed": 3, "skip": 0}), space)
    assert own.latency(architecture) == pytest.approx(3 + layers - 0.7)


def test_the_expected_latency_of_hard_gates_is_the_tables(tmp_path: Path) -> None:
    """In a space whose depth is free as well: a layer that is not there takes what a skipped one does."""
    space = build_space("fashion")
    row = {str(index): 1.0 + index for index in range(6)}
    table = read_latency_table(write(tmp_path, {str(layer): row for layer in range(9)}), space)
    cost = ExpectedCost.of_latency(space, table, torch.zeros((), dtype=torch.float64))
    architecture = space.parse("[[1],[5,3],[2,2,2]]")
    gates = []
    for layer in nested_layers(space):
        stage = architecture.stages[layer.stage]
        index = stage[layer.place] if layer.place < len(stage) else 0
        kernel, expansion = divmod(index, 3)
        levels = torch.tensor([float(kernel > 0)]), torch.tensor([float(expansion > one) for one in range(2)])
        keep = torch.tensor(float(layer.place < len(stage))) if layer.may_end else None
        gates.append(Gates(nest(levels[0]).double(), nest(levels[1]).double(), keep))
    assert cost(gates).item() == pytest.approx(table.latency(architecture))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{", "is not JSON"),
        ([], "is not an object of layers, operations and milliseconds"),
        ({**TABLE, "7": None}, r"lacks layer 7 \(stage 2, block 2 of spnas\)"),
        ({**TABLE, "7": {"0": 1, "1": 1, "2": 1}}, r"lacks operation 3 of layer 7 \(stage 2, block 2 of spnas\)"),
        ({**TABLE, "20": {**ROW, "1": "fast"}}, "gives 'fast' for operation 1 of layer 20"),
        ({**TABLE, "20": {**ROW, "1": -1}}, "gives -1 for operation 1 of layer 20"),
        ({**TABLE, "skip": True}, "gives True for skip"),
        ('{"1": {"0": NaN}}', "gives nan for operation 0 of layer 1"),
    ],
)
def test_a_wrong_table_is_explained(tmp_path: Path, value: object, message: str) -> None:
    path = write(tmp_path, value)
    with pytest.raises(ConfigError, match=message) as caught:
        read_latency_table(path, build_space("spnas"))
    assert str(path) in str(caught.value)


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.json cannot be read: No such file"):
        read_latency_table(tmp_path / "nowhere.json", build_space("spnas"))


def test_a_window_keeps_the_tables_latency(tmp_path: Path) -> None:
    """Rounded to whole units; a layer that is not there takes what `skip` says."""
    space = build_space("fashion")
    rows = {str(layer): {str(index): 0.1 + 0.013 * (layer // 3 + index) for index in range(6)} for layer in range(9)}
    path = write(tmp_path, {**rows, "fixed": 0.5, "skip": 0.02})
    table = read_latency_table(path, space)
    costs = table.costs(space, str(path))
    assert costs.unit == Decimal("0.002")
    for one in open_window(space, 0, 10**9).sample(torch.Generator().manual_seed(0), 20):
        assert costs.table.cost(one).macs * 0.002 == pytest.approx(table.latency(one), abs=10 * 0.001)
    window = open_window(space, 10**6, 3 * 10**6, path, "1.2")
    assert isinstance(window, LatencyWindow)
    drawn = window.sample(torch.Generator().manual_seed(0), 50)
    assert all(10**6 <= space.cost(one).macs <= 3 * 10**6 and table.latency(one) < 1.21 for one in drawn)
    assert 0 < window.count < space.window(10**6, 3 * 10**6).count
    measured = {"measured": {"space": "fashion", "resolution": 32}}
    other = write(tmp_path, {**rows, **measured})
    with pytest.raises(ConfigError, match="measured for resolution 32, not 28: build one with"):
        open_window(space, 0, 10**9, other, 1)
    for bound, message in (("soon", "is not a number"), ("-1", "it should be a number of at least 0")):
        with pytest.raises(ConfigError, match=message):
            open_window(space, 0, 10**9, path, bound)
    with pytest.raises(ConfigError, match=r"needs LATENCY_TABLE \(--table\)"):
        open_window(space, 0, 10**9, "", 1)
