"""The arguments of the training scripts in Ascend's model zoo, as retrain.py takes them: one table, read into keys."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from configs.documents import format_override
from configs.errors import ConfigError
from configs.loading import RECIPES, ArgumentParser

LOCAL = "127.0.0.1"


@dataclass(frozen=True)
class Argument:
    """An argument, what it means, and the keys that it sets; `{}` in a value stands for what the user wrote."""

    name: str
    meaning: str
    keys: Mapping[str, str] = field(default_factory=dict)
    alias: str = ""
    change: Callable[[str], str] = str
    is_switch: bool = False

    @property
    def spellings(self) -> list[str]:
        """The argument and its alias, with hyphens and with underscores."""
        names = [name.lstrip("-") for name in (self.name, self.alias) if name]
        forms = (form for name in names for form in (name, name.replace("_", "-"), name.replace("-", "_")))
        return [f"--{form}" for form in dict.fromkeys(forms)]


HALF = {"RUNTIME.DTYPE": "float16"}
ARGUMENTS = (  # of two that set the same key, the later one counts
    Argument("--data", "folder with train/<class>/ and val/<class>/", {"DATA.PATH": "{}"}),
    Argument("--arch", "the network, in upper or lower case", {"MODEL_SELECTION": "{}"}, change=str.lower),
    Argument("--workers", "data loading processes, for each device", {"DATA.WORKERS": "{}"}),
    Argument("--epochs", "passes over the training images", {"TRAIN.EPOCHS": "{}"}, alias="--epoch"),
    Argument("--batch-size", "images of a step, on each device", {"TRAIN.BATCH_SIZE": "{}"}),
    Argument("--lr", "peak learning rate, for the images of all devices", {"TRAIN.LR": "{}"}),
    Argument("--momentum", "momentum of SGD", {"TRAIN.MOMENTUM": "{}"}),
    Argument("--weight_decay", "weight decay", {"TRAIN.WEIGHT_DECAY": "{}"}),
    Argument("--amp", "mixed precision: O2 in float16", {"RUNTIME.PRECISION": "O2", **HALF}, is_switch=True),
    Argument("--opt-level", "O0, O1, O2 or O3", {"RUNTIME.PRECISION": "{}", **HALF}, change=str.upper),
    Argument("--loss-scale", "of float16: a number, or dynamic", {"RUNTIME.LOSS_SCALE": "{}"}),
    Argument("--multiprocessing-distributed", "start a process for each of --device-list", is_switch=True),
    Argument("--device-list", "devices of this machine, such as 0,1,2,3; of a cpu, its cores"),
    Argument("--addr", f"address of this machine at which its processes meet; default {LOCAL}"),
)
DEFAULTS = {  # as published, for whoever uses the arguments; what is not published is the recipe's
    "MODEL_SELECTION": "spnasnet_100",
    "TRAIN.OPTIMIZER": "sgd",
    "TRAIN.LR": "0.01",
    "TRAIN.MOMENTUM": "0.9",
    "TRAIN.WEIGHT_DECAY": "1e-4",
    "RUNTIME.PRECISION": "O0",
}


@dataclass(frozen=True)
class Translation:
    """A command line in this project's own terms.

    Attributes:
        arguments: `--cfg`, keys and options, for `parse_arguments`.
        devices: where processes are to be started; empty: nowhere.
        address: where they meet.
    """

    arguments: list[str]
    devices: tuple[int, ...] = ()
    address: str = LOCAL


def translate(arguments: Sequence[str]) -> Translation:
    """Turn the family's arguments into keys; keys that are written as such win.

    With any of the arguments, `DEFAULTS` hold over the recipe of the network, but not over a `--cfg` that is given.

    Raises:
        ConfigError: an argument lacks its value, or --device-list is no list of devices.
    """
    options, others = _parser().parse_known_args(arguments)
    given = vars(options)
    if not given:
        return Translation(list(arguments))
    keys = dict(DEFAULTS)
    recipe = ["--cfg", str(recipe_of(given.get("--arch", keys["MODEL_SELECTION"]).lower()))]
    if any(other.partition("=")[0] == "--cfg" for other in others):
        keys, recipe = {}, []
    for argument in ARGUMENTS:
        if argument.name in given:
            value = argument.change(given[argument.name])
            keys |= {key: text.replace("{}", value) for key, text in argument.keys.items()}
    overrides = [format_override(key, value) for key, value in keys.items()]
    return Translation([*recipe, *overrides, *others], _read_devices(given), given.get("--addr", LOCAL))


def recipe_of(selection: str) -> Path:
    """The file that retrains a MODEL_SELECTION: its own, else the common one."""
    own = RECIPES / "retrain" / f"{selection}.yaml"
    return own if own.is_file() else RECIPES / "retrain.yaml"


def format_arguments(width: int = 100) -> str:
    """The part of `--help` that tells of these arguments."""
    defaults = ", ".join(f"{key}={value}" for key, value in DEFAULTS.items())
    about = (
        "Arguments of Ascend's model zoo, with hyphens or underscores; keys may follow, and win. With any of them the "
        f"recipe is the network's own (configs/retrain/), changed by the published {defaults}; with --cfg, that file."
    )
    return "\n".join([textwrap.fill(about, width), *map(_explain, ARGUMENTS), ""])


def _explain(argument: Argument) -> str:
    usage = argument.name if argument.is_switch else f"{argument.name} VALUE"
    keys = ", ".join(key if value == "{}" else f"{key}={value}" for key, value in argument.keys.items())
    return f"  {usage:<32}{argument.meaning}" + (f" ({keys})" if keys else "")


def _parser() -> ArgumentParser:
    parser = ArgumentParser(add_help=False, allow_abbrev=False, argument_default=argparse.SUPPRESS)
    for argument in ARGUMENTS:
        kind: dict[str, Any] = {"action": "store_const", "const": ""} if argument.is_switch else {}
        parser.add_argument(*argument.spellings, dest=argument.name, **kind)
    return parser


def _read_devices(given: Mapping[str, Any]) -> tuple[int, ...]:
    """The devices to start processes on.

    Raises:
        ConfigError: they are no list of different numbers, or one of the two arguments lacks the other.
    """
    text, distributed = given.get("--device-list"), "--multiprocessing-distributed" in given
    if text is None:
        if distributed:
            raise ConfigError("--multiprocessing-distributed needs --device-list, such as 0,1,2,3,4,5,6,7")
        return ()
    numbers = [number.strip() for number in text.split(",")]
    if not all(map(str.isdecimal, numbers)) or len(set(map(int, numbers))) < len(numbers):
        raise ConfigError(f"--device-list {text!r} is not a list of different devices, such as 0,1,2,3")
    if len(numbers) > 1 and not distributed:
        raise ConfigError(f"--device-list {text} names {len(numbers)} devices: add --multiprocessing-distributed")
    return tuple(map(int, numbers))
