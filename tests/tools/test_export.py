"""tools.export: what is written computes what the network does, and says what it is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors import safe_open

from configs.errors import CheckpointError, ConfigError, OnePathError, SpaceError, StorageError
from configs.loading import load_config
from configs.schema import NasBench101, NasNet
from data.loading import load_images
from runtime.world import World
from supernet.catalog import PUBLISHED, Selection, select
from supernet.weights import describe_selection
from tools.export import __main__ as export
from tools.export.formats import ExportError

MACRO = "nasbench_macro/00000012"
CELL = "nasbench101/0110-0001-0001-0000:maxpool3x3,conv3x3"
SMALL_CELL = NasBench101(STEM_FILTER_SIZE=8, NUM_STACKS=2, NUM_MODULES_PER_STACK=1)


@torch.no_grad()
def write_checkpoint(folder: Path, chosen: Selection, **facts: Any) -> Path:
    """A checkpoint of random weights and statistics."""
    generator = torch.Generator().manual_seed(1)
    network = chosen.space.build_network(chosen.architecture, generator)
    for name, tensor in network.state_dict().items():
        if tensor.ndim == 1 and tensor.is_floating_point():
            tensor.copy_((1.0 if name.endswith("var") else 0.1) + torch.rand(tensor.shape, generator=generator) / 2)
    torch.save({"state_dict": network.state_dict(), **facts}, folder / "best.pth.tar")
    return folder / "best.pth.tar"


@pytest.fixture
def digits(tmp_path: Path) -> tuple[Path, list[str]]:
    """A checkpoint as retrain.py keeps it, of a small network for digits; and how to export it."""
    data = load_config(None, ["DATA.NAME=digits", "DATA.IMAGE_SIZE=16"]).data
    images = load_images(data, 0, 28, world=World(), device=torch.device("cpu"))
    selection = select(-1, "[[1],[1,2,0],[1]]", "fashion").adapted(channels=1, classes=10, resolution=16)
    facts = {"selection": describe_selection(selection), "inputs": images.describe()}
    path = write_checkpoint(tmp_path, selection, **facts)
    return tmp_path / "network", ["--checkpoint", str(path), "--out", str(tmp_path / "network")]


def test_onnx_of_a_trained_network(digits: tuple[Path, list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    out, arguments = digits
    export.main([*arguments, "--format", "onnx"])
    printed = capsys.readouterr().out
    assert "batch dynamic of 1 x 16 x 16; onnx of opset 11" in printed
    assert "largest difference from PyTorch in fp32" in printed
    assert "export again with --batch N" in printed
    model = onnx.load(out)
    assert [entry.version for entry in model.opset_import] == [11]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    facts = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert facts["inputs"] == {
        "classes": [str(digit) for digit in range(10)],
        "size": 16,
        "crop_fraction": 1.0,
        "interpolation": "bicubic",
        "mean": [0.3053],
        "std": [0.376],
    }
    assert facts["selection"]["architecture"] == [[1], [1, 2, 0], [1]]
    export.main([*arguments, "--format", "onnx", "--batch", "2", "--precision", "fp16", "--image-size", "24"])
    printed = capsys.readouterr().out
    assert "in fp16, batch 2 of 1 x 24 x 24" in printed
    assert f"atc --framework=5 --model={out}" in printed
    assert "--input_shape=images:2,1,24,24 --soc_version=Ascend310P3" in printed
    model = onnx.load(out)
    assert {one.data_type for one in model.graph.initializer if len(one.dims) == 4} == {onnx.TensorProto.FLOAT16}
    shape = model.graph.input[0].type.tensor_type
    assert ([one.dim_value for one in shape.shape.dim], shape.elem_type) == ([2, 1, 24, 24], onnx.TensorProto.FLOAT)


def test_safetensors_say_what_they_are(digits: tuple[Path, list[str]]) -> None:
    out, arguments = digits
    export.main([*arguments, "--format", "safetensors", "--precision", "fp16"])
    with safe_open(out, "pt") as file:
        assert json.loads(file.metadata()["inputs"])["mean"] == [0.3053]
        assert file.get_tensor("conv_stem.weight").dtype == torch.float16


def test_a_cell_and_a_file_of_weights_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A named cell has the checkpoint's surroundings; weights alone have the catalog's, and names from a file."""
    cell = select(CELL, surroundings={"nasbench101": SMALL_CELL}).adapted(channels=3, classes=4, resolution=16)
    path = write_checkpoint(tmp_path, cell, selection=describe_selection(cell))
    out = tmp_path / "cell.onnx"
    common = ["--format", "onnx", "--out", str(out)]
    export.main(["--selection", CELL, "--checkpoint", str(path), "--batch", "1", *common])
    assert "batch 1 of 3 x 16 x 16" in capsys.readouterr().out
    macro = select(MACRO).adapted(channels=3, classes=4, resolution=16)
    path = write_checkpoint(tmp_path, macro)
    (tmp_path / "names.txt").write_text("chat\nchien\noiseau\npapillon\n", encoding="utf-8")
    named = ["--selection", MACRO, "--checkpoint", str(tmp_path), "--class-names", str(tmp_path / "names.txt")]
    export.main([*named, "--classes", "4", "--image-size", "16", *common])
    assert "are assumed" in capsys.readouterr().out
    facts = {entry.key: json.loads(entry.value) for entry in onnx.load(out).metadata_props}
    assert facts["inputs"]["classes"] == ["chat", "chien", "oiseau", "papillon"]
    assert facts["inputs"]["assumed"] is True


def test_an_auxiliary_head_is_left_out(tmp_path: Path) -> None:
    around = {"nasnet": NasNet(STEM="cifar", STEM_FILTERS=8, FILTERS=8, CELLS=1)}
    chosen = select("nasnet_a_mobile", surroundings=around).adapted(channels=3, classes=4, resolution=32)
    path = write_checkpoint(tmp_path, chosen, selection=describe_selection(chosen))
    state = torch.load(path, weights_only=True)
    state["state_dict"]["auxiliary.classifier.bias"] = torch.zeros(4)
    torch.save(state, path)
    export.main(["--checkpoint", str(path), "--format", "safetensors", "--out", str(tmp_path / "out")])
    with safe_open(tmp_path / "out", "pt") as file:
        assert set(file.keys()) == state["state_dict"].keys() - {"auxiliary.classifier.bias"}


def test_refusals_leave_an_older_file_alone(
    digits: tuple[Path, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, arguments = digits
    out.write_text("older")

    def refused(error: type[OnePathError], message: str, *more: str, name: str = "onnx") -> None:
        with pytest.raises(error, match=message):
            export.main([*arguments, "--format", name, *more])
        assert out.read_text() == "older"
        assert not list(tmp_path.glob(".*.tmp"))

    refused(CheckpointError, "holds the weights of another network", "--selection", "14")
    refused(CheckpointError, "holds the weights of another network", "--classes", "3", name="safetensors")
    refused(CheckpointError, "--checkpoint=.* is not there", "--checkpoint", str(tmp_path / "nowhere"))
    refused(ConfigError, "has 1 lines; the network has 10 classes", "--class-names", str(tmp_path / "network"))
    refused(SpaceError, "read as one of", "--input-arch", "[[9]]", "--space", "fashion")
    refused(ConfigError, "pick.json, which is not there", "--selection", str(tmp_path / "pick.json"))
    refused(StorageError, "cannot be written", "--out", str(tmp_path / "no folder" / "network"))
    unknown = {"state_dict": torch.load(tmp_path / "best.pth.tar")["state_dict"]}
    torch.save(unknown, tmp_path / "bare.pth.tar")
    refused(CheckpointError, "does not say which network it is", "--checkpoint", str(tmp_path / "bare.pth.tar"))
    with pytest.raises(SystemExit):
        export.main([*arguments, "--format", "onnx", "--precision", "bf16"])
    with monkeypatch.context() as patched:
        patched.setitem(export.TOLERANCES, "fp32", 0.0)
        refused(ExportError, "largest difference from PyTorch in fp32: .*nothing was written")
        patched.setitem(sys.modules, "onnx", None)
        refused(ExportError, r"needs onnx, which is not installed: pip install -r requirements-export.txt")


ENTRIES = [*PUBLISHED, "nasbench_macro/01202112", CELL]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_every_entry_in_every_format(entry: str, precision: str, tmp_path: Path) -> None:
    selection = select(entry)
    path = write_checkpoint(tmp_path, selection, selection=describe_selection(selection))
    for number, name in enumerate(export.FORMATS):
        batch = ("dynamic", "2")[(number + len(entry)) % 2]
        out = tmp_path / name
        common = ["--image-size", str(min(64, selection.space.resolution)), "--out", str(out)]
        export.main(["--checkpoint", str(path), "--format", name, "--precision", precision, "--batch", batch, *common])
        assert out.stat().st_size > 1e6
