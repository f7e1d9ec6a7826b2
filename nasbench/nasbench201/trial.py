"""One trial of the table, read as the official records tell it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.nasbench201.table import Column, Group, Split

LOSS, ACCURACY, SECONDS = "-loss", "-accuracy", "-time"


@dataclass(frozen=True, slots=True)
class Trial:
    """One training of one architecture.

    Attributes:
        architecture: its text.
        index, place: where the trial is on the axes architecture and seed.
    """

    group: Group
    architecture: str
    index: int
    place: int

    def read(self, split: str, epoch: int) -> dict[str, Any] | None:
        """Loss, accuracy, and seconds of the epoch and of all until then; None where the split has no such epoch."""
        found = self.group.splits.get(split)
        if found is None:
            return None
        accuracy = self._value(found.accuracy, epoch)
        if accuracy != accuracy:  # NaN
            return None
        loss = self._value(found.loss, epoch)
        seconds, total = self._seconds(found, epoch)
        return {"iepoch": epoch, "loss": loss, "accuracy": accuracy, "cur_time": seconds, "all_time": total}

    def state(self) -> dict[str, Any]:
        """The official record, as `ResultsCount.state_dict` gives it; there are no weights."""
        group, at = self.group, (self.index, self.place)
        names = [*group.orders[group.order.item(at)]]
        latency = group.costs["latency"].item(at)
        times = self._series("train" + SECONDS)
        top5 = self._series("train-top5")
        return {
            "name": group.dataset,
            "train_acc1es": self._series("train" + ACCURACY),
            "train_acc5es": top5 or None,
            "train_losses": self._series("train" + LOSS),
            "train_times": OrderedDict(times) if times else None,
            "arch_config": {key: self.architecture if value is None else value for key, value in group.config.items()},
            "params": group.costs["params"][at],
            "flop": group.costs["flops"].item(at),
            "seed": f"{group.seeds[self.place]:04d}",
            "epochs": group.epochs,
            "latency": None if latency != latency else [group.costs["latency"][at]],
            "eval_names": names,
            "eval_acc1es": self._named(names, ACCURACY),
            "eval_times": self._named(names, SECONDS),
            "eval_losses": self._named(names, LOSS),
            "net_state_dict": None,
        }

    def _value(self, column: Column | None, epoch: int) -> float:
        if column is None:
            return np.nan
        if epoch == self.group.epochs - 1:
            return column.last.item(self.index, self.place)
        return np.nan if column.history is None else column.history.item(self._row, epoch)

    def _seconds(self, split: Split, epoch: int) -> tuple[float | None, float | None]:
        """Seconds of an epoch and of all until its end, added one after the other as the official package does."""
        if split.time is None:
            return None, None
        if split.time.history is None:
            seconds = split.time.last.item(self.index, self.place)
            if epoch == self.group.epochs - 1:
                total = split.totals.item(self.index, self.place)
            else:
                total = np.add.accumulate(np.full(epoch + 1, seconds)).item(-1)
        else:
            history = split.time.history[self._row, : epoch + 1]
            seconds, total = history.item(-1), np.add.accumulate(history).item(-1)
        return (seconds, total) if total == total else (None, None)

    @property
    def _row(self) -> int:
        return self.group.rows.item(self.index, self.place)

    def _series(self, metric: str) -> dict[int, float]:
        """A metric by epoch, of the epochs that it is known of."""
        column = self.group.columns.get(metric)
        if column is None:
            return {}
        if column.history is not None:
            values = column.history[self._row].tolist()
        else:
            last, count = column.last.item(self.index, self.place), self.group.epochs
            values = [last] * count if column.steady else [np.nan] * (count - 1) + [last]
        return {epoch: value for epoch, value in enumerate(values) if value == value}

    def _named(self, names: list[str], metric: str) -> dict[str, float]:
        return {f"{name}@{epoch}": value for name in names for epoch, value in self._series(name + metric).items()}
