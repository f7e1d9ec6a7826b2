"""What is exported: a network with its weights, and what a user of it must know of its inputs."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from configs.errors import CheckpointError, ConfigError
from configs.schema import Data
from data.datasets import IMAGENET
from runtime.checkpoint import load_file
from supernet.catalog import Selection, select
from supernet.weights import (
    describe_selection,
    find_weights,
    load_weights,
    network_weights,
    stored_selection,
)


class HalfInside(nn.Module):
    """A network in half precision between fp32 images (B, C, H, W) and fp32 logits (B, classes)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images.half())
        return logits.float()


@dataclass(frozen=True)
class Subject:
    """A network to export, with what its file says of it.

    Attributes:
        weights: by name, in fp32.
        inputs: class names under `classes` (None: not known), and how an image becomes pixels: `size`, `crop_fraction`,
            `interpolation`, `mean`, `std`; `assumed` where the checkpoint does not say it.
    """

    selection: Selection
    weights: Mapping[str, Tensor]
    inputs: Mapping[str, Any]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        space = self.selection.space
        return space.channels, space.resolution, space.resolution

    def build(self) -> nn.Module:
        """The network in eval mode, in fp32."""
        network = self.selection.space.build_network(self.selection.architecture)
        network.load_state_dict(dict(self.weights))
        return network.eval()

    def metadata(self, precision: str) -> dict[str, str]:
        """JSON texts by name: `selection`, `inputs`, `precision`."""
        stored = {"selection": describe_selection(self.selection), "inputs": self.inputs, "precision": precision}
        return {name: json.dumps(value, ensure_ascii=False) for name, value in stored.items()}


def read_subject(options: argparse.Namespace) -> Subject:
    """The network that `--selection` names, or the checkpoint itself, with the checkpoint's weights.

    Raises:
        CheckpointError: the checkpoint is missing, damaged, does not say which network it is where `--selection` does
            not either, or holds the weights of another one.
        ConfigError, SpaceError: the selection is not known, or the file of class names does not fit.
    """
    path = find_weights(options.checkpoint, "--checkpoint")
    state = load_file(path)
    weights = network_weights(state, path).tensors
    selection = _adapt(_choose(options, state, path), options)
    network = selection.space.build_network(selection.architecture)
    load_weights(network, weights, path)  # without those of training only
    return Subject(selection, network.state_dict(), _describe_inputs(state, selection, options.class_names))


def _choose(options: argparse.Namespace, state: Mapping[str, Any], path: Path) -> Selection:
    """What `--selection` names, fitted as the checkpoint says of itself; else what that says."""
    stored = stored_selection(state, path)
    named, input_arch = options.selection, options.input_arch
    if ".json" in str(named):
        named, input_arch = -1, named
    if named == -1 and input_arch is None:
        if stored is None:
            raise CheckpointError(f"{path} does not say which network it is: set --selection, or --input-arch")
        return stored
    selected = select(named, input_arch, options.space)
    if stored is None:
        return selected
    if (stored.space.name, stored.architecture) == (selected.space.name, selected.architecture):
        return stored
    around = stored.space
    return selected.adapted(channels=around.channels, classes=around.classes, resolution=selected.space.resolution)


def _adapt(selection: Selection, options: argparse.Namespace) -> Selection:
    space = selection.space
    return selection.adapted(
        channels=options.channels or space.channels,
        classes=options.classes or space.classes,
        resolution=options.image_size or space.resolution,
    )


def _describe_inputs(state: Mapping[str, Any], selection: Selection, class_names: Path | None) -> dict[str, Any]:
    space = selection.space
    inputs = {**(state.get("inputs") or _assume_inputs(space.channels)), "size": space.resolution}
    if class_names is None:
        return inputs
    try:
        names = class_names.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--class-names {class_names} cannot be read: {error}") from error
    if len(names) != space.classes:
        raise ConfigError(
            f"--class-names {class_names} has {len(names)} lines; the network has {space.classes} classes"
        )
    return {**inputs, "classes": names}


def _assume_inputs(channels: int) -> dict[str, Any]:
    """As the configuration's defaults have it for an image folder; grey images have no usual statistics."""
    mean, std = IMAGENET if channels == 3 else (None, None)
    data = Data()
    crop = {"crop_fraction": data.crop_fraction, "interpolation": data.interpolation}
    return {"classes": None, **crop, "mean": mean, "std": std, "assumed": True}
