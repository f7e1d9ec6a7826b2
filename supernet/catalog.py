"""Every name a user may type: spaces, published networks, and what MODEL_SELECTION and INPUT_ARCH select."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch

from configs.errors import ConfigError, SpaceError
from configs.schema import Config, Section
from runtime.console import logger
from supernet.architecture import Architecture, named_resolution
from supernet.pick import Pick
from supernet.space import SearchSpace, SharedSpace
from supernet.spaces.kinds import CELL_SPACES
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.nasnet.genotype import NASNET_A
from supernet.spaces.reading import read_space

if TYPE_CHECKING:
    from supernet.space import PlainNetwork

PUBLISHED_SURROUNDINGS = Config().surroundings
InputArch: TypeAlias = Sequence[Any] | Mapping[str, Any] | str | int
"""A nested list of operation indices, a cell's `[matrix, ops]` or mapping, a text form or index, or a pick.json."""
SPACES_FOLDER = Path(__file__).parent.parent / "configs" / "spaces"


@dataclass(frozen=True)
class Published:
    """A published network: its space, its architecture as published, and its image size in pixels."""

    space: str
    architecture: str
    resolution: int


# Cream's lists as the release prints them. MODEL_SELECTION 112 is an alias of 114.
PUBLISHED: dict[str, Published] = {
    "14": Published("cream", "[[0],[3],[3,3],[3,3],[3],[3],[0]]", 64),
    "43": Published("cream", "[[0],[3],[3,1],[3,1],[3,3,3],[3,3],[0]]", 96),
    "114": Published("cream", "[[0],[3],[3,3],[3,3],[3,3,3],[3,3],[0]]", 160),
    "287": Published("cream", "[[0],[3],[3,3],[3,1,3],[3,3,3,3],[3,3,3],[0]]", 224),
    "481": Published("cream", "[[0],[3,4,3,1],[3,2,3,0],[3,3,3,1,1],[3,3,3,3],[3,3,3,3],[0]]", 224),
    "604": Published("cream", "[[0],[3,3,2,3,3],[3,2,3,2,3],[3,2,3,2,3],[3,3,2,2,3,3],[3,3,2,3,3,3],[0]]", 224),
    "spnasnet_100": Published("spnas", "[[0],[0,0,0,4],[3,0,0,0],[3,0,0,0],[3,2,2,2],[3,3,3,3],[0]]", 224),
    "nasnet_a_mobile": Published("nasnet", str(NASNET_A), 224),
}
ALIASES = {"112": "114"}
# The released child builder ignored the index in a choice stage of one block and took the stage's default; the
# published checkpoints have those shapes. A newly searched architecture honours its own index.
ONE_BLOCK_DEFAULTS = {1: 0, 2: 2, 3: 1, 4: 1, 5: 3}


@dataclass(frozen=True)
class Selection:
    """The network that a configuration selects."""

    name: str
    space: SearchSpace
    architecture: Any  # a value of the space

    def adapted(self, *, channels: int, classes: int, resolution: int) -> Selection:
        """The same architecture for a data set's channels and classes, at a resolution."""
        space = self.space.adapted(channels=channels, classes=classes, resolution=resolution)
        return Selection(self.name, space, self.architecture)


def space_names() -> list[str]:
    """The spaces that come with the project."""
    return sorted(path.stem for path in SPACES_FOLDER.glob("*.yaml"))


def build_space(name_or_path: str) -> SearchSpace:
    """A space by its name, or from a YAML file of the user's own.

    Raises:
        ConfigError: no such name or file; the message lists the names.
        SpaceError: the file describes no space; the message names the line.
    """
    return CELL_SPACES[name_or_path]() if name_or_path in CELL_SPACES else build_layered_space(name_or_path)


def build_shared_space(name_or_path: str, surroundings: Mapping[str, Section] = PUBLISHED_SURROUNDINGS) -> SharedSpace:
    """`build_space` for a search, which needs weights that architectures share, and a window of costs.

    Args:
        name_or_path: SUPERNET.SPACE.
        surroundings: as `select` takes them.

    Raises:
        SpaceError: the space has neither.
        ConfigError, SpaceError: as `build_space`; other than the published surroundings for a space without cells.
    """
    space = _surround(build_space(name_or_path), surroundings, f"SUPERNET.SPACE={name_or_path}")
    if not space.encodings:
        space.build_supernet("")
    return cast(SharedSpace, space)


def build_layered_space(name_or_path: str) -> MBConvSpace:
    """`build_space` for what is about layers.

    Raises:
        SpaceError: the space is one of cells.
        ConfigError, SpaceError: as `build_space`.
    """
    if name_or_path in CELL_SPACES:
        raise SpaceError(f"{name_or_path} has cells: give a space of layers, {', '.join(space_names())} or a YAML file")
    known = SPACES_FOLDER / f"{name_or_path}.yaml"
    path = known if name_or_path in space_names() else Path(name_or_path)
    if not os.path.isfile(path):
        raise ConfigError(
            f"there is no search space {name_or_path!r}: "
            f"give one of {', '.join(space_names())}, or the path of a YAML file"
        )
    return read_space(path)


def select(
    selection: int | str,
    input_arch: InputArch | None = None,
    space: str = "cream",
    surroundings: Mapping[str, Section] = PUBLISHED_SURROUNDINGS,
) -> Selection:
    """What MODEL_SELECTION, INPUT_ARCH and SUPERNET.SPACE select; says so where INPUT_ARCH is a published list.

    Args:
        selection: MODEL_SELECTION.
        input_arch: INPUT_ARCH.
        space: SUPERNET.SPACE.
        surroundings: by the name of a space of cells its section, of the network around a cell.

    Raises:
        ConfigError: an unknown selection (the known ones are listed), INPUT_ARCH missing or not wanted, or other than
            the published surroundings for what is no such cell.
        SpaceError: INPUT_ARCH is no architecture of the space.
    """
    chosen = _select(selection, input_arch, space)
    return Selection(chosen.name, _surround(chosen.space, surroundings, chosen.name), chosen.architecture)


def _select(selection: int | str, input_arch: InputArch | None, space: str) -> Selection:
    name = ALIASES.get(str(selection), str(selection))
    name = name.lower() if name.lower() in PUBLISHED else name
    if name == "-1":
        chosen = _select_input(input_arch, space)
        if note := compare_with_published(chosen):
            logger.info(note)
        return chosen
    if input_arch is not None:
        raise ConfigError(
            f"INPUT_ARCH is read only where MODEL_SELECTION is -1; it is {selection}: remove one of the two"
        )
    if name in PUBLISHED:
        return _select_published(name)
    family, _, text = name.partition("/")
    if family == "nasbench_macro" and text:
        macro = build_space(family)
        return Selection(name, macro, macro.parse(text))
    if family in CELL_SPACES and text:
        return _select_cell(family, text)
    cells = ["nasbench101/<hash>", "nasbench201/<architecture string or index>"]
    known = [*PUBLISHED, *ALIASES, "nasbench_macro/<8 digits>", *cells, "-1 (with INPUT_ARCH)"]
    raise ConfigError(f"MODEL_SELECTION {selection!r} is not known; the known ones are {', '.join(known)}")


def compare_with_published(selection: Selection) -> str:
    """One line where what INPUT_ARCH selects is a published list or network; "" where it is not.

    A list honours each of its indices; the released builder did not in stages of one block (`ONE_BLOCK_DEFAULTS`).
    """
    space = selection.space
    for name, published in PUBLISHED.items():
        if published.space != space.name:
            continue
        released = _select_published(name)
        fitted = released.adapted(channels=space.channels, classes=space.classes, resolution=space.resolution)
        if fitted.space.description != space.description:
            continue  # a space of the user's own under the same name
        if selection.architecture == released.architecture:
            return f"INPUT_ARCH is the network of MODEL_SELECTION={name}, published at {published.resolution} pixels"
        if str(selection.architecture) == published.architecture:
            return (
                f"INPUT_ARCH is the published {name}'s list, and each of its indices is honoured; MODEL_SELECTION="
                f"{name} builds the released network, whose one-block stages differ: {released.architecture}"
            )
    return ""


def build_network(
    selection: int | str, num_classes: int | None = None, generator: torch.Generator | None = None
) -> PlainNetwork:
    """The freshly initialised network of a selection: images (B, channels, H, W) -> logits (B, num_classes)."""
    chosen = select(selection)
    classes = num_classes or chosen.space.classes
    chosen = chosen.adapted(channels=chosen.space.channels, classes=classes, resolution=chosen.space.resolution)
    return chosen.space.build_network(chosen.architecture, generator)


def _select_published(name: str) -> Selection:
    published = PUBLISHED[name]
    space = build_space(published.space).at_resolution(published.resolution)
    architecture = space.parse(published.architecture)
    if published.space == "cream":
        architecture = _as_released(architecture)
    return Selection(name, space, architecture)


def _as_released(architecture: Architecture) -> Architecture:
    stages = tuple(
        (ONE_BLOCK_DEFAULTS[number],) if len(stage) == 1 and number in ONE_BLOCK_DEFAULTS else stage
        for number, stage in enumerate(architecture.stages)
    )
    return Architecture(architecture.space, stages)


def _select_cell(family: str, value: object) -> Selection:
    """A cell of a space by any form that it parses; NAS-Bench-101's keep the order of vertices that they have."""
    space: SearchSpace = CELL_SPACES[family]()
    cell = space.parse(value)
    return Selection(f"{family}/{space.text(cell)}", space, cell)


def _surround(space: SearchSpace, surroundings: Mapping[str, Section], selected: str) -> SearchSpace:
    for name, section in surroundings.items():
        if isinstance(space, CELL_SPACES[name]):
            space = CELL_SPACES[name](space.description.model_copy(update=section.model_dump()))
        elif changed := _changed(name, section):
            raise ConfigError(
                f"{changed} is about the network around a cell of {name}, and {selected} is none: remove it"
            )
    return space


def _changed(name: str, section: Section) -> str:
    """The keys of a section that are not the published ones, as overrides."""
    published = PUBLISHED_SURROUNDINGS[name].model_dump()
    keys = section.model_dump().items()
    return ", ".join(f"{name.upper()}.{key.upper()}={value}" for key, value in keys if value != published[key])


def _select_input(input_arch: InputArch | None, space_name: str) -> Selection:
    if input_arch is None:
        raise ConfigError(
            "MODEL_SELECTION is -1 but INPUT_ARCH is not set: "
            "give a nested list of operation indices, its text, a cell, or a pick.json"
        )
    if isinstance(input_arch, str) and ".json" in input_arch:
        return _select_picked(input_arch)
    try:
        if space_name in CELL_SPACES:
            return _select_cell(space_name, input_arch)
        space = build_space(space_name)
        architecture = space.parse(input_arch)
    except SpaceError as error:
        raise SpaceError(f"INPUT_ARCH, read as one of SUPERNET.SPACE={space_name}: {error}") from error
    return _at_own_resolution(Selection(space.text(architecture), space, architecture))


def _at_own_resolution(selection: Selection) -> Selection:
    """The selection in its space at the resolution that the architecture names, if it names one."""
    resolution = named_resolution(selection.architecture)
    if resolution is None:
        return selection
    return Selection(selection.name, selection.space.at_resolution(resolution), selection.architecture.at(None))


def _select_picked(reference: str) -> Selection:
    """`pick.json` or `pick.json#2`: the entry at a position, from 0."""
    path, _, position = reference.partition("#")
    pick = Pick.read(Path(path))
    if not (position or "0").isdecimal() or int(position or 0) >= len(pick.architectures):
        raise ConfigError(
            f"INPUT_ARCH {reference}: {path} ranks {len(pick.architectures)} architectures; "
            "write # and a number from 0 to one less, or nothing for the best"
        )
    architecture = pick.architectures[int(position or 0)].architecture
    return _at_own_resolution(Selection(pick.space.text(architecture), pick.space, architecture))
