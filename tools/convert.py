"""Published weights of others, as files of ours: `python -m tools.convert timm-spnasnet FILE --out OUT.pth.tar`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file as load_safetensors
from torch import Tensor

from configs.errors import CheckpointError, ConfigError
from runtime.checkpoint import SUFFIX, load_file, save_file
from runtime.scripts import run
from supernet.catalog import PUBLISHED, Selection, select
from supernet.weights import describe_selection, load_weights, network_weights

Weights = Mapping[str, Tensor]
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # of batch norm: no parameters


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
    """timm's `spnasnet_100`, whose names are this project's."""
    return _fit("spnasnet_100", weights, "conv_stem.weight"), weights


def _from_cream(weights: Weights) -> tuple[Selection, Weights]:
    """One of Cream's six networks, whose names are this project's: the one that has so many parameters.

    Raises:
        CheckpointError: none has.
    """
    names = [name for name, published in PUBLISHED.items() if published.space == "cream"]
    params = sum(value.numel() for name, value in weights.items() if not name.endswith(STATISTICS))
    for name in names:
        selection = _fit(name, weights, "conv_stem.weight")
        if selection.space.cost(selection.architecture).params == params:
            return selection, weights
    raise CheckpointError(f"{params:,} parameters are those of none of Cream's networks, {', '.join(names)}")


def _from_pretrainedmodels(weights: Weights) -> tuple[Selection, Weights]:
    """The public PyTorch `nasnetamobile` (Cadene's pretrainedmodels), each name become this project's."""
    renamed = {rename_nasnet(name): value for name, value in weights.items()}
    return _fit("nasnet_a_mobile", renamed, "stem.conv.weight"), renamed


NASNET_CELLS = (  # their numbers leave gaps where reduction cells stand in the large network
    *("cell_stem_0", "cell_stem_1", "cell_0", "cell_1", "cell_2", "cell_3", "reduction_cell_0"),
    *("cell_6", "cell_7", "cell_8", "cell_9", "reduction_cell_1", "cell_12", "cell_13", "cell_14", "cell_15"),
)
NASNET_NAMES = {  # of a name's beginning, after the cell's
    r"conv0\.conv\.": "stem.conv.",
    r"conv0\.bn\.": "stem.norm.",
    r"last_linear\.": "classifier.",
    r"(cells\.\d+)\.conv_1x1\.conv\.": r"\1.current.conv.",
    r"(cells\.\d+)\.conv_1x1\.bn\.": r"\1.current.norm.",
    r"(cells\.\d+)\.conv_prev_1x1\.conv\.": r"\1.previous.conv.",
    r"(cells\.\d+)\.conv_prev_1x1\.bn\.": r"\1.previous.norm.",
    r"(cells\.\d+)\.path_1\.conv\.": r"\1.previous.even.",
    r"(cells\.\d+)\.path_2\.conv\.": r"\1.previous.odd.",
    r"(cells\.\d+)\.final_path_bn\.": r"\1.previous.norm.",
    r"(cells\.\d+)\.comb_iter_(\d)_left\.": r"\1.pairs.\2.0.",
    r"(cells\.\d+)\.comb_iter_(\d)_right\.": r"\1.pairs.\2.1.",
}


def rename_nasnet(name: str) -> str:
    """The name here of one of `nasnetamobile`'s weights; a name of another network stays as it is."""
    cell, dot, rest = name.partition(".")
    if cell in NASNET_CELLS:
        name = f"cells.{NASNET_CELLS.index(cell)}{dot}{rest}"
    for theirs, ours in NASNET_NAMES.items():
        name = re.sub(f"^{theirs}", ours, name)
    name = re.sub(r"\.separable_(\d)\.(depthwise|pointwise)_conv2d\.", r".\2_\1.", name)
    return re.sub(r"\.bn_sep_(\d)\.", r".norm_\1.", name)


def _fit(name: str, weights: Weights, stem: str) -> Selection:
    """A published network for the classes and channels that its weights were trained on."""
    selection = select(name)
    shapes = {key: weights[key].shape for key in ("classifier.weight", stem) if key in weights}
    if [len(shape) for shape in shapes.values()] != [2, 4]:
        return selection  # another network, as a comparison of all names will say
    (classes, _), (_, channels, *_) = shapes.values()
    return selection.adapted(channels=channels, classes=classes, resolution=selection.space.resolution)


KINDS: dict[str, Callable[[Weights], tuple[Selection, Weights]]] = {
    "cream": _from_cream,
    "nasnet-mobile": _from_pretrainedmodels,
    "timm-spnasnet": _from_timm,
}
"""How each published layout becomes a network and its weights."""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tools.convert", description=__doc__)
    parser.add_argument(
        "kind",
        choices=KINDS,
        help="whose weights they are: Cream's released ones, the public PyTorch nasnetamobile, timm's spnasnet_100",
    )
    parser.add_argument("file", type=Path, help=".pth, .pth.tar or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help=f"the new file, *{SUFFIX}")
    return parser


if __name__ == "__main__":
    run(main)
