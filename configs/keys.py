"""The index of configuration keys by dotted upper-case path: what each accepts, for `--help` and for error messages."""

from __future__ import annotations

import difflib
import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from configs.schema import Config, Section


@dataclass(frozen=True)
class Key:
    """One leaf of the tree."""

    path: str
    allowed: str
    default: Any
    meaning: str


@cache
def known_keys() -> dict[str, Key]:
    """Every leaf by its dotted path, in the schema's order."""
    return {
        path: Key(path, _describe(TypeAdapter(field.rebuild_annotation()).json_schema()), field.default, meaning)
        for path, field, meaning in _walk(Config)
        if _section_of(field) is None
    }


@cache
def known_sections() -> dict[str, str]:
    """Every section by its dotted path, with its explanation; the top level is ''."""
    sections = {"": Config.__doc__ or ""}
    for path, field, _ in _walk(Config):
        if section := _section_of(field):
            sections[path] = section.__doc__ or ""
    return sections


def children(section: str) -> list[str]:
    """Names of the keys and sections directly in a section."""
    paths = [*known_keys(), *filter(None, known_sections())]
    return [path.rpartition(".")[2] for path in paths if path.rpartition(".")[0] == section]


def nearest(path: str) -> str | None:
    """The known key or section that an unknown path probably means: a sibling, else one of the same name, else any."""
    known = [*known_keys(), *filter(None, known_sections())]
    path = path.upper()
    parent, _, name = path.rpartition(".")
    if parent in known_sections() and (siblings := difflib.get_close_matches(name, children(parent), 1)):
        return f"{parent}.{siblings[0]}".lstrip(".")
    namesakes = [key for key in known if key.rpartition(".")[2] == name]
    matches = difflib.get_close_matches(path, namesakes or known, 1, cutoff=0.0 if namesakes else 0.6)
    return matches[0] if matches else None


def format_help(job: str, width: int = 100) -> str:
    """The text of `--help`: usage, options, then every key of every section."""
    usage = f"""\
usage: {job}.py [--cfg FILE] [KEY.SUB=VALUE ...]

  --cfg FILE          YAML file of upper-case keys; without it configs/{job}.yaml.
                      Its key BASE names another file, relative to it, whose values it changes
  KEY.SUB=VALUE       overrides one key; the value is YAML: TRAIN.LR=1e-4  INPUT_ARCH=[[0],[3,3]]
  --print-config      print the merged configuration as YAML and exit
  --help              print this text and exit
  --local-rank N      set by torch.distributed.launch; the environment's LOCAL_RANK wins
"""
    return "\n".join([usage, *_format_sections(width)])


def _format_sections(width: int) -> Iterator[str]:
    for section, explanation in known_sections().items():
        title = f"{section or 'Top level'}: {' '.join(explanation.split())}"
        yield textwrap.fill(title.replace("`", ""), width)
        for key in known_keys().values():
            if key.path.rpartition(".")[0] == section:
                heading = f"{key.path}  ({key.allowed}; default {json.dumps(key.default)})"
                yield textwrap.fill(heading, width, initial_indent="  ", subsequent_indent="      ")
                yield textwrap.fill(key.meaning, width, initial_indent="      ", subsequent_indent="      ")
        yield ""


def _walk(section: type[Section], prefix: str = "") -> Iterator[tuple[str, FieldInfo, str]]:
    for name, field in section.model_fields.items():
        path = f"{prefix}{field.alias or name.upper()}"
        yield path, field, field.description or ""
        if subsection := _section_of(field):
            yield from _walk(subsection, f"{path}.")


def _section_of(field: FieldInfo) -> type[Section] | None:
    annotation: Any = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _describe(schema: dict[str, Any]) -> str:
    """What a JSON schema accepts, in words: `int >= 1`, `sgd | adamw`, `[float, float] or null`."""
    if "anyOf" in schema:
        return " or ".join(map(_describe, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    if schema["type"] == "array":
        fixed = schema.get("prefixItems")
        items = [_describe(item) for item in fixed] if fixed else [_describe(schema["items"]), "…"]
        return f"[{', '.join(items)}]"
    if schema["type"] == "object":
        return f"{{name: {_describe(schema['additionalProperties'])}}}"
    if "const" in schema:
        return str(schema["const"])
    names = {"string": "text", "boolean": "true | false", "integer": "int", "number": "float"}
    return " ".join([names.get(schema["type"], schema["type"]), *_bounds(schema)])


def _bounds(schema: dict[str, Any]) -> Iterable[str]:
    symbols = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    bounds = [f"{symbol} {schema[name]:g}" for name, symbol in symbols.items() if name in schema]
    return [" and ".join(bounds)] if bounds else []
