"""tools.convert on the layouts of Cream's release and of the public PyTorch NASNet-A mobile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from configs.errors import CheckpointError
from runtime.checkpoint import load_file
from runtime.seeds import make_generator
from supernet.catalog import build_network, select
from supernet.weights import stored_selection
from tools import convert
from tools.convert import rename_nasnet
from tools.speed.nasnet import public_nasnet


@pytest.fixture
def published(shared_file: Callable[[str], Path]) -> dict[str, Tensor]:
    """Tensors of the names and shapes of the public checkpoint; each tensor holds its own number."""
    entries = json.loads(shared_file("reference/nasnet-mobile-checkpoint-keys.json").read_text())
    return {
        name: torch.full(shape, number, dtype=torch.float32 if shape else torch.int64)
        for number, (name, shape) in enumerate(entries)
    }


def test_every_public_name_becomes_one_of_ours(published: dict[str, Tensor], tmp_path: Path) -> None:
    file, out = tmp_path / "nasnetamobile.pth", tmp_path / "ours.pth.tar"
    torch.save(published, file)
    convert.main(["nasnet-mobile", str(file), "--out", str(out)])
    state = load_file(out)
    selection = stored_selection(state, out)
    assert selection is not None
    assert (selection.name, selection.space.classes) == ("nasnet_a_mobile", 1000)
    assert selection.architecture == select("nasnet_a_mobile").architecture
    assert len(state["state_dict"]) == len(published) == 1318
    for name, value in published.items():
        assert torch.equal(state["state_dict"][rename_nasnet(name)], value)


def test_another_network_is_refused(published: dict[str, Tensor], tmp_path: Path) -> None:
    file, out = tmp_path / "other.pth", tmp_path / "ours.pth.tar"
    name = "cell_6.comb_iter_0_left.separable_1.depthwise_conv2d.weight"
    torch.save({**published, name: torch.zeros(88, 1, 7, 7), "cell_16.bn": torch.zeros(1)}, file)
    message = r"cell_16.bn is not in .*; cells.7.pairs.0.0.depthwise_1.weight is \(88, 1, 7, 7\), not \(88, 1, 5, 5\)"
    with pytest.raises(CheckpointError, match=message):
        convert.main(["nasnet-mobile", str(file), "--out", str(out)])
    with pytest.raises(
        CheckpointError, match="parameters are those of none of Cream's networks, 14, 43, 114, 287, 481, 604"
    ):
        convert.main(["cream", str(file), "--out", str(out)])
    assert not out.exists()


def test_creams_networks_are_told_apart(tmp_path: Path) -> None:
    weights = build_network("43", 5, torch.Generator().manual_seed(1)).state_dict()
    torch.save({"state_dict_ema": weights}, tmp_path / "43.pth.tar")
    convert.main(["cream", str(tmp_path / "43.pth.tar"), "--out", str(tmp_path / "ours.pth.tar")])
    state = load_file(tmp_path / "ours.pth.tar")
    selection = stored_selection(state, "ours")
    assert selection is not None
    assert (selection.name, selection.space.classes, selection.space.resolution) == ("43", 5, 96)
    assert all(torch.equal(state["state_dict"][name], value) for name, value in weights.items())


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, nn.Module]:
    """The public network for seven classes, and ours with its weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    reference = public_nasnet(7)
    with torch.no_grad():
        reference.train()(torch.randn(4, 3, 64, 64))  # statistics of batch norm that a mistake would show in
    torch.save(reference.eval().state_dict(), folder / "public.pth")
    convert.main(["nasnet-mobile", str(folder / "public.pth"), "--out", str(folder / "ours.pth.tar")])
    network = build_network("nasnet_a_mobile", 7)
    network.load_state_dict(load_file(folder / "ours.pth.tar")["state_dict"])
    return reference, network


@pytest.mark.differential
@pytest.mark.parametrize("size", [224, 64])
def test_the_public_networks_weights_give_its_logits(both: tuple[Any, nn.Module], size: int) -> None:
    reference, network = (one.eval() for one in both)
    images = torch.randn(2, 3, size, size, generator=make_generator(0, "images"))
    with torch.no_grad():
        torch.testing.assert_close(network(images), reference(images))


@pytest.mark.differential
def test_the_public_networks_weights_give_its_gradients(both: tuple[Any, nn.Module]) -> None:
    """In fp64: rounding alone, through a hundred batch norms of four images, would be no comparison."""
    reference, network = (one.double().train() for one in both)
    images = torch.randn(4, 3, 64, 64, generator=make_generator(0, "images")).double()
    reference.dropout.p = 0.0
    for one in (reference, network):
        one(images).square().sum().backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    for name, weight in reference.named_parameters():
        torch.testing.assert_close(gradients[rename_nasnet(name)], weight.grad)
