"""tools.latency measures networks, and builds a table that windows, tools and validation take."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from configs.errors import ConfigError, SpaceError, StorageError, WindowError
from supernet.catalog import build_shared_space
from supernet.latency import read_latency_table
from tools import count, sample
from tools.latency import __main__ as latency
from tools.latency.validation import kendall_tau

TINY = """
name: tiny
resolution: 12
classes: 3
stem: {channels: 8}
operations: [{expansion: 1}, {kernel: 5, expansion: 2}, {block: skip}]
stages: [{channels: 8, depth: [1, 3]}, {channels: 16, stride: 2}]
head: {channels: 16}
"""

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(TINY)
    return path


@pytest.fixture(scope="module")
def table(space: Path) -> Path:
    path = space.with_name("table.json")
    latency.main(["--space", str(space), "--build", str(path), "--validate", "5", "--repeats", "3", "--device", "cpu"])
    return path


def test_a_table_says_what_it_was_measured_on(table: Path, space: Path) -> None:
    value = json.loads(table.read_text())
    facts = value["measured"]
    assert (facts["space"], facts["resolution"], facts["batch_size"], facts["threads"]) == ("tiny", 12, 1, 1)
    assert (facts["runtime"], facts["repeats"], facts["clock"]) == ("torch", 3, "thread_time")
    assert set(value) == {"fixed", "skip", "0", "1", "2", "3", "measured"}
    assert value["1"]["2"] == 0  # an identity
    assert value["1"] == value["2"]  # layers of one shape
    assert set(facts["relative_spread"]["1"]) == {"0", "1"}
    read = read_latency_table(table, build_shared_space(str(space)))
    assert all(0 <= taken < 1000 for row in read.layers.values() for taken in row.values())


def test_windows_of_tools_keep_the_bound(table: Path, space: Path, capsys: Shown) -> None:
    tiny = build_shared_space(str(space))
    read = read_latency_table(table, tiny)
    costs = read.costs(tiny, "")
    everything = list(tiny.window(0, 10**9))
    units = sorted(costs.table.cost(one).macs for one in everything)
    bound = costs.format(units[len(units) // 2])
    window = ["--space", str(space), "--maximum", "1000", "--latency-maximum", bound, "--table", str(table)]
    count.main([*window, "--json"])
    counted = json.loads(capsys.readouterr().out)
    assert counted["count"] == sum(taken <= units[len(units) // 2] for taken in units)
    assert (counted["latency_maximum"], counted["table"]) == (float(bound), str(table))
    count.main(window)
    assert f"and at most {bound} ms by {table}" in capsys.readouterr().out
    sample.main([*window, "--count", "30"])
    drawn = {tiny.parse(line) for line in capsys.readouterr().out.split()}
    assert all(costs.table.cost(one).macs <= units[len(units) // 2] for one in drawn)
    with pytest.raises(WindowError, match=r"feasible are .* ms and .* million MACs"):
        count.main([*window[:5], "0", *window[6:]])


def test_a_network_is_measured_by_either_runtime(capsys: Shown) -> None:
    for runtime in ("torch", "onnxruntime"):
        network = ["--selection", "nasbench_macro/00000000", "--resolution", "16", "--runtime", runtime]
        latency.main([*network, "--repeats", "3", "--device", "cpu", "--batch", "2", "--json"])
        shown = json.loads(capsys.readouterr().out)
        assert shown["milliseconds"] > 0
        assert shown["spread_ms"] >= 0
        assert (shown["runtime"], shown["batch_size"], shown["resolution"]) == (runtime, 2, 16)


def test_validation_needs_a_table_and_a_space_of_layers(
    space: Path, table: Path, capsys: Shown, tmp_path: Path
) -> None:
    tiny = ["--space", str(space), "--device", "cpu", "--repeats", "2"]
    latency.main([*tiny, "--table", str(table), "--validate", "4", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert len(found["architectures"]) <= 4
    assert {"pearson", "kendall_tau", "mean_absolute_error_ms", "mean_relative_error"} < set(found)
    with pytest.raises(ConfigError, match="give --table FILE"):
        latency.main([*tiny, "--validate", "4"])
    with pytest.raises(SpaceError, match="is a space of cells"):
        latency.main(["--space", "nasbench101", "--build", str(tmp_path / "table.json")])
    with pytest.raises(StorageError, match="cannot be written"):
        latency.main([*tiny, "--build", str(tmp_path / "nowhere" / "table.json")])


def test_kendalls_tau() -> None:
    """Of four pairs out of order among ten, and with ties (b = 2 / sqrt(2 * 3))."""
    assert kendall_tau(np.array([1, 2, 3, 4, 5]), np.array([3, 4, 1, 2, 5])) == pytest.approx(0.2)
    assert kendall_tau(np.array([1, 1, 2]), np.array([1, 2, 3])) == pytest.approx(0.8165)
    assert kendall_tau(np.array([1, 1]), np.array([1, 2])) == 0.0
