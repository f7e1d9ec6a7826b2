"""The formats of `--format`: each writes a network as bytes, and runs the file that was written."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor, nn

from configs.errors import OnePathError
from supernet.weights import load_weights, stored_selection
from tools.export.network import HalfInside

OPSET = 11  # of ONNX: the lowest that has all these networks use, so that each atc of Ascend and older runtimes read it
INPUT, OUTPUT = "images", "logits"
Run = Callable[[Tensor], Tensor]


class ExportError(OnePathError):
    """A network cannot be exported, or what was written computes something else."""


@dataclass(frozen=True)
class Format:
    """One way of writing a network down.

    Attributes:
        write: (network, images as an example, whether the batch is dynamic, metadata) -> the file's content.
        read: the file as a function of images (B, C, H, W) -> logits (B, classes), on the CPU.
    """

    write: Callable[[nn.Module, Tensor, bool, Mapping[str, str]], bytes]
    read: Callable[[Path], Run]


@contextmanager
def _needed() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ExportError(
            f"ONNX needs {error.name}, which is not installed: pip install -r requirements-export.txt"
        ) from error


def _write_onnx(network: nn.Module, images: Tensor, dynamic: bool, metadata: Mapping[str, str]) -> bytes:
    """By torch's TorchScript exporter, which alone writes opset 11; it folds batch norm into the convolutions."""
    with _needed():
        import onnx
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated in favour of one that writes opset 18 and above
        torch.onnx.export(
            network,
            (images,),
            content,  # type: ignore[arg-type]
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_axes={INPUT: {0: "batch"}, OUTPUT: {0: "batch"}} if dynamic else None,
        )
    model = onnx.load_from_string(content.getvalue())
    onnx.helper.set_model_props(model, dict(metadata))
    onnx.checker.check_model(model, full_check=True)
    written: bytes = model.SerializeToString()
    return written


def open_onnx(model: str | bytes) -> Any:
    """An onnxruntime session of a file or its content, on the CPU with as many threads as torch has."""
    with _needed():
        import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _read_onnx(path: Path) -> Run:
    session = open_onnx(str(path))
    return lambda images: torch.from_numpy(session.run([OUTPUT], {INPUT: images.numpy()})[0])


def _write_safetensors(network: nn.Module, images: Tensor, dynamic: bool, metadata: Mapping[str, str]) -> bytes:
    """The weights under their own names, which no batch size touches; batch norm stays a layer."""
    inner = network.network if isinstance(network, HalfInside) else network
    tensors = {name: tensor.contiguous() for name, tensor in inner.state_dict().items()}
    return save_safetensors(tensors, dict(metadata))


def _read_safetensors(path: Path) -> Run:
    """A network that is built anew from what the file says of itself."""
    with safetensors.safe_open(path, "pt") as file:
        metadata = {name: json.loads(text) for name, text in file.metadata().items()}
    selection = stored_selection(metadata, path)
    assert selection is not None
    network = selection.space.build_network(selection.architecture)
    if half := metadata["precision"] == "fp16":
        network.half()
    load_weights(network, load_safetensors(path), path)
    network.eval()
    return HalfInside(network).eval() if half else network


def _write_program(network: nn.Module, images: Tensor, dynamic: bool, metadata: Mapping[str, str]) -> bytes:
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    program = torch.export.export(network, (images,), dynamic_shapes=shapes)
    content = io.BytesIO()
    torch.export.save(program, content, extra_files=dict(metadata))
    return content.getvalue()


def _read_program(path: Path) -> Run:
    logging.getLogger("torch.export").setLevel(logging.ERROR)  # it warns of names that do not end in .pt2
    with path.open("rb") as file:
        return torch.export.load(io.BytesIO(file.read())).module()


FORMATS = {
    "onnx": Format(_write_onnx, _read_onnx),
    "safetensors": Format(_write_safetensors, _read_safetensors),
    "torch-export": Format(_write_program, _read_program),
}
