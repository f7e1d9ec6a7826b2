"""Everything of a job that differs between machines, built once by its script."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from configs.errors import CheckpointError, ConfigError
from configs.loading import dump_config
from configs.schema import Config
from runtime.amp import build_precision
from runtime.checkpoint import Checkpointer, list_checkpoints
from runtime.console import make_logger
from runtime.device import memory_format
from runtime.environment import describe_environment
from runtime.files import explained, make_folder, remove_leftovers, write_json_atomic, write_text_atomic
from runtime.precision import Precision
from runtime.tracking import Tracker
from runtime.world import World, start_world, stop_world


@dataclass(frozen=True)
class Runtime:
    """Device, processes, precision, records and checkpoints of a running job.

    `resume` is what train.py and retrain.py continue from, None for a fresh run: pass it to `checkpointer.load`. Call
    `tracker.rewind` with the step that was loaded, or -1.
    """

    device: torch.device
    world: World
    precision: Precision
    tracker: Tracker
    checkpointer: Checkpointer
    folder: Path
    logger: logging.Logger
    memory_format: torch.memory_format
    resume: Path | None

    def describe(self, config: Config) -> None:
        """Make the run folder, and write config.yaml and environment.json: how to make this run again.

        Called once the run is known to start: one that is refused before leaves no trace.

        Raises:
            StorageError: they cannot be written.
        """
        if self.world.is_main:
            with explained(self.folder):
                make_folder(self.folder)
                remove_leftovers(self.folder)
            write_text_atomic(self.folder / "config.yaml", dump_config(config))
            write_json_atomic(self.folder / "environment.json", describe_environment(self.world))

    def log(self, message: str) -> None:
        """One line from the main process."""
        self.logger.info(message)


@contextmanager
def start(config: Config, job: str) -> Iterator[Runtime]:
    """The runtime of a job (train, retrain or test); its run folder SAVE_PATH is made by `Runtime.describe`.

    After an error the process group is left to `runtime.scripts.run`: closing it would make the other processes fail
    before this one has told why.

    Raises:
        ConfigError: SAVE_PATH cannot be written.
        CheckpointError: RESUME_PATH and SAVE_PATH do not fit together (train and retrain).
        DeviceError: as `start_world` and `build_precision`.
    """
    world = start_world(config.runtime)
    logger = make_logger(world.rank, world.size)
    resume = None if job == "test" else world.agree(lambda: resume_source(config))
    folder = world.agree(lambda: _try_folder(config))
    settings = config.runtime
    yield Runtime(
        device=world.device,
        world=world,
        precision=build_precision(settings, world),
        tracker=Tracker(folder, world.is_main),
        checkpointer=Checkpointer(folder / "checkpoints", settings.keep_checkpoints, world),
        folder=folder,
        logger=logger,
        memory_format=memory_format(world.device, settings.channels_last),
        resume=resume,
    )
    stop_world()


def resume_source(config: Config) -> Path | None:
    """What a training continues from: a checkpoint file, a folder of them, or None for a fresh run.

    A process group that torchrun restarted continues its own run, whatever it was started from.

    Raises:
        CheckpointError: RESUME_PATH holds no checkpoint, or a new run would mix its checkpoints with SAVE_PATH's.
    """
    own = Path(config.save_path) / "checkpoints"
    occupied = bool(list_checkpoints(own))
    restarted = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0
    if occupied and (restarted or config.resume_path == "auto"):
        return own
    if config.resume_path in ("", "auto"):
        if occupied:
            raise CheckpointError(_explain_occupied(config))
        return None
    source = Path(config.resume_path)
    if not os.path.exists(source):
        raise CheckpointError(f"RESUME_PATH={source} is not there; name a checkpoint or a run folder, or auto")
    if source.is_dir() and not list_checkpoints(source):
        raise CheckpointError(f"RESUME_PATH={source} holds no checkpoint")
    if occupied and not source.resolve().is_relative_to(Path(config.save_path).resolve()):
        raise CheckpointError(_explain_occupied(config))
    return source


def _explain_occupied(config: Config) -> str:
    return (
        f"SAVE_PATH={config.save_path} already holds the checkpoints of a run: "
        "RESUME_PATH=auto continues it, another SAVE_PATH starts anew"
    )


def _try_folder(config: Config) -> Path:
    """SAVE_PATH, after a trial where it is, or will be made."""
    folder = Path(config.save_path)
    try:
        present = next(place for place in (folder, *folder.absolute().parents) if place.exists())
        with tempfile.TemporaryFile(dir=present):  # permission bits alone do not tell of a read-only disk
            return folder
    except OSError as error:
        reason = error.strerror or error
        raise ConfigError(f"SAVE_PATH={folder} cannot be written ({reason}); choose another folder") from error
