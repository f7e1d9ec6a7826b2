"""Steps that were skipped because a loss or a gradient was not finite: warned of, and counted."""

from __future__ import annotations

from collections.abc import Callable, Sequence


class StepWatch:
    """Counts skipped steps in a row.

    Args:
        limit: so many are too many.
        warn: told of each.
    """

    def __init__(self, limit: int, warn: Callable[[str], None]) -> None:
        self.limit, self.warn = limit, warn
        self._row = 0
        self._first = ""

    def add(self, faults: Sequence[bool], describe: Callable[[int], str]) -> str:
        """Steps since the last call; what describes the first of a row that is too long by now, else ''.

        Args:
            faults: whether each step was skipped, in order.
            describe: names a step of `faults` by its place there.
        """
        for place, fault in enumerate(faults):
            self._row = self._row + 1 if fault else 0
            if fault:
                name = describe(place)
                self._first = name if self._row == 1 else self._first
                self.warn(f"the loss or a gradient is not finite, skipped {name}")
        return self._first if self._row >= self.limit else ""
