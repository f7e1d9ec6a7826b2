"""Retraining from a search's weights: the network starts as the supernet's path, or the file is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from configs.errors import CheckpointError
from data.loading import Images
from runtime.checkpoint import save_file
from runtime.seeds import make_generator
from supernet.catalog import Selection
from supernet.networks.path_supernet import PathSupernet, frozen_statistics
from supernet.weights import describe_selection, inherit_network


def write_search(selection: Selection, encoding: str, folder: Path, digits: Images) -> PathSupernet:
    """The checkpoint of a search whose statistics are no longer those of a fresh network."""
    supernet = selection.space.build_supernet(encoding, make_generator(1, "supernet")).train()
    images, _ = next(iter(digits.evaluation("train", 64)))
    with torch.no_grad():
        supernet(images, selection.architecture)
    description = selection.space.description.model_dump(mode="json")
    state = {"job": "search", "encoding": encoding, "description": description, "state_dict": supernet.state_dict()}
    (folder / "checkpoints").mkdir()
    save_file(state, folder / "checkpoints" / "step-00000008.pth.tar")
    return supernet


@pytest.mark.parametrize("encoding", ["superkernel", "separate"])
def test_logits_equal_those_of_the_supernets_path(selection: Selection, digits: Images, tmp_path: Path, encoding: str):
    supernet = write_search(selection, encoding, tmp_path, digits)
    images, _ = next(iter(digits.evaluation("search", 32)))
    for source in (tmp_path, tmp_path / "checkpoints" / "step-00000008.pth.tar"):
        network = inherit_network(str(source), selection)
        with torch.no_grad():
            assert torch.allclose(network.eval()(images), supernet.eval()(images, selection.architecture), atol=1e-5)
            with frozen_statistics(supernet):
                expected = supernet.train()(images, selection.architecture)
            assert torch.allclose(network.train()(images), expected, atol=1e-5)
    assert all(parameter.requires_grad and parameter.is_leaf for parameter in network.parameters())


def test_another_space_is_refused(selection: Selection, digits: Images, tmp_path: Path):
    write_search(selection, "superkernel", tmp_path, digits)
    other = selection.adapted(channels=1, classes=7, resolution=8)
    with pytest.raises(
        CheckpointError, match="of space little at 8 pixels, 1 channels, 10 classes; chosen is of space little"
    ):
        inherit_network(str(tmp_path), other)


def test_a_retrained_network_is_no_search(selection: Selection, tmp_path: Path):
    save_file({"job": "retrain", "selection": describe_selection(selection)}, tmp_path / "step-1.pth.tar")
    with pytest.raises(CheckpointError, match="is no checkpoint of a search"):
        inherit_network(str(tmp_path), selection)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        inherit_network(str(tmp_path / "empty"), selection)
