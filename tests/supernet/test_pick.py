"""pick.json: what a search writes and retrain.py reads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from path_samples import SPACES, paths, small_space

from configs.errors import ConfigError
from supernet.catalog import select
from supernet.pick import Pick, PickedArchitecture


def write_pick(name: str, path: Path, count: int = 3) -> Pick:
    space = small_space(name)
    costs = [(one, space.cost(one)) for one in paths(name, count)]
    pick = Pick(space, tuple(PickedArchitecture(one, 90.5 - i, c.macs, c.params) for i, (one, c) in enumerate(costs)))
    pick.write(path, space.window(0, 10**9), {"seed": 3, "command": "train.py"})
    return pick


@pytest.mark.parametrize("name", SPACES)
def test_a_pick_is_read_back(name: str, tmp_path: Path) -> None:
    pick = write_pick(name, tmp_path / "pick.json")
    again = Pick.read(tmp_path / "pick.json")
    assert again.architectures == pick.architectures
    assert again.space.description == pick.space.description


def test_a_pick_explains_itself(tmp_path: Path) -> None:
    pick = write_pick("nasbench_macro", tmp_path / "pick.json")
    written = json.loads((tmp_path / "pick.json").read_text())
    best = pick.architectures[0]
    assert written["architectures"][0] == {
        "architecture": best.architecture.to_list(),
        "accuracy": 90.5,
        "macs": best.macs,
        "params": best.params,
        "text": pick.space.text(best.architecture),
    }
    assert (written["space"], written["resolution"]) == ("nasbench_macro", pick.space.resolution)
    assert (written["seed"], written["command"]) == (3, "train.py")
    assert written["window"] == {"minimum": 0, "maximum": 10**9, "count": 6561}


def test_input_arch_takes_a_pick_and_a_place_in_it(tmp_path: Path) -> None:
    path = tmp_path / "pick.json"
    pick = write_pick("fashion", path)
    for reference, place in ((f"{path}", 0), (f"{path}#0", 0), (f"{path}#2", 2)):
        chosen = select(-1, reference)
        assert chosen.architecture == pick.architectures[place].architecture
        assert chosen.space.cost(chosen.architecture).macs == pick.architectures[place].macs
    for wrong in ("#3", "#-1", "#x"):
        with pytest.raises(ConfigError, match="ranks 3 architectures"):
            select(-1, f"{path}{wrong}")


def test_a_missing_pick_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"pick\.json, which is not there"):
        select(-1, str(tmp_path / "pick.json"))


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"description": {"name": "x"}, "architectures": []}'])
def test_a_file_that_is_no_pick_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "pick.json").write_text(text)
    with pytest.raises(ConfigError, match=r"pick\.json is no whole pick\.json"):
        Pick.read(tmp_path / "pick.json")


def test_an_architecture_that_is_not_in_its_space_is_refused(tmp_path: Path) -> None:
    write_pick("fashion", tmp_path / "pick.json")
    value = json.loads((tmp_path / "pick.json").read_text())
    value["architectures"][0]["architecture"][0] = [9]
    (tmp_path / "pick.json").write_text(json.dumps(value))
    with pytest.raises(ConfigError, match=r"operation 9 at stage 0, block 0; fashion allows \[0, 1, 2, 3, 4, 5\]"):
        Pick.read(tmp_path / "pick.json")
