"""tools.cost, tools.count and tools.sample."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from runpy import run_module
from typing import Any

import pytest

from configs.errors import ConfigError, SpaceError, WindowError
from supernet.catalog import SPACES_FOLDER, build_space, select
from tools import cost, count, sample
from tools.speed import window as window_speed

Shown = Callable[..., str]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    """What a tool prints."""

    def run_tool(tool: Any, *arguments: str) -> str:
        tool.main(arguments)
        captured = capsys.readouterr()
        assert captured.err == ""
        return captured.out

    return run_tool


def test_a_command_prints_one_object_and_nothing_else() -> None:
    command = [sys.executable, "-m", "tools.cost", "--selection", "287", "--json"]
    finished = subprocess.run(command, cwd=SPACES_FOLDER.parents[1], capture_output=True, text=True, timeout=120)
    expected = '{"selection": 287, "resolution": 224, "macs": 276262016, "params": 6044368}\n'
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, expected, "")


def test_a_command_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["count", "--space", "nasbench_macro", "--maximum", "1"])
    monkeypatch.delitem(sys.modules, "tools.count")
    with pytest.raises(SystemExit) as caught:
        run_module("tools.count", run_name="__main__")
    printed = capsys.readouterr()
    assert (caught.value.code, printed.out) == (1, "")
    assert printed.err.startswith("error: no architecture lies in the window of [0, 1] million MACs")
    assert "from 7.71328 to 105.660928 million MACs" in printed.err


@pytest.mark.parametrize("selection", [14, 112, 114, "spnasnet_100", "nasbench_macro/00000012"])
def test_the_selection_is_shown_as_it_was_typed(selection: int | str, shown: Shown) -> None:
    chosen = select(selection)
    expected = chosen.space.cost(chosen.architecture)
    assert json.loads(shown(cost, "--selection", str(selection), "--json")) == {
        "selection": selection,
        "resolution": chosen.space.resolution,
        "macs": expected.macs,
        "params": expected.params,
    }


def test_the_cost_at_another_resolution(shown: Shown) -> None:
    at_64 = json.loads(shown(cost, "--selection", "287", "--resolution", "64", "--json"))
    assert at_64["resolution"] == 64
    assert at_64["params"] == 6_044_368
    assert at_64["macs"] < 276_262_016 / 10


def test_the_cost_around_a_cell(shown: Shown) -> None:
    cell = ["--selection", "nasbench101/011-001-000:conv3x3", "--json"]
    published = json.loads(shown(cost, *cell))
    small = json.loads(
        shown(cost, *cell, "--stem-filter-size", "4", "--num-stacks", "1", "--num-modules-per-stack", "1")
    )
    assert small["params"] == 27 * 4 + 8 + 2 * (16 + 8) + 144 + 8 + 50 < published["params"]
    with pytest.raises(ConfigError, match=r"NASBENCH101\.NUM_STACKS: 17 .* int >= 1 and <= 16"):
        shown(cost, *cell, "--num-stacks", "17")


def test_the_cost_of_an_architecture_of_ones_own(shown: Shown) -> None:
    space = build_space("fashion")
    expected = space.cost(space.parse("[[0],[1],[2,2]]"), 32)
    arguments = ["--input-arch", "[[0],[1],[2,2]]", "--space", "fashion", "--resolution", "32"]
    assert json.loads(shown(cost, "--selection", "-1", *arguments, "--json"))["macs"] == expected.macs
    assert shown(cost, *arguments) == "[[0],[1],[2,2]] at 32x32: 4.0064 M MACs, 163,834 parameters\n"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--selection", "288"], ConfigError),
        (["--selection", "-1"], ConfigError),
        (["--input-arch", "[[0]]"], SpaceError),
        (["--input-arch", "[[0]]", "--space", "creme"], ConfigError),
    ],
)
def test_a_cost_that_cannot_be_told(arguments: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        cost.main(arguments)


@pytest.mark.parametrize("text", ["0", "7", "-3", "big", "22.4"])
def test_a_resolution_is_a_number_of_pixels(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cost.main(["--selection", "287", "--resolution", text])
    assert caught.value.code == 2
    assert "is not a whole number of at least 8" in capsys.readouterr().err


def test_the_count_of_creams_window(shown: Shown) -> None:
    printed = shown(count, "--space", "cream", "--minimum", "285", "--maximum", "287", "--json")
    assert printed == (
        '{"space": "cream", "resolution": 224, "minimum": 285, "maximum": 287, "count": 46303813781282}\n'
    )


def macro_costs() -> list[int]:
    space = build_space("nasbench_macro")
    return sorted(space.cost(architecture).macs for architecture in space.window(0, 10**9))


def test_bounds_are_inclusive_and_exact(shown: Shown) -> None:
    costs = macro_costs()
    assert len(costs) == 6561
    low, high = costs[1000], costs[3000]
    for minimum, maximum in ((low, high), (low + 1, high), (low, high - 1), (costs[0], costs[-1])):
        bounds = [str(Decimal(macs) / 1_000_000) for macs in (minimum, maximum)]
        arguments = ["--space", "nasbench_macro", "--minimum", bounds[0], "--maximum", bounds[1], "--json"]
        assert json.loads(shown(count, *arguments)) == {
            "space": "nasbench_macro",
            "resolution": 32,
            "minimum": minimum / 1_000_000,
            "maximum": maximum / 1_000_000,
            "count": sum(minimum <= macs <= maximum for macs in costs),
        }


def test_marginals_are_shares_of_the_members(shown: Shown) -> None:
    """nasbench_macro's first layer, against a count of all members."""
    arguments = ["--space", "nasbench_macro", "--maximum", "50", "--marginals"]
    printed = json.loads(shown(count, *arguments, "--json"))
    space = build_space("nasbench_macro")
    members = list(space.window(0, 50_000_000))
    assert printed["count"] == len(members)
    first = Counter(one.stages[0][0] for one in members)
    assert printed["marginals"]["operations"][0][0] == {
        str(name): pytest.approx(first[name] / len(members)) for name in (0, 1, 2)
    }
    assert printed["marginals"]["depths"][0] == {"2": 1.0}
    lines = shown(count, *arguments).splitlines()
    assert lines[1] == "stage 0 depths: 2 100.00%"
    assert lines[2].startswith(f"stage 0 layer 0 operations: 0 {first[0] / len(members):.2%}, 1 ")


def test_parts_of_a_distinct_sample_make_up_the_whole(shown: Shown) -> None:
    arguments = ["--space", "nasbench_macro", "--maximum", "50", "--distinct", "--count", "20"]
    whole = shown(sample, *arguments).splitlines()
    assert len(set(whole)) == 20
    parts = [shown(sample, *arguments, "--ranks", "3", "--rank", str(rank)).splitlines() for rank in range(3)]
    assert parts == [whole[rank::3] for rank in range(3)]
    assert shown(sample, *arguments, "--count", "1", "--ranks", "3", "--rank", "2") == ""
    with pytest.raises(WindowError, match="9,999,999 different architectures were asked of"):
        sample.main([*arguments, "--count", "9999999"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--rank", "3", "--distinct"], "numbered from 0"), (["--ranks", "3", "--rank", "1"], "needs --distinct")],
)
def test_parts_that_cannot_be_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        sample.main(["--space", "fashion", "--maximum", "3", *arguments])
    assert message in capsys.readouterr().err


def test_the_speed_of_a_window_is_measured_beside_rejection(shown: Shown) -> None:
    arguments = ["--space", "nasbench_macro", "--minimum", "40", "--maximum", "50", "--seconds", "1"]
    measured = json.loads(shown(window_speed, *arguments, "--json"))
    assert (measured["space"], measured["minimum"], measured["maximum"]) == ("nasbench_macro", 40_000_000, 50_000_000)
    assert measured["count"] == sum(40_000_000 <= macs <= 50_000_000 for macs in macro_costs())
    for key in ("samples_per_second", "vectorised_rejection_per_second", "rejection_per_second"):
        assert measured[key] > 100


def test_all_encodings_are_counted(shown: Shown) -> None:
    printed = shown(count, "--space", "nasbench_macro", "--maximum", "1000")
    assert printed == "nasbench_macro at 32x32: 6,561 architectures of 0 to 1000 M MACs, of 6,561 in all\n"
    printed = shown(count, "--space", "nasbench_macro", "--maximum", "85.84", "--resolution", "16", "--json")
    assert '"resolution": 16, "minimum": 0, "maximum": 85.84, "count": 6561}' in printed


@pytest.mark.parametrize("bound", ["abc", "nan", "inf", "-1", "0.0000001"])
@pytest.mark.parametrize("tool", [count, sample])
def test_a_bound_is_a_number_of_macs(tool: Any, bound: str) -> None:
    with pytest.raises(ConfigError, match="million MACs is not"):
        tool.main(["--space", "fashion", f"--maximum={bound}"])


def test_samples_lie_in_the_window_and_are_taken_as_input_arch(shown: Shown) -> None:
    arguments = ["--space", "fashion", "--minimum", "1", "--maximum", "2", "--count", "20", "--seed", "1"]
    arguments += ["--channels", "3", "--classes", "7", "--resolution", "32"]
    drawn = json.loads(shown(sample, *arguments, "--json"))
    assert len(drawn) == 20
    for entry in drawn:
        chosen = select(-1, entry["text"], "fashion").adapted(channels=3, classes=7, resolution=32)
        expected = chosen.space.cost(chosen.architecture)
        assert (entry["macs"], entry["params"]) == (expected.macs, expected.params)
        assert 1_000_000 <= entry["macs"] <= 2_000_000
    assert shown(sample, *arguments).splitlines() == [entry["text"] for entry in drawn]


def test_samples_depend_on_the_seed(shown: Shown) -> None:
    arguments = ["--space", "nasbench_macro", "--maximum", "100", "--count", "5", "--seed"]
    assert shown(sample, *arguments, "1") == shown(sample, *arguments, "1") != shown(sample, *arguments, "2")
    assert all(len(line) == 8 and line.isdecimal() for line in shown(sample, *arguments, "3").splitlines())


def test_an_empty_window_has_no_sample() -> None:
    with pytest.raises(WindowError, match="feasible costs go from"):
        sample.main(["--space", "fashion", "--maximum", "0.1"])


def test_a_space_of_ones_own_is_counted_by_path(shown: Shown, tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text((SPACES_FOLDER / "fashion.yaml").read_text().replace("[1, 3]", "[1, 2]"))
    printed = json.loads(shown(count, "--space", str(path), "--maximum", "1000", "--json"))
    assert (printed["space"], printed["count"]) == (str(path), (6 + 6**2) ** 3)
