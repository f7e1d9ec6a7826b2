"""NAS-Bench-101: `python -m tools.nasbench101 enumerate|import|query …`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from runtime.scripts import run
from tools.nasbench101 import enumerating, importing, querying


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; each raises the errors of what it calls, as messages for the user."""
    parser = argparse.ArgumentParser(prog="python -m tools.nasbench101", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (enumerating, importing, querying):
        command.add_command(commands)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    run(main)
