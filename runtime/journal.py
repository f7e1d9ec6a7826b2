"""What a training leaves behind while it runs: records of its progress, and checkpoints that it continues from."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from configs.errors import CheckpointError
from configs.schema import Config
from runtime.checkpoint import step_name
from runtime.context import Runtime
from runtime.progress import track


@dataclass(frozen=True)
class Position:
    """Where training stands: epoch, and step within it (from 0)."""

    epoch: int
    step: int
    steps_per_epoch: int

    @property
    def total(self) -> int:
        """Steps since the start."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def next(self) -> Position:
        """One step further, within the epoch."""
        return Position(self.epoch, self.step + 1, self.steps_per_epoch)

    @property
    def is_last(self) -> bool:
        """Whether this is the last step of its epoch."""
        return self.step + 1 == self.steps_per_epoch


Batch = TypeVar("Batch", covariant=True)


class Loader(Protocol[Batch]):
    """What gives the batches of an epoch."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches from a step on."""


class Journal:
    """The part that search and retraining share.

    Args:
        identity: what must agree for a checkpoint to be continued, as plain values; kept in every checkpoint.
    """

    def __init__(self, config: Config, runtime: Runtime, steps_per_epoch: int, identity: Mapping[str, Any]) -> None:
        self.runtime, self.settings, self.config = runtime, config.runtime, config
        self.images_per_step = config.train.batch_size * runtime.world.size
        self.steps_per_epoch, self.epochs = steps_per_epoch, config.train.epochs
        self.identity = {
            **identity,
            "seed": config.seed,
            "world_size": runtime.world.size,
            "steps_per_epoch": steps_per_epoch,
        }
        self._losses: list[Tensor] = []  # since the last record, kept on the device
        self._recorded = self._started = time.monotonic()
        self._seconds_before = 0.0

    def walk(self, loader: Loader[Batch], epoch: int, resumed: Position) -> Iterator[tuple[Position, Batch]]:
        """An epoch's batches with their positions, shown as progress; the resumed epoch goes on where it stopped."""
        first = resumed.step if epoch == resumed.epoch else 0
        name = f"epoch {epoch + 1}/{self.epochs}"
        batches = loader.epoch(epoch, first)
        shown = track(batches, self.steps_per_epoch, name, "steps", self.runtime.world.is_main, completed=first)
        for step, batch in enumerate(shown, first):
            yield Position(epoch, step, self.steps_per_epoch), batch

    @property
    def seconds(self) -> float:
        """Time spent on this run, interruptions left out."""
        return self._seconds_before + time.monotonic() - self._started

    def load(self) -> dict[str, Any] | None:
        """The checkpoint that RESUME_PATH names; None for a fresh run.

        Raises:
            CheckpointError: it belongs to another run; the first difference is named.
        """
        source = self.runtime.resume
        if source is None:
            self.runtime.describe(self.config)
            return None
        state = self.runtime.checkpointer.load(source)
        for name, value in self.identity.items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"{source} belongs to another run: its {name} is {state.get(name)}, this run's is {value}"
                )
        self.runtime.describe(self.config)
        self._seconds_before = state["seconds"]
        self.runtime.tracker.rewind(state["records"])
        self.runtime.log(f"continuing {source} at epoch {state['epoch'] + 1}, step {state['step']}")
        return state

    def save(self, state: Mapping[str, Any], position: Position, later: int = 0, best: bool = False) -> None:
        """Save a state under its position (the next step to take); `later` counts what came after training.

        Args:
            best: save it as the best instead.
        """
        done = position.total + later
        whole = {
            **self.identity,
            "epoch": position.epoch,
            "step": position.step,
            "records": done,
            "seconds": self.seconds,
            **state,
        }
        if best:
            self.runtime.checkpointer.save_best(whole)
        else:
            self.runtime.checkpointer.save(whole, step_name(done))

    def save_is_due(self, position: Position) -> bool:
        """Whether RUNTIME.CHECKPOINT_INTERVAL asks for a checkpoint after this step (after an epoch there is one)."""
        interval = self.settings.checkpoint_interval
        return bool(interval) and (position.total + 1) % interval == 0 and not position.is_last

    def add_loss(self, loss: Tensor) -> None:
        """Remember a step's loss, without waiting for the device."""
        self._losses.append(loss)

    def record_is_due(self, position: Position) -> bool:
        """Whether RUNTIME.LOG_INTERVAL asks for a record after this step."""
        return (position.total + 1) % self.settings.log_interval == 0

    def record(self, position: Position, values: Mapping[str, float]) -> None:
        """Record the mean loss and the rate since the last record, with other values."""
        now = time.monotonic()
        rate = len(self._losses) * self.images_per_step / (now - self._recorded)
        measured = {"train/loss": torch.stack(self._losses).mean().item(), "train/images_per_second": rate, **values}
        self.runtime.tracker.log(position.total + 1, measured, epoch=position.epoch)
        self._losses.clear()
        self._recorded = now
