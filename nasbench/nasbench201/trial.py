"""One trial of the table, read as the official records tell it."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np

from nasbench.nasbench201.table import Column, Group, Split

LOSS, ACCURACY, SECONDS = "-loss", "-accuracy", "-time"


class Trial:
    """One training of one architecture; never changed.

    Attributes:
        architecture: its text.
        index, place: where the trial is on the axes architecture and seed.
    """

    __slots__ = ("architecture", "group", "index", "place")

    def __init__(self, group: Group, architecture: str, index: int, place: int) -> None:
        self.group, self.architecture, self.index, self.place = group, architecture, index, place

    def read(self, name: str, epoch: int) -> dict[str, Any] | None:
        """Loss, accuracy, and seconds of the epoch and of all until then; None where the split has no such epoch."""
        split = self.group.splits.get(name)
        if split is None:
            return None
        if epoch < split.epochs - 1:
            return self._read_before(split, epoch)
        accuracy, loss, seconds, total = [read(self.index, self.place) for read in split.final]
        if accuracy != accuracy:  # NaN
            return None
        times = (seconds, total) if total == total else self._seconds(split, epoch)
        return {"iepoch": epoch, "loss": loss, "accuracy": accuracy, "cur_time": times[0], "all_time": times[1]}

    def _read_before(self, split: Split, epoch: int) -> dict[str, Any] | None:
        """`read` of an epoch that is not the last."""
        accuracy, loss = (self._value(column, epoch) for column in (split.accuracy, split.loss))
        if accuracy != accuracy:
            return None
        seconds, total = self._seconds(split, epoch)
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
        """A metric after an epoch that is not the last."""
        return np.nan if column is None or column.history is None else column.history.item(self._row, epoch)

    def _seconds(self, split: Split, epoch: int) -> tuple[float | None, float | None]:
        """Seconds of an epoch and of all until its end, added one after the other as the official package does."""
        if split.time is None:
            return None, None
        if split.time.history is None:
            seconds = np.full(epoch + 1, split.time.last[self.index, self.place])
        else:
            seconds = split.time.history[self._row, : epoch + 1]
        total = np.add.accumulate(seconds).item(-1)
        return (seconds.item(-1), total) if total == total else (None, None)

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
