"""What a search leaves behind: records of path training and picking, checkpoints of all its state, `pick.json`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from configs.schema import Config
from runtime.context import Runtime
from runtime.journal import Journal
from runtime.position import Position, StepsPerEpoch
from search.pickers import Picker
from search.prior import OperationPrior
from search.scores import ranked
from search.training import SupernetTraining, operation_frequencies
from supernet.pick import Pick, PickedArchitecture
from supernet.space import SharedSpace
from supernet.window_costed import SearchWindow


class SearchJournal(Journal):
    """The journal of train.py. The whole state of a search lies in its training and in its picker's scores."""

    def __init__(
        self,
        config: Config,
        runtime: Runtime,
        space: SharedSpace,
        training: SupernetTraining,
        prior: OperationPrior,
        steps_per_epoch: StepsPerEpoch,
    ) -> None:
        identity = {
            "job": "search",
            "encoding": config.supernet.encoding,
            "strategy": config.search.strategy,
            "window": [config.flops_minimum, config.flops_maximum],  # board and scores stay inside it
            "latency": config.latency_maximum,
            "resolutions": config.supernet.resolutions and list(config.supernet.resolutions),
            "prior": list(config.search.pre_prob) if config.search.prior == "pre_prob" else config.search.prior,
            "description": space.description.model_dump(mode="json"),
        }
        super().__init__(config, runtime, steps_per_epoch, identity)
        self.space, self.training, self.prior = space, training, prior
        self.picker_state: dict[str, Any] = {"scores": []}

    def resume(self) -> Position:
        """Restore the run that RESUME_PATH names; where to go on: the beginning for a fresh run."""
        state = self.load()
        if state is None:
            return Position(0, 0, self.steps_per_epoch)
        self.training.load_state_dict(state)
        self.prior.load_state_dict(state["prior_shares"])
        self.picker_state = state["picker"]
        return Position(state["epoch"], state["step"], self.steps_per_epoch)

    def after_step(self, position: Position, loss: Tensor, paths: Sequence[Any]) -> None:
        """Record, save and stop where it is time to."""
        self.add_loss(loss)
        if self.record_is_due(position):
            rate = self.training.optimizer.param_groups[0]["lr"]
            strategy = self.training.strategy
            frequencies = operation_frequencies(paths[: position.step + 1]) if strategy.follows_paths else {}
            self.record(position, {"train/lr": rate, **strategy.metrics(), **frequencies})

        def describe(step: int) -> str:
            return f", path {self.space.text(paths[step])}" if self.training.strategy.follows_paths else ""

        self.finish_step(position, self.training.guard, self._save, describe)

    def after_epoch(self, epoch: int) -> None:
        """Save, and say what training found good; scores of weights that have moved since are forgotten."""
        self.picker_state = {"scores": []}
        self._save(Position(epoch + 1, 0, self.steps_per_epoch))
        for best in self.training.strategy.prioritized[:1]:
            self.runtime.log(
                f"epoch {epoch + 1}: the leading path reaches {best.accuracy:.2f} % (search) "
                f"at {best.macs / 1e6:.2f} M MACs: {self.space.text(best.architecture)}"
            )
        self.finish_epoch()

    def after_generation(self, picker: Picker) -> None:
        """Record the best so far and save the picker's scores."""
        finished = Position(self.config.train.epochs, 0, self.steps_per_epoch)
        self.picker_state = picker.state_dict()
        evaluated = len(picker.scores)
        values = {"picker/best": ranked(picker.scores)[0].accuracy, "picker/evaluated": evaluated}
        self.runtime.tracker.log(finished.total + evaluated, values)
        self._save(finished, evaluated)

    def _save(self, position: Position, evaluated: int = 0) -> None:
        state = {**self.training.state_dict(), "prior_shares": self.prior.state_dict(), "picker": self.picker_state}
        self.save(state, position, evaluated)

    def write_pick(self, window: SearchWindow, picker: Picker) -> None:
        """SAVE_PATH/pick.json, and the ranking in words."""
        ranking = ranked(picker.scores)[: self.config.picker.keep]
        facts = {
            "seed": self.config.seed,
            "encoding": self.config.supernet.encoding,
            "strategy": self.config.search.strategy,
            "picker": self.config.picker.name,
            "evaluated": len(picker.scores),
            **self.finish_run(),
            **self.training.strategy.facts(),
        }
        path = self.runtime.folder / "pick.json"
        if self.runtime.world.is_main:
            pick = Pick(self.space, tuple(PickedArchitecture(**vars(scored)) for scored in ranking))
            pick.write(path, window, facts)
        self.runtime.log(f"the best of {len(picker.scores)} by accuracy on the search split, in {path}:")
        for scored in ranking:
            cost = f"{scored.macs / 1e6:8.2f} M MACs {scored.params:>12,} parameters"
            self.runtime.log(f"{scored.accuracy:6.2f} % {cost}  {self.space.text(scored.architecture)}")
