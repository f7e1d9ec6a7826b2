"""tools.convert and tools.latency."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file as save_safetensors
from torch import Tensor

from configs.errors import CheckpointError, ConfigError, SpaceError
from runtime.checkpoint import load_file
from runtime.compatibility import import_torchvision
from supernet.catalog import build_network, select
from supernet.weights import stored_selection
from tools import convert
from tools.latency import __main__ as latency


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Those of a spnasnet_100 for three classes."""
    return dict(build_network("spnasnet_100", 3, torch.Generator().manual_seed(4)).state_dict())


def test_each_layout_becomes_a_file_that_knows_its_network(weights: dict[str, Tensor], tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "bare.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in weights.items()}}, tmp_path / "wrapped.pth.tar")
    save_safetensors(weights, tmp_path / "model.safetensors")
    for name in ("bare.pth", "wrapped.pth.tar", "model.safetensors"):
        out = tmp_path / f"{name}.pth.tar"
        convert.main(["timm-spnasnet", str(tmp_path / name), "--out", str(out)])
        state = load_file(out)
        assert all(torch.equal(state["state_dict"][key], value) for key, value in weights.items())
        selection = stored_selection(state, out)
        assert selection is not None
        assert (selection.name, selection.space.classes, selection.space.resolution) == ("spnasnet_100", 3, 224)
        assert selection.architecture == select("spnasnet_100").architecture


@pytest.mark.differential
def test_timms_weights_give_timms_logits(tmp_path: Path) -> None:
    import_torchvision()
    from timm import create_model  # only after the repair

    torch.manual_seed(0)
    reference = create_model("spnasnet_100", pretrained=False).train()
    with torch.no_grad():
        reference(torch.randn(8, 3, 96, 96))  # statistics of batch norm that a mistake would show in
        torch.save(reference.eval().state_dict(), tmp_path / "timm.pth")
        convert.main(["timm-spnasnet", str(tmp_path / "timm.pth"), "--out", str(tmp_path / "ours.pth.tar")])
        network = build_network("SPNASNet_100")
        assert sum(parameter.numel() for parameter in network.parameters()) == 4_421_616
        network.load_state_dict(load_file(tmp_path / "ours.pth.tar")["state_dict"])
        images = torch.randn(2, 3, 224, 224)
        torch.testing.assert_close(network.eval()(images), reference(images))


def test_files_that_cannot_be_converted_are_refused(weights: dict[str, Tensor], tmp_path: Path) -> None:
    file, out = tmp_path / "weights.pth", tmp_path / "out.pth.tar"

    def refused(error: type[Exception], message: str, *arguments: str) -> None:
        with pytest.raises(error, match=message):
            convert.main(["timm-spnasnet", *(arguments or (str(file), "--out", str(out)))])
        assert not out.exists()

    refused(CheckpointError, "there is no checkpoint file")
    torch.save({**weights, "blocks.1.0.conv_dw.weight": torch.zeros(48, 1, 5, 5)}, file)
    refused(CheckpointError, r"another network: blocks.1.0.conv_dw.weight is \(48, 1, 5, 5\), not \(48, 1, 3, 3\)")
    torch.save({"weight": torch.zeros(2)}, file)
    refused(CheckpointError, "another network: conv_stem.weight is missing")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    refused(
        CheckpointError, "broken.safetensors cannot be loaded", str(tmp_path / "broken.safetensors"), "--out", str(out)
    )
    refused(ConfigError, r"a file of weights is called \*.pth.tar", str(file), "--out", str(tmp_path / "out.pth"))


def test_the_latency_of_a_network(shared_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    table = shared_file("data/single-path-pixel1-latency.json")
    latency.main(["--selection", "spnasnet_100", "--table", str(table)])
    assert re.fullmatch(r"spnasnet_100: 81\.14 ms by .*latency\.json\n", capsys.readouterr().out)
    cheapest = "[[0],[0,4,4,4],[0,4,4,4],[0,4,4,4],[0,4,4,4],[0,4,4,4],[0]]"
    latency.main(["--space", "spnas", "--input-arch", cheapest, "--table", str(table), "--json"])
    shown = json.loads(capsys.readouterr().out)
    least = 19.5999 + 4.4905 + 1.9593 + 1.232 + 1.7339 + 1.6163 + 15 * 0.7
    assert shown == {"selection": -1, "table": str(table), "milliseconds": pytest.approx(least)}


def test_a_table_of_other_layers_or_a_cell_is_refused(tmp_path: Path) -> None:
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"table.json lacks layer 1 \(stage 1, block 0 of spnas\)"):
        latency.main(["--selection", "spnasnet_100", "--table", str(tmp_path / "table.json")])
    cell = "nasbench101/0110-0001-0001-0000:maxpool3x3,conv3x3"
    with pytest.raises(SpaceError, match="latency tables are about the layers of an MBConv space"):
        latency.main(["--selection", cell, "--table", str(tmp_path / "table.json")])
