"""What a search leaves behind while it runs: records, and checkpoints that it continues from."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from configs.errors import CheckpointError
from configs.schema import Config
from runtime.checkpoint import step_name
from runtime.context import Runtime
from search.pickers import Picker
from search.scores import ranked
from search.strategies import Position
from search.training import SupernetTraining, operation_frequencies
from supernet.architecture import Architecture
from supernet.spaces.mbconv import MBConvSpace


class SearchJournal:
    """Records metrics, saves checkpoints, and restores them: the whole state of a search lies in its training and picker."""

    def __init__(self, config: Config, runtime: Runtime, space: MBConvSpace, training: SupernetTraining) -> None:
        self.config, self.runtime, self.space, self.training = config, runtime, space, training
        self.losses: list[Tensor] = []  # since the last record, kept on the device
        self.clock = time.monotonic()
        self.scores: dict[str, Any] = {"scores": []}

    def resume(self, steps_per_epoch: int) -> Position:
        """Restore the run that RESUME_PATH names; where to go on, the beginning for a fresh run.

        Raises:
            CheckpointError: the checkpoint belongs to another space, encoding, or number of steps.
        """
        if self.runtime.resume is None:
            return Position(0, 0, steps_per_epoch)
        state = self.runtime.checkpointer.load(self.runtime.resume)
        self._refuse_other(state, steps_per_epoch)
        self.training.load_state_dict(state)
        self.scores = state["picker"]
        position = Position(state["epoch"], state["step"], steps_per_epoch)
        self.runtime.tracker.rewind(position.total + len(self.scores["scores"]))
        self.runtime.log(f"continuing {self.runtime.resume} at epoch {position.epoch + 1}, step {position.step}")
        return position

    def _refuse_other(self, state: dict[str, Any], steps_per_epoch: int) -> None:
        mine = self._identity(steps_per_epoch)
        for name, value in mine.items():
            if name not in state:
                raise CheckpointError(f"{self.runtime.resume} is no checkpoint of a search: it has no {name!r}")
            if state[name] != value:
                raise CheckpointError(
                    f"{self.runtime.resume} belongs to another search: its {name} is {state[name]}, here it is {value}"
                )

    def _identity(self, steps_per_epoch: int) -> dict[str, Any]:
        """What must agree for a checkpoint to be continued."""
        return {
            "job": "search",
            "encoding": self.config.supernet.encoding,
            "strategy": self.config.search.strategy,
            "seed": self.config.seed,
            "world_size": self.runtime.world.size,
            "steps_per_epoch": steps_per_epoch,
            "description": self.space.description.model_dump(mode="json"),
        }

    def after_step(self, position: Position, loss: Tensor, paths: Sequence[Architecture]) -> None:
        """Record and save where it is time to."""
        settings = self.config.runtime
        self.losses.append(loss)
        if (position.total + 1) % settings.log_interval == 0:
            self._record(position, paths[: position.step + 1])
        last = position.step + 1 == position.steps_per_epoch  # saved once, after the epoch's end
        if settings.checkpoint_interval and (position.total + 1) % settings.checkpoint_interval == 0 and not last:
            self.save(Position(position.epoch, position.step + 1, position.steps_per_epoch))

    def _record(self, position: Position, paths: Sequence[Architecture]) -> None:
        now = time.monotonic()
        images = len(self.losses) * self.config.train.batch_size * self.runtime.world.size
        values = {
            "train/loss": torch.stack(self.losses).mean().item(),
            "train/lr": self.training.optimizer.param_groups[0]["lr"],
            "train/images_per_second": images / (now - self.clock),
            **self.training.strategy.metrics(),
            **operation_frequencies(paths),
        }
        self.runtime.tracker.log(position.total + 1, values, epoch=position.epoch)
        self.losses.clear()
        self.clock = now

    def save(self, position: Position, picker: Picker | None = None) -> None:
        """Save everything; `position` is the next step to take. Called by all ranks."""
        scores = picker.state_dict() if picker else {"scores": []}
        state = {
            **self._identity(position.steps_per_epoch),
            "epoch": position.epoch,
            "step": position.step,
            **self.training.state_dict(),
            "picker": scores,
        }
        self.runtime.checkpointer.save(state, step_name(position.total + len(scores["scores"])))

    def after_generation(self, position: Position, picker: Picker) -> None:
        """Record the best so far and save the picker's scores."""
        scores = ranked(picker.scores)
        values = {"picker/best": scores[0].accuracy, "picker/evaluated": len(scores)}
        self.runtime.tracker.log(position.total + len(scores), values)
        self.save(position, picker)

    def log_board(self, epoch: int) -> None:
        """One line on what training found good."""
        board = self.training.strategy.prioritized
        if board:
            best = board[0]
            self.runtime.log(
                f"epoch {epoch + 1}: board of {len(board)}, best {best.accuracy:.2f} % "
                f"at {best.macs / 1e6:.2f} M MACs: {self.space.text(best.architecture)}"
            )
