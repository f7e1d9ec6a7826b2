"""Trials of our own: the `trial.json` of retrain.py's run folders, read as the official records are."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from configs.errors import DataError
from nasbench.nasbench201.records import Record
from runtime.files import write_json_atomic
from supernet.spaces.nasbench201.cell import parse_cell

FILE = "trial.json"
SERIES = ("train_acc1es", "train_acc5es", "train_losses", "train_times")  # by epoch


def write_trial(path: Path, trial: Mapping[str, Any]) -> None:
    """Write the state of a `ResultsCount` as JSON, in which epochs are texts.

    Raises:
        StorageError: the file cannot be written.
    """
    write_json_atomic(path, trial)


def read_trial(path: Path) -> dict[str, Any]:
    """The state that `write_trial` wrote, epochs as numbers again.

    Raises:
        DataError: the file cannot be read, or is no such record.
    """
    try:
        trial = json.loads(path.read_text(encoding="utf-8"))
        return trial | {name: {int(key): value for key, value in trial[name].items()} for name in SERIES}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no trial of retrain.py ({type(error).__name__}: {error})") from error


def find_trials(folder: Path) -> list[Path]:
    """The trials anywhere in a folder, in an order that is always the same."""
    return sorted(folder.rglob(FILE))


def read_records(files: Sequence[Path]) -> list[Record]:
    """The trials as records by index; the setting is the number of epochs.

    Raises:
        DataError: a file is no trial, or two are of the same cell, data set, epochs and seed.
    """
    records: dict[int, dict[str, Any]] = {}
    origins: dict[tuple[Any, ...], Path] = {}
    for path, trial in _read_all(files):
        text, setting, key = trial["arch_config"]["arch_str"], str(trial["epochs"]), (trial["name"], int(trial["seed"]))
        index = parse_cell(text).index
        if (other := origins.setdefault((index, setting, key), path)) != path:
            raise DataError(f"{other} and {path} are trials of one cell, data set, number of epochs and seed: keep one")
        infos = records.setdefault(index, {}).setdefault(setting, {"arch_str": text, "all_results": {}})
        infos["all_results"][key] = trial
    return sorted(records.items())


def _read_all(files: Sequence[Path]) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in files:
        trial = read_trial(path)
        missing = [name for name in ("arch_config", "epochs", "name", "seed") if name not in trial]
        if missing or "arch_str" not in trial["arch_config"]:
            raise DataError(f"{path} is no trial of retrain.py: it lacks {', '.join(missing) or 'its cell'}")
        yield path, trial
