"""What a training leaves behind while it runs: records of its progress, and checkpoints that it continues from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from configs.errors import CheckpointError, TrainingError
from configs.schema import Config
from runtime.checkpoint import step_name
from runtime.context import Runtime
from runtime.environment import describe_command
from runtime.guard import GuardedStep
from runtime.interruption import Interrupted, interruption
from runtime.pace import Pace
from runtime.position import Position, StepsPerEpoch, steps_before
from runtime.progress import track
from runtime.watch import StepWatch
from runtime.world import Vote

_KEPT = ("seconds", "losses", "unrecorded_seconds", "records", "pace", "epoch", "step")
_OF_PROCESSES = ("world_size", "steps_per_epoch")  # what a finished training no longer depends on
_OUT_OF_TIME = 1  # what a process votes whose TRAIN.SECONDS are over; the signals' numbers are larger, and win


Batch = TypeVar("Batch", covariant=True)


class Loader(Protocol[Batch]):
    """What gives the batches of an epoch."""

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches from a step on."""


class Journal:
    """The part that search and retraining share.

    Args:
        identity: what must agree for a checkpoint to be continued, as plain values; kept in every checkpoint.

    Attributes:
        stopped: where TRAIN.SECONDS were over, the next step to take; else None.
    """

    def __init__(
        self, config: Config, runtime: Runtime, steps_per_epoch: StepsPerEpoch, identity: Mapping[str, Any]
    ) -> None:
        self.runtime, self.settings, self.config = runtime, config.runtime, config
        self.images_per_step = config.train.batch_size * config.train.accumulation * runtime.world.size
        self.steps_per_epoch, self.epochs = steps_per_epoch, config.train.epochs
        self.pace = Pace(runtime.device, self.images_per_step, steps_per_epoch)
        self.identity = {
            **identity,
            "seed": config.seed,
            "world_size": runtime.world.size,
            "steps_per_epoch": int(steps_per_epoch) if steps_per_epoch.denominator == 1 else str(steps_per_epoch),
        }
        self.stopped: Position | None = None
        self._losses: list[Tensor] = []  # since the last record, kept on the device
        self._recorded = self._started = time.monotonic()
        self._seconds_before = 0.0
        warn = runtime.logger.warning if runtime.world.is_main else runtime.logger.debug
        self._watch = StepWatch(config.train.max_bad_steps, warn)
        self._vote = Vote(runtime.world)

    def walk(self, loader: Loader[Batch], epoch: int, resumed: Position) -> Iterator[tuple[Position, Batch]]:
        """An epoch's batches with their positions, shown as progress; the resumed epoch goes on where it stopped.

        At its end the speed of the epoch is told and recorded. It ends early where TRAIN.SECONDS are over.

        From here to `finish_epoch`, SIGINT and SIGTERM wait for the end of a step, or of the epoch.
        """
        if self.stopped:
            return
        interruption.held = True
        first = resumed.step if epoch == resumed.epoch else 0
        name = f"epoch {epoch + 1}/{self.epochs}"
        batches = self.pace.through(loader.epoch(epoch, first))
        if not self._losses:  # else the resumed process has taken over a record that was begun
            self._recorded = time.monotonic()
        steps = steps_before(epoch + 1, self.steps_per_epoch) - steps_before(epoch, self.steps_per_epoch)
        shown = track(batches, steps, name, "steps", self.runtime.world.is_main, completed=first)
        for step, batch in enumerate(shown, first):
            yield Position(epoch, step, self.steps_per_epoch), batch
            if self.stopped:
                break
        if self.stopped:
            self.pace.finish_epoch(self.runtime.world)
            self.finish_epoch()
        else:
            self._tell_speed(epoch)

    def _tell_speed(self, epoch: int) -> None:
        speed = self.pace.finish_epoch(self.runtime.world)
        values = {f"epoch/{name}": value for name, value in vars(speed).items() if name != "steps"}
        self.runtime.tracker.log(steps_before(epoch + 1, self.steps_per_epoch), values, epoch=epoch)
        self.runtime.log(f"epoch {epoch + 1}: {speed}")

    def finish_run(self) -> dict[str, Any]:
        """Say how fast the run was; for its result: what it ran on, its speed, its seconds, its command."""
        speed = self.pace.speed
        self.runtime.log(f"FPS {speed.images_per_second:.3f}: {speed}" if speed.steps else f"FPS -: {speed}")
        return {
            "device": self.runtime.device.type,
            "processes": self.identity["world_size"],  # that trained; others may have finished
            "batch_size": self.config.train.batch_size,
            "epochs": self.epochs,
            "precision": self.runtime.precision.level,
            "torch": torch.__version__,
            "speed": speed.to_json(),
            "seconds": round(self.seconds, 1),
            "command": describe_command(),
        }

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return steps_before(self.epochs, self.steps_per_epoch)

    @property
    def seconds(self) -> float:
        """Time spent on this run, interruptions left out."""
        return self._seconds_before + time.monotonic() - self._started

    def _is_out_of_time(self, seconds: float, position: Position) -> bool:
        """Whether TRAIN.SECONDS end the run before its next step."""
        limit = self.config.train.seconds
        return bool(limit) and seconds >= limit and position.total < self.total_steps

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done within is no part of a step, nor of the rate since the last record."""
        with self.pace.paused():
            started = time.monotonic()
            yield
            self._recorded += time.monotonic() - started

    def load(self) -> dict[str, Any] | None:
        """The checkpoint that RESUME_PATH names; None for a fresh run.

        Raises:
            CheckpointError: it belongs to another run; the first difference is named.
        """
        source = self.runtime.resume
        if source is None:
            self.runtime.describe(self.config)
            self.runtime.tracker.rewind(-1)
            return None
        state = self.runtime.checkpointer.load(source)
        self._compare(state, source)
        self.runtime.describe(self.config)
        self._seconds_before = state["seconds"]
        self._losses = list(torch.tensor(state["losses"], device=self.runtime.device).unbind())
        self._recorded -= state["unrecorded_seconds"]
        self.pace.load_state_dict(state["pace"])
        interruption.saved = str(source)
        self.runtime.tracker.rewind(state["records"])
        self.runtime.log(f"continuing {source} at epoch {state['epoch'] + 1}, step {state['step']}")
        position = Position(state["epoch"], state["step"], self.steps_per_epoch)
        self.stopped = position if self._is_out_of_time(self._seconds_before, position) else None
        return state

    def _compare(self, state: Mapping[str, Any], source: Path) -> None:
        """Refuse what cannot be continued exactly; take over the counts of a training that others finished."""
        if lacking := [name for name in _KEPT if name not in state]:
            raise CheckpointError(
                f"{source} is no checkpoint of a training, or one of another version: it lacks {', '.join(lacking)}; "
                "start anew with another SAVE_PATH"
            )
        for name, value in self.identity.items():
            if state.get(name) == value or (name in _OF_PROCESSES and self._finished_by_others(state)):
                continue
            if name == "world_size":
                raise CheckpointError(_explain_processes(state, source, value))
            raise CheckpointError(
                f"{source} belongs to another run: its {name} is {state.get(name)}, this run's is {value}"
            )
        self.identity |= {name: state[name] for name in _OF_PROCESSES}
        self.steps_per_epoch = Fraction(state["steps_per_epoch"])

    def _finished_by_others(self, state: Mapping[str, Any]) -> bool:
        """Whether another number of processes took all steps: scores do not depend on how many there are."""
        return state["world_size"] != self.runtime.world.size and state["epoch"] >= self.epochs

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
            "losses": torch.stack(self._losses).tolist() if self._losses else [],
            "unrecorded_seconds": time.monotonic() - self._recorded,
            "pace": self.pace.state_dict(),
            **state,
        }
        if best:
            self.runtime.checkpointer.save_best(whole)
        else:
            self.runtime.checkpointer.save(whole, step_name(done))
            interruption.saved = str(self.runtime.checkpointer.folder / step_name(done))

    def save_is_due(self, position: Position) -> bool:
        """Whether RUNTIME.CHECKPOINT_INTERVAL asks for a checkpoint after this step (after an epoch there is one)."""
        interval = self.settings.checkpoint_interval
        return bool(interval) and (position.total + 1) % interval == 0 and not position.is_last

    def finish_step(
        self,
        position: Position,
        guard: GuardedStep,
        save: Callable[[Position], None],
        describe: Callable[[int], str] = lambda step: "",
    ) -> None:
        """Save where it is time to, or where the run stops here: then `stopped` says so, or an error does.

        A process that saw a signal tells the others, which may be a step ahead: all of them stop at the same step.

        Args:
            save: saves everything under the position of the next step.
            describe: what a step of this epoch trained.

        Raises:
            TrainingError: TRAIN.MAX_BAD_STEPS in a row were not finite.
            Interrupted: a process got SIGINT or SIGTERM.
        """
        first_bad = self._look(position, guard, describe) if self._look_is_due(position) else ""
        is_late = self._is_out_of_time(self.seconds, position.next)
        number = self._vote(interruption.number or _OUT_OF_TIME * is_late)
        is_asked = number > _OUT_OF_TIME
        if number == _OUT_OF_TIME and position.next.total < self.total_steps:
            self.stopped = position.next
        if first_bad or is_asked or self.stopped or self.save_is_due(position):
            with self.pace.paused():
                save(position.next)
        if first_bad or is_asked:
            self.runtime.world.barrier()  # a launcher ends all processes as soon as one has ended
        if first_bad:
            raise TrainingError(_explain_row(self._watch.limit, first_bad, interruption.saved))
        if is_asked:
            raise Interrupted(number)

    def _look_is_due(self, position: Position) -> bool:
        """Now and then, since it waits for the device, which on a cpu is no wait."""
        interval = min(self._watch.limit, self.settings.log_interval) if self.runtime.device.type != "cpu" else 1
        return (position.total + 1) % interval == 0 or position.is_last

    def _look(self, position: Position, guard: GuardedStep, describe: Callable[[int], str]) -> str:
        faults = guard.take_faults()
        first = position.step + 1 - len(faults)

        def name(place: int) -> str:
            step = first + place
            number = replace(position, step=step).total + 1
            return f"step {number} (batch {step + 1} of epoch {position.epoch + 1}{describe(step)})"

        return self._watch.add(faults, name)

    def finish_epoch(self) -> None:
        """The epoch is saved: stop here if a signal asked for it; from now on one ends the script at once."""
        if (number := self._vote.at_once(interruption.number)) > _OUT_OF_TIME:
            self.runtime.world.barrier()
            raise Interrupted(number)
        interruption.release()

    def add_loss(self, loss: Tensor) -> None:
        """A step is done, or queued: remember its loss, without waiting for the device."""
        self._losses.append(loss)
        self.pace.count_step()

    def record_is_due(self, position: Position) -> bool:
        """Whether there is a record after this step: each RUNTIME.LOG_INTERVAL steps, and at the end of an epoch."""
        return (position.total + 1) % self.settings.log_interval == 0 or position.is_last

    def record(self, position: Position, values: Mapping[str, float]) -> None:
        """Record the mean loss and the rate since the last record, with other values."""
        losses = torch.stack(self._losses)
        loss = losses[losses.isfinite()].mean().item()  # steps that are not finite are skipped, and warned of
        now = time.monotonic()
        rate = len(self._losses) * self.images_per_step / (now - self._recorded)
        measured = {"train/loss": loss, "train/images_per_second": rate, **values}
        with self.pace.paused():
            self.runtime.tracker.log(position.total + 1, measured, epoch=position.epoch)
        self._losses.clear()
        self._recorded = time.monotonic()


def _explain_processes(state: Mapping[str, Any], source: Path, size: int) -> str:
    trained_by = state["world_size"]
    return (
        f"{source} stands at epoch {state['epoch'] + 1}, step {state['step']} of a training by {trained_by} processes, "
        f"this run has {size}: gradients and batch-norm statistics are averages over the processes' shares of a batch, "
        f"so it would not go on exactly. Start with {trained_by} processes, or anew with another SAVE_PATH (once "
        "training is finished, any number may pick)"
    )


def _explain_row(count: int, first: str, saved: str) -> str:
    return (
        f"the loss or a gradient was not finite in {count} steps in a row, the first of them {first}. The weights are "
        f"those of before it, saved in {saved}. If images are damaged, mend them and continue with RESUME_PATH=auto; "
        "if training diverged, continue an earlier checkpoint, or start anew, with a lower TRAIN.LR, a longer "
        "TRAIN.WARMUP_EPOCHS or TRAIN.CLIP_GRADIENT"
    )
