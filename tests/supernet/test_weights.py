"""Weights from files: what is taken, what is refused, and what the refusal says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from path_samples import ENCODINGS, batch, generator, paths, shared_supernet, small_space
from torch import Tensor

from configs.errors import CheckpointError
from runtime.checkpoint import save_file
from supernet.catalog import Selection
from supernet.networks.plain import MBConvNetwork
from supernet.weights import (
    describe_selection,
    find_weights,
    inherit_network,
    load_weights,
    network_weights,
    stored_selection,
)


def network(seed: int = 0) -> MBConvNetwork:
    (path,) = paths("fashion", 1)
    return small_space("fashion").build_network(path, generator(seed))


def selection(name: str = "fashion") -> Selection:
    (path,) = paths(name, 1)
    return Selection("mine", small_space(name), path)


def search_checkpoint(encoding: str, folder: Path, **changes: Any) -> str:
    state = {
        "job": "search",
        "encoding": encoding,
        "description": small_space("fashion").description.model_dump(mode="json"),
        "state_dict": shared_supernet("fashion", encoding).state_dict(),
    }
    save_file({**state, **changes}, folder / "search.pth.tar")
    return str(folder / "search.pth.tar")


@pytest.mark.parametrize("wrap", ["state_dict", "state_dict_ema", None])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_every_published_layout_is_read(wrap: str | None, prefix: str) -> None:
    weights = {prefix + key: value for key, value in network(1).state_dict().items()}
    mine = network(2)
    load_weights(mine, network_weights({wrap: weights} if wrap else weights, "file").tensors, "file")
    torch.testing.assert_close(mine.state_dict(), network(1).state_dict(), rtol=0, atol=0)


def test_averaged_weights_come_first() -> None:
    last, averaged = {"weight": torch.zeros(1)}, {"weight": torch.ones(1)}
    assert network_weights({"state_dict": last, "state_dict_ema": averaged}, "file") == ("ema", averaged)
    for none in ({}, None):
        assert network_weights({"state_dict": last, "state_dict_ema": none}, "file") == ("plain", last)


def test_weights_of_another_network_are_refused_naming_the_first_differences() -> None:
    weights: dict[str, Tensor] = dict(network().state_dict())
    del weights["conv_stem.weight"]
    weights["conv_stam.weight"] = torch.zeros(1)
    weights["classifier.bias"] = torch.zeros(1000)
    mine, before = network(1), network(1).state_dict()
    with pytest.raises(CheckpointError) as caught:
        load_weights(mine, weights, "a.pth.tar")
    assert str(caught.value) == (
        "a.pth.tar holds the weights of another network: conv_stem.weight is missing; "
        "conv_stam.weight is not in this network; classifier.bias is (1000,), not (5,)"
    )
    torch.testing.assert_close(mine.state_dict(), before, rtol=0, atol=0)


def test_more_than_three_differences_are_counted() -> None:
    entries = len(network().state_dict())
    with pytest.raises(CheckpointError, match=rf"is missing \(and {entries - 3} more\)"):
        load_weights(network(), {}, "a.pth.tar")


def test_a_folder_means_its_best_else_its_newest_checkpoint(tmp_path: Path) -> None:
    run, checkpoints = tmp_path / "run", tmp_path / "run/checkpoints"
    checkpoints.mkdir(parents=True)
    for empty in (run, checkpoints):
        with pytest.raises(CheckpointError, match="holds no checkpoint"):
            find_weights(str(empty))
    for step in (9, 100):
        save_file({"state_dict": {}}, checkpoints / f"step_{step:08d}.pth.tar")
    assert find_weights(str(run)) == find_weights(str(checkpoints)) == checkpoints / "step_00000100.pth.tar"
    save_file({"state_dict": {}}, checkpoints / "best.pth.tar")
    assert find_weights(str(run)) == find_weights(str(checkpoints)) == checkpoints / "best.pth.tar"
    assert find_weights(str(checkpoints / "best.pth.tar")) == checkpoints / "best.pth.tar"
    with pytest.raises(CheckpointError, match=r"RESUME_PATH=some/file\.pth\.tar is not there"):
        find_weights("some/file.pth.tar")


def test_a_selection_is_stored_with_its_space() -> None:
    mine = selection()
    again = stored_selection({"selection": describe_selection(mine)}, "file")
    assert again is not None
    assert (again.name, again.architecture) == (mine.name, mine.architecture)
    assert again.space.description == mine.space.description
    assert stored_selection({"state_dict": {}}, "file") is None


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_network_inherits_the_supernets_weights(encoding: str, tmp_path: Path) -> None:
    mine, images = selection(), batch()[0]
    inherited = inherit_network(search_checkpoint(encoding, tmp_path), mine)
    expected = shared_supernet("fashion", encoding).eval()(images, mine.architecture)
    assert torch.equal(inherited.eval()(images), expected)


def test_inheriting_from_another_space_or_job_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointError, match="of space fashion at 16 pixels, 3 channels, 5 classes; mine is of space nasb"
    ):
        inherit_network(search_checkpoint("superkernel", tmp_path), selection("nasbench_macro"))
    with pytest.raises(CheckpointError, match=r"is no checkpoint of a search \(train\.py\)"):
        inherit_network(search_checkpoint("superkernel", tmp_path, job="retrain"), selection())
    with pytest.raises(CheckpointError, match=r"TRAIN\.INHERIT=.* is not there"):
        inherit_network(str(tmp_path / "nowhere.pth.tar"), selection())
