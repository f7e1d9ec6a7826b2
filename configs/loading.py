"""From a YAML file and command-line overrides to the frozen `Config`, or to one error that lists all that is wrong."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from configs.documents import Entry, format_document, read_file, read_overrides
from configs.errors import ConfigError
from configs.keys import children, format_help, known_keys, known_sections, nearest
from configs.schema import Config

RECIPES = Path(__file__).resolve().parent
BASE = "BASE"


def parse_arguments(job: str, arguments: Sequence[str] | None = None, more_help: str = "") -> Config:
    """The configuration that a script's command line asks for.

    `job` (train, retrain or test) names the recipe that is read where `--cfg` is not given. `--help` and
    `--print-config` print (the first process only) and exit with status 0. The environment's LOCAL_RANK is set from
    `--local-rank` where a launcher passes only that.

    Raises:
        ConfigError: an argument, the file or an override is wrong.
    """
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--cfg", type=Path, action="append")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--print-config", action="store_true")
    parser.add_argument("--local-rank", "--local_rank", type=int)
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_intermixed_args(arguments)
    if options.local_rank is not None:
        os.environ.setdefault("LOCAL_RANK", str(options.local_rank))
    if options.help:
        _print_and_exit(f"{format_help(job)}{more_help}")
    files = options.cfg or [_shorten(RECIPES / f"{job}.yaml")]
    if len(files) > 1:
        raise ConfigError(f"--cfg is given {len(files)} times ({', '.join(map(str, files))}); merge them into one file")
    config = load_config(files[0], options.overrides)
    if job == "train":
        _refuse_for_search(config)
    if options.print_config:
        _print_and_exit(dump_config(config))
    return config


def load_config(path: str | Path | None, overrides: Iterable[str] = ()) -> Config:
    """The schema's defaults, changed by a YAML file (None: no file), then by `KEY.SUB=VALUE` overrides.

    The file's key BASE names another file, relative to its own folder, whose values it changes.

    Raises:
        ConfigError: every problem at once, one a line.
    """
    problems: list[str] = []
    entries = _read_recipe(_existing(Path(path)), problems) if path is not None else {}
    entries |= read_overrides(overrides, problems, known_keys())
    known = {key: entry for key, entry in entries.items() if key in known_keys()}
    problems += [problem for key, entry in entries.items() if (problem := _explain_stranger(key, entry))]
    try:
        config = Config.model_validate(_nest(known))
    except ValidationError as error:
        problems += _explain_invalid(error, known)
    if problems:
        raise ConfigError(problems[0] if len(problems) == 1 else _list_problems(problems))
    return config


def _read_recipe(path: Path, problems: list[str], above: tuple[Path, ...] = ()) -> dict[str, Entry]:
    """Entries of a file over those of its BASE, over those of that one's; `above` are the files that led here."""
    entries = read_file(path, problems, known_keys())
    if (entry := entries.pop(BASE, None)) is None:
        return entries
    base = _shorten((path.parent / str(entry.value)).resolve())
    if not os.path.isfile(base):
        raise ConfigError(
            f"{BASE}: {entry.value!r} ({entry.origin}) is not there; name a file, relative to {path.parent}"
        )
    above = (*above, path)
    if any(base.samefile(file) for file in above):
        raise ConfigError(f"{BASE} comes back to where it began: {' -> '.join(map(str, (*above, base)))}; remove one")
    return _read_recipe(base, problems, above) | entries


def dump_config(config: Config) -> str:
    """YAML text with upper-case keys that `load_config` reads back to an equal configuration."""
    return format_document(config.model_dump(by_alias=True))


def _refuse_for_search(config: Config) -> None:
    """Keys that train.py would otherwise leave aside without a word, though a user counts on them."""
    if config.train.accumulation > 1:
        raise ConfigError(
            f"TRAIN.ACCUMULATION={config.train.accumulation} is for retrain.py: a search takes one step for each batch "
            "of each path; set it to 1, and raise TRAIN.BATCH_SIZE or the number of processes"
        )
    if config.train.seconds or config.train.intermediate_evaluations or config.train.trial:
        raise ConfigError(
            "TRAIN.SECONDS, TRAIN.INTERMEDIATE_EVALUATIONS and TRAIN.TRIAL are for retrain.py: a search picks after "
            "its last epoch, and never reads the test split; set them to 0, null and false"
        )
    if config.runtime.compile:
        raise ConfigError(
            "RUNTIME.COMPILE is for retrain.py and test.py: a search runs another path at each step, and would compile "
            "each of them anew; set it to false"
        )


class ArgumentParser(argparse.ArgumentParser):
    """One whose errors are a user's errors."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; keys are set as KEY.SUB=VALUE, and --help lists them all")


def _print_and_exit(text: str) -> NoReturn:
    if os.environ.get("RANK", "0") == "0":
        print(text.rstrip())
    sys.exit(0)


def _shorten(path: Path) -> Path:
    """The path as a user in the present folder would write it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _existing(path: Path) -> Path:
    if os.path.isfile(path):
        return path
    if os.path.isdir(path):
        raise ConfigError(f"--cfg {path} is a folder; name the YAML file in it")
    if "=" in str(path):
        raise ConfigError(f"--cfg is followed by {path}, where the name of a YAML file belongs")
    recipes = sorted(_shorten(file) for file in RECIPES.rglob("*.yaml") if "spaces" not in file.parts)
    raise ConfigError(f"there is no configuration file {path}; recipes: {', '.join(map(str, recipes)) or 'none'}")


def _nest(entries: Mapping[str, Entry]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, entry in entries.items():
        *sections, name = path.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[name] = entry.value
    return tree


def _explain_stranger(path: str, entry: Entry) -> str | None:
    """Why an entry is not a known key; None where it is one, or an empty section."""
    if path in known_keys() or (path in known_sections() and entry.value is None):
        return None
    if path in known_sections():
        return f"{path}: {entry.value!r} ({entry.origin}) is not a section; it has the keys {', '.join(children(path))}"
    if path == BASE:
        return f"{path} belongs into a file, which --cfg names ({entry.origin})"
    guess = nearest(path)
    return f"{path}: unknown key ({entry.origin})" + (f"; did you mean {guess}?" if guess else "; see --help")


def _explain_invalid(error: ValidationError, entries: Mapping[str, Entry]) -> list[str]:
    """One message for each wrong key: a union or a list makes pydantic report the same key several times."""
    messages: dict[str, str] = {}
    for detail in error.errors():
        cause = detail.get("ctx", {}).get("error")
        path = _longest_known(detail["loc"])
        if path in entries:
            entry, allowed = entries[path], known_keys()[path].allowed
            reason = cause or f"allowed: {allowed}"
            messages.setdefault(path, f"{path}: {entry.value!r} ({entry.origin}) is not allowed; {reason}")
        else:
            messages.setdefault(path, str(cause or detail["msg"]))
    return list(messages.values())


def _longest_known(location: tuple[int | str, ...]) -> str:
    """The configuration key in a pydantic location, which goes on into list positions and union members."""
    paths = [".".join(map(str, location[:end])) for end in range(len(location), 0, -1)]
    return next((path for path in paths if path in known_keys()), "")


def _list_problems(problems: list[str]) -> str:
    return "\n  ".join([f"{len(problems)} problems in the configuration:", *problems])
