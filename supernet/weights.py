"""Weights from files into networks, with refusals that say what does not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from configs.errors import CheckpointError
from runtime.checkpoint import BEST, list_checkpoints, load_file
from supernet.catalog import Selection
from supernet.networks.plain import MBConvNetwork
from supernet.spaces.description import SpaceDescription
from supernet.spaces.mbconv import MBConvSpace


def find_weights(path: str) -> Path:
    """The file that RESUME_PATH means: itself, or a run folder's best (else newest) checkpoint.

    Raises:
        CheckpointError: there is none.
    """
    folder = Path(path)
    if not folder.is_dir():
        return folder
    inside = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    found = [inside / BEST] if (inside / BEST).is_file() else list_checkpoints(inside)
    if not found:
        raise CheckpointError(f"{path} holds no checkpoint (*.pth.tar)")
    return found[0]


def network_weights(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The weights in a checkpoint: averaged ones first, under any of the published layouts, without `module.`."""
    weights = state.get("state_dict_ema") or state.get("state_dict") or state
    return {key.removeprefix("module."): value for key, value in weights.items()}


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Load a complete state_dict.

    Raises:
        CheckpointError: keys or shapes differ; the first few are named.
    """
    own = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(getattr(value, "shape", ())) for key, value in weights.items()}
    differences = [f"{key} is missing" for key in own if key not in given]
    differences += [f"{key} is not in this network" for key in given if key not in own]
    differences += [f"{key} is {given[key]}, not {own[key]}" for key in own if key in given and given[key] != own[key]]
    if differences:
        shown = "; ".join(differences[:3])
        more = f" (and {len(differences) - 3} more)" if len(differences) > 3 else ""
        raise CheckpointError(f"{source} holds the weights of another network: {shown}{more}")
    network.load_state_dict(dict(weights))


def stored_selection(state: Mapping[str, Any]) -> Selection | None:
    """The architecture that a checkpoint of retrain.py says it is; None for a file of weights only."""
    stored = state.get("selection")
    if stored is None:
        return None
    space = MBConvSpace(SpaceDescription.model_validate(stored["description"]))
    return Selection(stored["name"], space, space.parse(stored["architecture"]))


def describe_selection(selection: Selection) -> dict[str, Any]:
    """What `stored_selection` reads back."""
    return {
        "name": selection.name,
        "architecture": selection.architecture.to_list(),
        "description": selection.space.description.model_dump(mode="json"),
    }


def inherit_network(path: str, selection: Selection) -> MBConvNetwork:
    """The network of an architecture with the weights of a searched supernet.

    Args:
        path: a checkpoint of train.py, or its run folder.

    Raises:
        CheckpointError: no such checkpoint, or one of another space.
    """
    file = find_weights(path)
    state = load_file(file)
    if state.get("job") != "search":
        raise CheckpointError(f"TRAIN.INHERIT={path}: {file} is no checkpoint of a search (train.py)")
    if state["description"] != selection.space.description.model_dump(mode="json"):
        raise CheckpointError(
            f"TRAIN.INHERIT={path}: its space is {state['description']['name']} at "
            f"{state['description']['resolution']} pixels with {state['description']['classes']} classes, not that of "
            f"{selection.name}"
        )
    supernet = selection.space.build_supernet(state["encoding"])
    supernet.load_state_dict(state["state_dict"])
    return selection.space.extract(supernet, selection.architecture)
