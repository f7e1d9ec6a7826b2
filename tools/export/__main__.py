"""A trained network for other runtimes: `python -m tools.export --checkpoint FILE --format onnx --out model.onnx`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from runtime.files import open_atomic
from runtime.scripts import run
from runtime.seeds import make_generator
from tools.arguments import add_selection, positive, resolution
from tools.export.formats import FORMATS, INPUT, OPSET, ExportError, Run
from tools.export.network import HalfInside, Subject, read_subject

TOLERANCES = {"fp32": 1e-4, "fp16": 2e-2}  # of the largest logit
BATCHES = 1, 3  # what a file with a dynamic batch is checked with; it is traced with 2


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the network, run what was written beside PyTorch's in fp32, and keep the file only if they agree.

    Raises:
        CheckpointError, ConfigError, SpaceError: as `read_subject`.
        ExportError: a package is missing, or the file computes something else.
        StorageError: it cannot be written.
    """
    options = _parser().parse_args(arguments)
    subject = read_subject(options)
    written_as = FORMATS[options.format]
    dynamic = options.batch == "dynamic"
    example = _images(subject, 2 if dynamic else options.batch)
    batches = [_images(subject, size) for size in BATCHES] if dynamic else [example]
    with open_atomic(options.out) as file, torch.no_grad():
        network = HalfInside(subject.build()).eval() if options.precision == "fp16" else subject.build()
        file.write(written_as.write(network, example, dynamic, subject.metadata(options.precision)))
        file.flush()
        checked = _check(subject.build(), written_as.read(Path(file.name)), batches, TOLERANCES[options.precision])
    _report(options, subject, checked)


def _images(subject: Subject, count: int) -> Tensor:
    """(count, C, H, W), of normalised pixels' size."""
    return torch.randn(count, *subject.image_shape, generator=make_generator(0, "tools.export", count))


def _check(network: nn.Module, exported: Run, batches: Sequence[Tensor], tolerance: float) -> str:
    """The largest difference of a logit, in words; ExportError above the tolerance."""
    expected = torch.cat([network(images) for images in batches])
    found = torch.cat([exported(images) for images in batches])
    difference, largest = (found - expected).abs().max().item(), expected.abs().max().item()
    told = f"largest difference from PyTorch in fp32: {difference:.3g}, of logits up to {largest:.3g}"
    if not difference <= tolerance * largest:  # also where it is no number
        raise ExportError(f"{told}; allowed are {tolerance * largest:.3g} ({tolerance:g} of them), nothing was written")
    return f"{told} (allowed: {tolerance * largest:.3g})"


def _report(options: argparse.Namespace, subject: Subject, checked: str) -> None:
    shape = " x ".join(map(str, subject.image_shape))
    size = options.out.stat().st_size / 1e6
    kind = f"onnx of opset {OPSET}" if options.format == "onnx" else options.format
    network = f"{subject.selection.name} in {options.precision}, batch {options.batch} of {shape}"
    print(f"{options.out}: {network}; {kind}, {size:.1f} MB")
    print(checked)
    if subject.inputs.get("assumed"):
        print("the checkpoint does not say how its images were prepared: the defaults of docs/export.md are assumed")
    if options.format == "onnx":
        print(_for_ascend(options, subject))


def _for_ascend(options: argparse.Namespace, subject: Subject) -> str:
    """The command that makes an offline model of the file, where the CANN toolkit is installed."""
    if options.batch == "dynamic":
        return "for Ascend, atc compiles one batch size: export again with --batch N"
    shape = ",".join(map(str, (options.batch, *subject.image_shape)))
    command = {
        "framework": "5",  # ONNX
        "model": str(options.out),
        "output": str(options.out.with_suffix("")),
        "input_format": "NCHW",
        "input_shape": f"{INPUT}:{shape}",
        "soc_version": options.soc_version,
    }
    return "for Ascend: atc " + " ".join(f"--{name}={shlex.quote(value)}" for name, value in command.items())


def _batch(text: str) -> int | str:
    return text if text == "dynamic" else positive(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.export", description=__doc__)
    add_selection(parser)
    parser.add_argument("--checkpoint", required=True, help="a checkpoint, or the run folder of retrain.py")
    parser.add_argument("--format", choices=FORMATS, required=True)
    parser.add_argument("--image-size", type=resolution, help="pixels; default: what the network was trained with")
    parser.add_argument("--batch", type=_batch, default="dynamic", help="images at once, or dynamic; default: dynamic")
    parser.add_argument("--precision", choices=TOLERANCES, default="fp32", help="fp16: half weights, fp32 in and out")
    parser.add_argument("--classes", type=positive, help="default: as in the checkpoint, or the network's own")
    parser.add_argument("--channels", type=positive, help="image channels; default: likewise")
    parser.add_argument("--class-names", type=Path, help="a text file, one a line; default: as in the checkpoint")
    parser.add_argument("--soc-version", default="Ascend310P3", help="chip in the atc command; default: %(default)s")
    parser.add_argument("--out", type=Path, required=True, help="the new file")
    return parser


if __name__ == "__main__":
    run(main)
