"""Published weights of others, as files of ours: `python -m tools.convert spnasnet_100 FILE --out OUT.pth.tar`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from configs.errors import CheckpointError, ConfigError
from runtime.checkpoint import SUFFIX, load_file, save_file
from runtime.scripts import run
from supernet.catalog import Selection, select
from supernet.weights import describe_selection, load_weights, network_weights

Weights = Mapping[str, Tensor]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write a file of weights that test.py takes as RESUME_PATH, and that says of itself which network it is.

    Raises:
        CheckpointError: the file is missing, damaged, or holds the weights of another network.
        ConfigError: the name of the new file has another suffix than checkpoints have.
        StorageError: it cannot be written.
    """
    options = _parser().parse_args(arguments)
    if not options.out.name.endswith(SUFFIX):
        raise ConfigError(f"--out {options.out}: a file of weights is called *{SUFFIX}")
    selection, weights = KINDS[options.kind](_read_weights(options.file))
    load_weights(selection.space.build_network(selection.architecture), weights, options.file)
    save_file({"state_dict": weights, "selection": describe_selection(selection)}, options.out)
    print(f"{options.file}: {len(weights)} tensors of {selection.name} for {selection.space.classes} classes")
    print(f"test them: python test.py --cfg configs/test.yaml RESUME_PATH={options.out}")


def _read_weights(path: Path) -> Weights:
    """The tensors of a safetensors file or of anything that torch saved."""
    if path.suffix != ".safetensors":
        return network_weights(load_file(path), path).tensors
    try:
        return load_safetensors(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} cannot be loaded: {error}") from error


def _from_timm(weights: Weights) -> tuple[Selection, Weights]:
    """timm's `spnasnet_100`, whose names are this project's; for the classes and channels that it was trained on."""
    selection = select("spnasnet_100")
    shapes = {name: weights[name].shape for name in ("classifier.weight", "conv_stem.weight") if name in weights}
    if [len(shape) for shape in shapes.values()] != [2, 4]:
        return selection, weights  # another network, as a comparison of all names will say
    (classes, _), (_, channels, *_) = shapes["classifier.weight"], shapes["conv_stem.weight"]
    return selection.adapted(channels=channels, classes=classes, resolution=selection.space.resolution), weights


KINDS: dict[str, Callable[[Weights], tuple[Selection, Weights]]] = {"spnasnet_100": _from_timm}
"""How each published layout becomes a network and its weights."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.convert", description=__doc__)
    parser.add_argument(
        "kind", choices=KINDS, help="whose weights they are: spnasnet_100 is timm's network of that name"
    )
    parser.add_argument("file", type=Path, help=".pth, .pth.tar or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help=f"the new file, *{SUFFIX}")
    return parser


if __name__ == "__main__":
    run(main)
