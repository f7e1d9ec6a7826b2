"""Reading a space's YAML file, with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import yaml
from pydantic import ValidationError

from configs.errors import SpaceError
from supernet.spaces.description import SpaceDescription
from supernet.spaces.mbconv import MBConvSpace

Location = tuple[int | str, ...]


def read_space(path: Path) -> MBConvSpace:
    """The MBConv space that a YAML file describes (`supernet.spaces.description` lists its keys).

    Raises:
        SpaceError: all that is wrong with the file, each with its line.
    """
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        value = yaml.SafeLoader("").construct_document(root) if root else None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpaceError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(value, dict):
        raise SpaceError(f"{path}:1: a space is a mapping of name, resolution, stem, operations, stages and head")
    try:
        return MBConvSpace(SpaceDescription.model_validate(value))
    except ValidationError as error:
        lines = dict(_lines(root))
        problems = [_explain(path, lines, problem["loc"], problem["msg"]) for problem in error.errors()]
        raise SpaceError("\n  ".join(dict.fromkeys(problems))) from error


def _lines(node: yaml.Node, location: Location = ()) -> Iterator[tuple[Location, int]]:
    """The line of every value, by its place in the document."""
    yield location, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            for place, line in _lines(child, (*location, key.value)):
                yield place, key.start_mark.line + 1 if place == (*location, key.value) else line
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _lines(child, (*location, index))


def _explain(path: Path, lines: dict[Location, int], location: Location, message: str) -> str:
    """`file:line: stages[1].stride: message`; a missing key is shown at the line of what lacks it."""
    place = location
    while place not in lines:
        place = place[:-1]
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}" if name else str(part)
    return f"{path}:{lines[place]}: {name + ': ' if name else ''}{message.removeprefix('Value error, ')}"
