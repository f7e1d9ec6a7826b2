"""Weights from files into networks, with refusals that say what does not fit."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor, nn

from configs.errors import CheckpointError, SpaceError
from runtime.checkpoint import BEST, list_checkpoints, load_file
from supernet.catalog import Selection
from supernet.spaces.kinds import restore_space

if TYPE_CHECKING:
    from supernet.space import PlainNetwork

TRAINING_ONLY = "auxiliary."  # begins the names of weights that a network has while it is trained
LAYOUTS = {"ema": "state_dict_ema", "plain": "state_dict"}  # the first that a file has is what `auto` means


def find_weights(path: str, key: str = "RESUME_PATH") -> Path:
    """The file that a key means: itself, or a run folder's best (else newest) checkpoint.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(path)
    if os.path.isfile(path):
        return folder
    if not os.path.isdir(path):
        raise CheckpointError(f"{key}={path} is not there; name a checkpoint, or a run folder that holds some")
    inside = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found = [inside / BEST] if (inside / BEST).is_file() else list_checkpoints(inside)
    if not found:
        raise CheckpointError(f"{key}={path} holds no checkpoint (*.pth.tar)")
    return found[0]


class NetworkWeights(NamedTuple):
    """Weights of a plain network by their names, and whether they are averaged: `ema` or `plain`."""

    kind: str
    tensors: dict[str, Tensor]


def network_weights(state: Mapping[str, Any], source: str | Path, wanted: str = "auto") -> NetworkWeights:
    """The weights in a checkpoint, under any of the published layouts, without `module.`.

    Args:
        wanted: `ema` or `plain`; `auto`: averaged ones where there are some.

    Raises:
        CheckpointError: it holds no weights, none of the wanted kind, or those of a supernet.
    """
    if state.get("job") == "search":
        raise CheckpointError(
            f"{source} is a supernet of train.py, which holds many networks: train one of its pick.json with "
            "retrain.py (TRAIN.INHERIT starts from these weights), and test that"
        )
    named = {kind: value for kind, name in LAYOUTS.items() if isinstance(value := state.get(name), Mapping) and value}
    held = named or {"plain": state}
    kind = next(iter(held)) if wanted == "auto" else wanted
    if kind not in held:
        raise CheckpointError(
            f"TEST.WEIGHTS={wanted}: {source} has no {LAYOUTS[kind]}, only "
            f"{' and '.join(LAYOUTS[other] for other in named) or 'a bare mapping of weights'}; set TEST.WEIGHTS=auto"
        )
    weights = held[kind]
    if not weights or not all(isinstance(key, str) and isinstance(one, Tensor) for key, one in weights.items()):
        raise CheckpointError(f"{source} holds no weights: a mapping of names to tensors, or one under state_dict")
    return NetworkWeights(kind, {key.removeprefix("module."): value for key, value in weights.items()})


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a complete state_dict; of an auxiliary head only where the network has one.

    Raises:
        CheckpointError: keys or shapes differ; the first few are named.
    """
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    weights = {key: value for key, value in weights.items() if key in own or not key.startswith(TRAINING_ONLY)}
    given = {key: tuple(getattr(value, "shape", ())) for key, value in weights.items()}
    differences = [f"{key} is missing" for key in own if key not in given]
    differences += [f"{key} is not in this network" for key in given if key not in own]
    differences += [f"{key} is {given[key]}, not {own[key]}" for key in own if key in given and given[key] != own[key]]
    if differences:
        shown = "; ".join(differences[:3])
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        raise CheckpointError(f"{source} holds the weights of another network: {shown}{more}")
    network.load_state_dict(weights)


def stored_selection(state: Mapping[str, Any], source: str | Path) -> Selection | None:
    """The architecture that a checkpoint of retrain.py says it is; None for a file of weights only.

    Raises:
        CheckpointError: what it says is no architecture.
    """
    stored = state.get("selection")
    if stored is None:
        return None
    try:
        space = restore_space(stored["description"])
        return Selection(stored["name"], space, space.parse(stored["architecture"]))
    except (AttributeError, KeyError, TypeError, ValueError, SpaceError) as error:
        raise CheckpointError(
            f"{source} says of itself what no network is; set MODEL_SELECTION, or INPUT_ARCH and SUPERNET.SPACE"
        ) from error


def describe_selection(selection: Selection) -> dict[str, Any]:
    """What `stored_selection` reads back."""
    return {
        "name": selection.name,
        "architecture": selection.architecture.to_list(),
        "description": selection.space.description.model_dump(mode="json"),
    }


def inherit_network(path: str, selection: Selection) -> PlainNetwork:
    """The network of an architecture with the weights of a searched supernet.

    Args:
        path: a checkpoint of train.py, or its run folder.

    Raises:
        CheckpointError: no such checkpoint, or one of another space.
    """
    file = find_weights(path, "TRAIN.INHERIT")
    state = load_file(file)
    if state.get("job") != "search" or not {"description", "encoding", "state_dict"} <= state.keys():
        raise CheckpointError(f"TRAIN.INHERIT={path}: {file} is no checkpoint of a search (train.py)")
    wanted = selection.space.description.model_dump(mode="json")
    if state["description"] != {**wanted, "resolution": state["description"]["resolution"]}:  # weights have none
        raise CheckpointError(
            f"TRAIN.INHERIT={path} is a supernet of {_describe_space(state['description'])}; {selection.name} is of "
            f"{_describe_space(wanted)}"
        )
    supernet = selection.space.build_supernet(state["encoding"])
    load_weights(supernet, state["state_dict"], file)
    return selection.space.extract(supernet, selection.architecture)


def _describe_space(description: Mapping[str, Any]) -> str:
    return "space {name} at {resolution} pixels, {channels} channels, {classes} classes".format_map(description)
