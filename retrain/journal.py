"""What a retraining leaves behind: records, checkpoints, and its result."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from configs.errors import CheckpointError
from configs.schema import Config
from retrain.training import NetworkTraining
from runtime.checkpoint import step_name
from runtime.context import Runtime
from runtime.environment import describe_command
from runtime.files import write_json_atomic
from supernet.catalog import Selection
from supernet.evaluation import Evaluation
from supernet.weights import describe_selection


class RetrainJournal:
    """Records metrics, saves the newest and the best checkpoint, and restores them."""

    def __init__(
        self, config: Config, runtime: Runtime, selection: Selection, training: NetworkTraining, steps_per_epoch: int
    ) -> None:
        self.config, self.runtime, self.selection, self.training = config, runtime, selection, training
        self.steps_per_epoch = steps_per_epoch
        self.losses: list[Tensor] = []  # since the last record, kept on the device
        self.clock = time.monotonic()
        self.best: dict[str, Any] = {}

    def resume(self) -> tuple[int, int]:
        """Restore the run that RESUME_PATH names: the epoch and step to go on from, (0, 0) for a fresh run.

        Raises:
            CheckpointError: the checkpoint belongs to another network or run.
        """
        if self.runtime.resume is None:
            return 0, 0
        state = self.runtime.checkpointer.load(self.runtime.resume)
        for name, value in self._identity().items():
            if state.get(name) != value:
                raise CheckpointError(
                    f"{self.runtime.resume} belongs to another run: its {name} is {state.get(name)}, here it is {value}"
                )
        self.training.load_state_dict(state)
        self.best = state["best"]
        epoch, step = state["epoch"], state["step"]
        self.runtime.tracker.rewind(epoch * self.steps_per_epoch + step)
        self.runtime.log(f"continuing {self.runtime.resume} at epoch {epoch + 1}, step {step}")
        return epoch, step

    def _identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be continued."""
        return {
            "job": "retrain",
            "seed": self.config.seed,
            "world_size": self.runtime.world.size,
            "steps_per_epoch": self.steps_per_epoch,
            "selection": describe_selection(self.selection),
        }

    def after_step(self, epoch: int, step: int, loss: Tensor) -> None:
        """Record and save where it is time to."""
        settings, done = self.config.runtime, epoch * self.steps_per_epoch + step + 1
        self.losses.append(loss)
        if done % settings.log_interval == 0:
            self._record(done, epoch)
        if settings.checkpoint_interval and done % settings.checkpoint_interval == 0 and step + 1 < self.steps_per_epoch:
            self._save(epoch, step + 1)

    def _record(self, done: int, epoch: int) -> None:
        now = time.monotonic()
        images = len(self.losses) * self.config.train.batch_size * self.runtime.world.size
        values = {
            "train/loss": torch.stack(self.losses).mean().item(),
            "train/lr": self.training.optimizer.param_groups[0]["lr"],
            "train/images_per_second": images / (now - self.clock),
        }
        self.runtime.tracker.log(done, values, epoch=epoch)
        self.losses.clear()
        self.clock = now

    def after_epoch(self, epoch: int, evaluation: Evaluation | None) -> None:
        """Record the accuracy on the search split (if one is held out), keep the best, save."""
        done = (epoch + 1) * self.steps_per_epoch
        improved = evaluation is None or evaluation.top1 > self.best.get("top1", -1.0)
        if evaluation:
            values = {"search/top1": evaluation.top1, "search/top5": evaluation.top5, "search/loss": evaluation.loss}
            self.runtime.tracker.log(done, values, epoch=epoch)
            self.runtime.log(f"epoch {epoch + 1}: top-1 {evaluation.top1:.2f} %, top-5 {evaluation.top5:.2f} % (search)")
        if improved:
            self.best = {"epoch": epoch + 1, **(evaluation.to_json() if evaluation else {})}
            self.runtime.checkpointer.save_best(self._state(epoch + 1, 0))
        self._save(epoch + 1, 0)

    def _save(self, epoch: int, step: int) -> None:
        self.training.synchronize()
        self.runtime.checkpointer.save(self._state(epoch, step), step_name(epoch * self.steps_per_epoch + step))

    def _state(self, epoch: int, step: int) -> dict[str, Any]:
        return {**self._identity(), "epoch": epoch, "step": step, **self.training.state_dict(), "best": self.best}

    def write_result(self) -> None:
        """SAVE_PATH/result.json: the network, its cost, and its best accuracy on the search split."""
        space, architecture = self.selection.space, self.selection.architecture
        cost = space.cost(architecture)
        result = {
            "selection": self.selection.name,
            "space": space.name,
            "architecture": architecture.to_list(),
            "resolution": space.resolution,
            "macs": cost.macs,
            "params": cost.params,
            "search": self.best,
            "seed": self.config.seed,
            "command": describe_command(),
        }
        if self.runtime.world.is_main:
            write_json_atomic(self.runtime.folder / "result.json", result)
        self.runtime.log(f"result in {self.runtime.folder / 'result.json'}; weights in checkpoints/best.pth.tar")
