"""What a retraining leaves behind: records, the newest and the best checkpoint, `result.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from configs.schema import Config
from nasbench.nasbench201.runs import FILE, write_trial
from retrain.milestones import Milestones
from retrain.training import NetworkTraining
from retrain.trial import Trial
from runtime.context import Runtime
from runtime.files import write_json_atomic
from runtime.journal import Journal
from runtime.position import Position, StepsPerEpoch
from supernet.catalog import Selection
from supernet.cost import Cost
from supernet.evaluation import Evaluation
from supernet.spaces.nasbench101.cell import Cell
from supernet.weights import describe_selection


class RetrainJournal(Journal):
    """The journal of retrain.py.

    Args:
        inputs: class names and how images were prepared, kept in every checkpoint for tools.export.
    """

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        selection: Selection,
        training: NetworkTraining,
        steps_per_epoch: StepsPerEpoch,
        protocol: Milestones | Trial | None = None,
        inputs: Mapping[str, Any] | None = None,
    ) -> None:
        identity = {
            "job": "retrain",
            "selection": describe_selection(selection),
            "evaluated epochs": protocol and protocol.epochs,
            "auxiliary head": True if config.train.auxiliary_weight else None,
        }
        super().__init__(config, runtime, steps_per_epoch, identity)
        self.selection, self.training, self.protocol = selection, training, protocol
        self.inputs = inputs or {}
        self.best: dict[str, Any] = {}

    def resume(self) -> Position:
        """Restore the run that RESUME_PATH names; where to go on: the beginning for a fresh run, which is evaluated."""
        state = self.load()
        if state is None:
            beginning = Position(0, 0, self.steps_per_epoch)
            self._reach_milestones(beginning)
            return beginning
        self.training.load_state_dict(state)
        self.best = state["best"]
        if self.protocol:
            self.protocol.load_state_dict(state["evaluations"])
        return Position(state["epoch"], state["step"], self.steps_per_epoch)

    def after_step(self, position: Position, loss: Tensor) -> None:
        """Record, evaluate, save and stop where it is time to."""
        self.add_loss(loss)
        if self.record_is_due(position):
            self.record(position, {"train/lr": self.training.optimizer.param_groups[0]["lr"]})
        if not position.is_last:  # else `after_epoch` does
            self._reach_milestones(position.next)
        self.finish_step(position, self.training.guard, self._save)

    def after_epoch(self, epoch: int, evaluation: Evaluation | None) -> None:
        """Record the accuracy on the search split (None where no image is held out), keep the best, save."""
        finished = Position(epoch + 1, 0, self.steps_per_epoch)
        self._reach_milestones(finished)
        if evaluation:
            values = {f"search/{name}": value for name, value in evaluation.to_json().items() if name != "images"}
            self.runtime.tracker.log(finished.total, values, epoch=epoch)
            self.runtime.log(
                f"epoch {epoch + 1}: top-1 {evaluation.top1:.2f} %, top-5 {evaluation.top5:.2f} % (search)"
            )
        if evaluation is None or evaluation.top1 > self.best.get("top1", -1.0):
            self.best = {"epoch": epoch + 1, **(evaluation.to_json() if evaluation else {})}
            self._save(finished, best=True)
        self._save(finished)
        self.finish_epoch()

    def _reach_milestones(self, position: Position) -> None:
        """Make the evaluations that are due before the step at this position."""
        while self.protocol and self.protocol.is_due(position.total):
            with self.paused():
                result = self.protocol.reach(position.total, self.seconds)
            self.runtime.tracker.log(position.total, {f"milestone/{name}": value for name, value in result.items()})
            self.runtime.log(self.protocol.describe(result))

    def _save(self, position: Position, best: bool = False) -> None:
        evaluations = self.protocol.state_dict() if self.protocol else []
        facts = {"best": self.best, "evaluations": evaluations, "inputs": self.inputs}
        self.save({**self.training.state_dict(), **facts}, position, best=best)

    def write_result(self) -> None:
        """SAVE_PATH/result.json: the network, its cost, its best accuracy (search split), and how it was trained."""
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
            "seed": self.identity["seed"],
            "stopped": self._describe_stop(),
            **self._describe_evaluations(cost),
            **self.finish_run(),
        }
        if self.runtime.world.is_main:
            write_json_atomic(self.runtime.folder / "result.json", result)
        self.runtime.log(f"result in {self.runtime.folder / 'result.json'}, weights in checkpoints/best.pth.tar")

    def _describe_stop(self) -> dict[str, float] | None:
        """Where TRAIN.SECONDS ended the training; None where they did not."""
        if not self.stopped:
            return None
        done, limit = self.stopped.total, self.config.train.seconds
        self.runtime.log(f"TRAIN.SECONDS={limit:g} are over: stopped after {done} of {self.total_steps} steps")
        return {"limit_seconds": limit, "steps": done, "of_steps": self.total_steps}

    def _describe_evaluations(self, cost: Cost) -> dict[str, Any]:
        """What the protocol says; of a trial, which has a file of its own, the last evaluation."""
        if isinstance(self.protocol, Trial):
            if self.runtime.world.is_main:
                write_trial(self.runtime.folder / FILE, self.protocol.to_json(self.identity["seed"], cost))
            return {"trial": self.protocol.results[-1] if self.protocol.results else None}
        return self._describe_milestones(self.protocol, cost.params) if self.protocol else {}

    def _describe_milestones(self, milestones: Milestones, params: int) -> dict[str, Any]:
        """The evaluations, with a last one where the training was stopped; of a cell, in the published form too."""
        results = milestones.results
        if self.stopped and self.stopped.total > results[-1]["training_steps"]:
            results = [*results, milestones.evaluate(self.stopped.total, self.seconds)]
        cell = self.selection.architecture
        if not isinstance(cell, Cell):
            return {"evaluations": results}
        published = {"trainable_params": params, "total_time": self.seconds, "evaluation_results": results}
        return {"nasbench101": {cell.hash: published}}
