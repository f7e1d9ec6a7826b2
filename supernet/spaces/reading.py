"""Reading a space's YAML file, with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from configs.errors import SpaceError
from supernet.spaces.description import Head, Operation, SpaceDescription, Stage, Stem
from supernet.spaces.mbconv import MBConvSpace

Location = tuple[int | str, ...]
PARTS: dict[int | str, type[BaseModel]] = {"operations": Operation, "stem": Stem, "stages": Stage, "head": Head}


def read_space(path: Path) -> MBConvSpace:
    """The MBConv space that a YAML file describes (`supernet.spaces.description` lists its keys).

    Raises:
        SpaceError: all that is wrong with the file, each with its line.
    """
    value, lines = _read_document(path)
    try:
        return MBConvSpace(SpaceDescription.model_validate(value))
    except ValidationError as error:
        faults = error.errors()
        problems = {_explain(lines, fault) for fault in faults if not _is_consequence(fault, faults)}
        raise SpaceError("\n  ".join(f"{path}:{line}: {problem}" for line, problem in sorted(problems))) from error


def _read_document(path: Path) -> tuple[dict[str, Any], dict[Location, int]]:
    """The file's mapping, and the line of each value by its place in it."""
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        places = list(_lines(root)) if root else []
        value = yaml.SafeLoader("").construct_document(root) if root else None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise SpaceError(f"{path}:{line}: this is not YAML: {error.problem}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SpaceError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(value, dict):
        raise SpaceError(f"{path}:1: a space is a mapping of name, resolution, stem, operations, stages and head")
    lines: dict[Location, int] = {}
    for place, line in places:
        if place in lines:
            raise SpaceError(f"{path}:{line}: {_name(place)}: given twice, first in line {lines[place]}")
        lines[place] = line
    return value, lines


def _lines(node: yaml.Node, location: Location = ()) -> Iterator[tuple[Location, int]]:
    """The line of every value, by its place in the document; a value of a mapping stands where its key does."""
    yield location, node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        for key, child in node.value:
            if isinstance(key, yaml.ScalarNode):
                (place, _), *inner = _lines(child, (*location, key.value))
                yield place, key.start_mark.line + 1
                yield from inner
    elif isinstance(node, yaml.SequenceNode):
        for index, child in enumerate(node.value):
            yield from _lines(child, (*location, index))


def _is_consequence(fault: Mapping[str, Any], faults: list[Any]) -> bool:
    """Whether a list is only too short because its members were refused."""
    location = fault["loc"]
    return fault["type"] == "too_short" and any(
        len(other["loc"]) > len(location) == len(other["loc"][: len(location)])
        and other["loc"][: len(location)] == location
        for other in faults
    )


def _explain(lines: Mapping[Location, int], fault: Mapping[str, Any]) -> tuple[int, str]:
    """The line, and `stages[1].stride: what is wrong`; a missing or merged key stands at the line of what lacks it."""
    location = fault["loc"] or tuple(fault.get("ctx", {}).get("location", ()))
    key = location if fault["type"] == "extra_forbidden" else _key(location)
    place = key
    while place not in lines:
        place = place[:-1]
    reason = _reason(fault, key) if key == location else f"should be the {_description(key)}"
    return lines[place], f"{_name(key)}: {reason}" if key else reason


def _reason(fault: Mapping[str, Any], key: Location) -> str:
    match fault["type"]:
        case "extra_forbidden":
            fields = _part(key).model_fields
            guess = get_close_matches(str(key[-1]).lower(), fields, 1)
            return f"unknown key; did you mean {guess[0]}?" if guess else f"unknown key; known are {', '.join(fields)}"
        case "missing":
            return f"missing; it is the {_description(key)}"
        case "too_short":
            return "should have at least one entry"
        case "model_type":
            return "should be a mapping of keys and values"
        case _:
            return fault["msg"].removeprefix("Value error, ").replace("Input should be", "should be")


def _key(location: Location) -> Location:
    """The location without what pydantic appends for each form of a key that has several (`depth`)."""
    for end, part in enumerate(location):
        if isinstance(part, str) and part not in _part(location[: end + 1]).model_fields:
            return location[:end]
    return location


def _description(key: Location) -> str | None:
    return _part(key).model_fields[str(key[-1])].description


def _part(location: Location) -> type[BaseModel]:
    """The model that the last key of a location belongs to."""
    return next((PARTS[part] for part in reversed(location[:-1]) if part in PARTS), SpaceDescription)


def _name(location: Location) -> str:
    """('stages', 1, 'stride') -> 'stages[1].stride'."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).removeprefix(".")
