"""Checkpoints that are complete or absent, load without running foreign code, are seen to be damaged, and are few."""

from __future__ import annotations

import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from configs.errors import CheckpointError
from runtime.console import logger
from runtime.files import make_folder, open_atomic, remove_leftovers
from runtime.world import World

SUFFIX = ".pth.tar"
BEST = f"best{SUFFIX}"
_ZIP = b"PK\x03\x04"
_PLAIN = (bool, int, float, str, bytes)
# what trainers of others store their settings in, beside the weights, is read as plain mappings
_SETTINGS: list[Any] = [(OrderedDict, name) for name in ("argparse.Namespace", "yacs.config.CfgNode")]
_STEP = re.compile(r"(\d+)\.pth\.tar$")


def step_name(step: int) -> str:
    """`step-00000123.pth.tar`."""
    return f"step-{step:08d}{SUFFIX}"


def list_checkpoints(folder: Path) -> list[Path]:
    """Numbered checkpoints of a checkpoint folder or a run folder, newest (largest step) first."""
    folder = folder / "checkpoints" if (folder / "checkpoints").is_dir() else folder
    return sorted((path for path in folder.glob(f"*{SUFFIX}") if _STEP.search(path.name)), key=_step, reverse=True)


def load_file(path: str | Path) -> dict[str, Any]:
    """The mapping that a `.pth.tar` file holds, on the CPU; tensors and plain values only, no code of the file runs.

    Raises:
        CheckpointError: missing, damaged, not a checkpoint, or holding other objects.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint file {path}")
    try:
        _check_records(path)
        with torch.serialization.safe_globals(_SETTINGS):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile file fails anywhere in torch's reader
        raise CheckpointError(f"{path} cannot be loaded: {_explain(error)}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path} holds a {type(state).__name__}, not the mapping of a checkpoint")
    return state


def save_file(state: Mapping[str, Any], path: str | Path) -> None:
    """Write a mapping of tensors and plain values atomically, as CPU copies.

    Raises:
        StorageError: the file cannot be written.
        TypeError: a value that `load_file` would refuse.
    """
    portable = _to_portable(state, "state")
    with open_atomic(Path(path), _count_bytes(portable)) as file:
        try:
            torch.save(portable, file)
        except RuntimeError as error:  # torch's complaint about its archive hides what the file said
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise


class Checkpointer:
    """The checkpoint folder of a run: the newest `keep` numbered checkpoints, and the best."""

    def __init__(self, folder: Path, keep: int, world: World) -> None:
        self.folder = folder
        self.keep = keep
        self.world = world

    def save(self, state: Mapping[str, Any], name: str) -> None:
        """Save under a name that ends in the step number (`step_name`), then prune; the main process only."""
        if self.world.is_main:
            self._write(state, name)
            self._prune(_step(Path(name)))

    def save_best(self, state: Mapping[str, Any]) -> None:
        """Replace the best checkpoint, which is never pruned; the main process only."""
        if self.world.is_main:
            self._write(state, BEST)

    def load(self, source: str | Path) -> dict[str, Any]:
        """The state in a file, or the newest readable one of a folder; called by all processes, which load the same.

        Raises:
            CheckpointError: there is none, or none can be loaded.
        """
        loaded: dict[Path, dict[str, Any]] = {}

        def choose() -> Path:
            path, state = _load_newest(Path(source))
            loaded[path] = state
            return path

        path = self.world.agree(choose)
        return loaded[path] if path in loaded else load_file(path)

    def _write(self, state: Mapping[str, Any], name: str) -> None:
        make_folder(self.folder)
        save_file(state, self.folder / name)

    def _prune(self, step: int) -> None:
        """Remove old checkpoints, those beyond `step` (the run went back to before them), and what crashes left."""
        paths = list_checkpoints(self.folder)
        beyond = [path for path in paths if _step(path) > step]
        for path in [*beyond, *paths[len(beyond) + self.keep :]]:
            path.unlink(missing_ok=True)
        remove_leftovers(self.folder)


def _load_newest(source: Path) -> tuple[Path, dict[str, Any]]:
    if not source.is_dir():
        return source, load_file(source)
    failures = []
    for path in list_checkpoints(source):
        try:
            state = load_file(path)
        except CheckpointError as error:
            failures.append(str(error))
            continue
        for failure in failures:
            logger.warning("%s; going back to %s", failure, path.name)
        return path, state
    if not failures:
        raise CheckpointError(f"{source} holds no checkpoint named like {step_name(123)}")
    listed = "\n  ".join(failures)
    raise CheckpointError(f"no checkpoint of {source} can be loaded; start anew with another SAVE_PATH\n  {listed}")


def _step(path: Path) -> int:
    match = _STEP.search(path.name)
    if match is None:
        raise ValueError(f"a checkpoint's name ends in its step number, such as {step_name(123)}; got {path.name}")
    return int(match[1])


def _check_records(path: Path) -> None:
    """Compare the CRC-32 of every record of torch's archive, which torch.load does not.

    Files older than torch 1.6 are no archive, and those saved with `set_crc32_options(False)` have zeros.

    Raises:
        BadZipFile: a record is damaged; whatever else zipfile raises where the archive is.
    """
    with path.open("rb") as file:
        if file.read(len(_ZIP)) != _ZIP:
            return
    with zipfile.ZipFile(path) as archive:
        checked = any(record.CRC for record in archive.infolist())
        if checked and (name := archive.testzip()):
            raise zipfile.BadZipFile(f"the checksum of {name} is wrong")


def _explain(error: Exception) -> str:
    if isinstance(error, zipfile.BadZipFile):
        return f"it is damaged or truncated ({error})"
    if named := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it asks for {named[1]}, neither a tensor nor a plain value; loading that could run code of the file"
    return f"it is damaged, truncated or not a checkpoint ({type(error).__name__})"


def _count_bytes(value: Any) -> int:
    """Bytes of the tensors in a state, which its file cannot be smaller than."""
    if isinstance(value, torch.Tensor):
        return value.nbytes
    if isinstance(value, Mapping):
        return sum(map(_count_bytes, value.values()))
    return sum(map(_count_bytes, value)) if isinstance(value, list | tuple) else 0


def _to_portable(value: Any, where: str) -> Any:
    """A copy that `weights_only` loads on any machine: CPU tensors without hidden storage, and plain containers."""
    if isinstance(value, torch.Tensor):
        tensor = value.detach().cpu()
        return tensor.clone() if tensor.untyped_storage().nbytes() != tensor.nbytes else tensor
    if isinstance(value, Mapping):
        return {_to_portable(key, where): _to_portable(item, f"{where}[{key!r}]") for key, item in value.items()}
    if isinstance(value, list | tuple):
        items = [_to_portable(item, f"{where}[{index}]") for index, item in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, np.generic):
        return value.item()
    if value is None or type(value) in _PLAIN:
        return value
    raise TypeError(f"{where} is a {type(value).__name__}; a checkpoint holds tensors and plain values")
