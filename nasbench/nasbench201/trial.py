"""One trial of the table, read as the official records tell it."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np

from nasbench.nasbench201.table import Group

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
        accuracy = self._value(split + ACCURACY, epoch)
        if accuracy != accuracy:  # NaN
            return None
        seconds, total = self._seconds(split, epoch)
        loss = self._value(split + LOSS, epoch)
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

    def _value(self, metric: str, epoch: int) -> float:
        column = self.group.columns.get(metric)
        if column is None:
            return np.nan
        if epoch == self.group.epochs - 1:
            return column.last.item(self.index, self.place)
        if column.history is not None:
            return column.history.item(self.group.rows.item(self.index, self.place), epoch)
        return column.last.item(self.index, self.place) if column.steady else np.nan

    def _seconds(self, split: str, epoch: int) -> tuple[float | None, float | None]:
        """Seconds of an epoch and of all until its end, added as the official package adds them."""
        column = self.group.columns.get(split + SECONDS)
        if column is None:
            return None, None
        if column.history is None:
            seconds = column.last.item(self.index, self.place)
            all_seconds = [seconds] * (epoch + 1)
        else:
            row = self.group.rows.item(self.index, self.place)
            all_seconds = column.history[row, : epoch + 1].tolist()
            seconds = all_seconds[epoch]
        total = sum(all_seconds)
        return (seconds, total) if total == total else (None, None)

    def _series(self, metric: str) -> dict[int, float]:
        """A metric by epoch, of the epochs that it is known of."""
        column = self.group.columns.get(metric)
        if column is None:
            return {}
        if column.history is not None:
            values = column.history[self.group.rows.item(self.index, self.place)].tolist()
        else:
            last, count = column.last.item(self.index, self.place), self.group.epochs
            values = [last] * count if column.steady else [np.nan] * (count - 1) + [last]
        return {epoch: value for epoch, value in enumerate(values) if value == value}

    def _named(self, names: list[str], metric: str) -> dict[str, float]:
        return {f"{name}@{epoch}": value for name in names for epoch, value in self._series(name + metric).items()}
