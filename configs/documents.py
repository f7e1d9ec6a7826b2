"""YAML files and command-line overrides as flat entries that remember where each value was written.

Scalars follow YAML 1.2's core schema (`1e-4` is a number, `no` and `2026-01-31` are text), on PyYAML's
SafeLoader.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from configs.errors import ConfigError


@dataclass(frozen=True)
class Entry:
    """A value and where it was given: `file:line` or `command line`."""

    value: Any
    origin: str


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own name)


class _Dumper(yaml.SafeDumper):
    """Sections as blocks, lists on one line; text is quoted where YAML 1.1 or 1.2 would read something else."""


def _represent_sequence(dumper: yaml.SafeDumper, sequence: Sequence[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", sequence, flow_style=True)


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?(0|[1-9]\d*)", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.\d+|\d+\.\d*)([eE][-+]?\d+)?|[-+]?\d+[eE][-+]?\d+|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    ("merge", r"<<", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _first)
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})$"), _first)

_Dumper.add_representer(list, _represent_sequence)
_Dumper.add_representer(tuple, _represent_sequence)


def read_file(path: Path, problems: list[str], leaves: Container[str] = ()) -> dict[str, Entry]:
    """Entries of a YAML file by dotted path; a key given twice is added to `problems`.

    Args:
        leaves: dotted paths at which a mapping is a value, not a section.

    Raises:
        ConfigError: the file cannot be read, is not YAML, or does not hold a mapping.
    """
    try:
        loader = _Loader(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    try:
        root = loader.get_single_node()
        if root is None:
            return {}
        if not isinstance(root, yaml.MappingNode):
            raise ConfigError(f"{path} must hold upper-case keys and values, such as `SEED: 0`")
        return dict(_flatten(loader, root, "", path, problems, leaves))
    except yaml.YAMLError as error:
        raise ConfigError(_explain_syntax(error, str(path))) from error


def read_overrides(overrides: Iterable[str], problems: list[str], leaves: Container[str] = ()) -> dict[str, Entry]:
    """Entries of `KEY.SUB=VALUE` texts; the last of equal keys wins, malformed ones are added to `problems`.

    Args:
        leaves: as in `read_file`.
    """
    entries: dict[str, Entry] = {}
    for override in overrides:
        path, equals, text = override.partition("=")
        if not equals or not path:
            hint = f"--cfg {override} to read a file" if Path(override).suffix in (".yaml", ".yml") else "KEY.SUB=VALUE"
            problems.append(f"{override!r} (command line) is not an override; write {hint}")
            continue
        try:
            value = yaml.load(text, _Loader) if text.strip() else ""
        except yaml.YAMLError as error:
            problems.append(_explain_syntax(error, f"{override!r} (command line)"))
            continue
        entries |= _flatten_value(path.strip(), value, leaves)
    return entries


def format_override(key: str, value: str) -> str:
    """The `KEY=VALUE` that `read_overrides` reads as this value: a number as a number, all else as text."""
    try:
        float(value)
    except ValueError:
        return f"{key}={json.dumps(value, ensure_ascii=False)}"
    return f"{key}={value}"


def format_document(tree: Mapping[str, Any]) -> str:
    """YAML text of nested mappings, in their order."""
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=100, allow_unicode=True)


def _flatten(
    loader: _Loader,
    mapping: yaml.MappingNode,
    prefix: str,
    path: Path,
    problems: list[str],
    leaves: Container[str],
) -> Iterator[tuple[str, Entry]]:
    _find_duplicates(mapping, prefix, path, problems)
    loader.flatten_mapping(mapping)
    for key_node, node in mapping.value:
        key, origin = f"{prefix}{key_node.value}", f"{path}:{key_node.start_mark.line + 1}"
        if isinstance(node, yaml.MappingNode) and key not in leaves:
            yield from _flatten(loader, node, f"{key}.", path, problems, leaves)
        else:
            yield key, Entry(loader.construct_object(node, deep=True), origin)


def _find_duplicates(mapping: yaml.MappingNode, prefix: str, path: Path, problems: list[str]) -> None:
    lines: dict[str, int] = {}
    for node, _ in mapping.value:
        line = node.start_mark.line + 1
        if not isinstance(node, yaml.ScalarNode):
            raise ConfigError(f"{path}:{line}: a key must be a plain word, not a list or a mapping")
        if node.value in lines:
            first = f"{path}:{lines[node.value]}"
            problems.append(f"{prefix}{node.value}: given twice ({first} and {path}:{line}); keep one")
        lines[node.value] = line


def _flatten_value(path: str, value: Any, leaves: Container[str]) -> dict[str, Entry]:
    if not isinstance(value, dict) or path in leaves:
        return {path: Entry(value, "command line")}
    entries: dict[str, Entry] = {}
    for key, item in value.items():
        entries |= _flatten_value(f"{path}.{key}", item, leaves)
    return entries


def _explain_syntax(error: yaml.YAMLError, source: str) -> str:
    mark = getattr(error, "problem_mark", None)
    line = f":{mark.line + 1}" if mark and not source.endswith(")") else ""
    problem = getattr(error, "problem", None) or error
    hint = "; indent with blanks, not with tabs" if r"'\t'" in str(problem) else ""
    return f"{source}{line}: not valid YAML: {problem}{hint}"
