"""SIGINT (Ctrl-C) and SIGTERM: a script that is asked to end does so quietly, losing as little as it can.

Imports nothing slow: the entry scripts call `handle_signals` before their other imports.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_REQUEST = 1.0  # seconds within which a second signal is the same request: a launcher forwards what all received
_SHOW_CURSOR = "\x1b[?25h"


class Interrupted(BaseException):
    """The script was asked to end; like KeyboardInterrupt no Exception, so that nothing on the way handles it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


class Interruption:
    """What a signal does: outside of `running` the process ends on the spot, within it `Interrupted` is raised.

    While `held`, the signal is only noted, for the training to obey at its next step. A second one never waits.
    """

    def __init__(self) -> None:
        self.number = 0  # the signal that came, 0: none
        self.saved = ""  # the checkpoint that the run can be continued from
        self.held = False
        self._running = False
        self._came = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The script's main function is at work, and there is something to clean up."""
        self._running, self.held, self.number, self.saved = True, False, 0, ""
        try:
            yield
        finally:
            self._running = False

    def release(self) -> None:
        """Let signals end the script at once again; one that was noted does so now."""
        self.held = False
        if self.number:
            raise Interrupted(self.number)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The handler of both signals."""
        again = bool(self.number)
        if again and time.monotonic() - self._came < SAME_REQUEST:
            return
        if again or not self._running:
            _end_now(number)
        self.number, self._came = number, time.monotonic()
        if not self.held:
            raise Interrupted(number)


interruption = Interruption()  # signals come to the process, not to an object


def handle_signals() -> None:
    """From now on both signals end this process quietly, with exit status 130 or 143.

    Processes that it forks (DataLoader workers) get a process group of their own: a Ctrl-C of the terminal and a
    launcher's signal to the whole group pass them by, so that this process has batches until it stops, and ends them.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interruption.on_signal)
    os.register_at_fork(after_in_child=_leave_signals_to_parent)


def _leave_signals_to_parent() -> None:
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _end_now(number: int) -> None:
    if "multiprocessing" in sys.modules:
        for child in sys.modules["multiprocessing"].active_children():
            child.terminate()
    if sys.stderr.isatty():
        sys.stderr.write(_SHOW_CURSOR)  # a live progress bar hides it
        sys.stderr.flush()
    os._exit(128 + number)
