"""One console for log lines and progress bars, so that they do not write over each other; both go to stderr."""

from __future__ import annotations

import logging

from rich.console import Console

console = Console(stderr=True)
logger = logging.getLogger("onepath")


def make_logger(rank: int, size: int) -> logging.Logger:
    """The process's logger: the main process tells everything, the others only warnings, with their rank."""
    logger.handlers = [_ConsoleHandler(f"[rank {rank}] " if size > 1 and rank else "")]
    logger.setLevel(logging.WARNING if rank else logging.INFO)
    logger.propagate = False
    return logger


class _ConsoleHandler(logging.Handler):
    """Prints above a live progress bar."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self.setFormatter(logging.Formatter("%(asctime)s %(message)s", datefmt="%H:%M:%S"))

    def emit(self, record: logging.LogRecord) -> None:
        label = "warning: " if record.levelno >= logging.WARNING else ""
        text = f"{self._prefix}{label}{self.format(record)}"
        console.print(text, markup=False, highlight=False, soft_wrap=True)
