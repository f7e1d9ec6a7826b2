"""NAS-Bench-201 and NATS-Bench: `python -m tools.nasbench201 import|query …`."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import argparse
from collections.abc import Sequence

from runtime.scripts import run
from tools.nasbench201 import importing, querying


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; each raises the errors of what it calls, as messages for the user."""
    parser = argparse.ArgumentParser(prog="python -m tools.nasbench201", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (importing, querying):
        command.add_command(commands)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    run(main)
