"""NAS-Bench-101: `python -m tools.nasbench101 enumerate|import|query|train|compare …`."""

from __future__ import annotations

if __name__ == "__main__":  # before the slow imports: Ctrl-C is quiet from the start
    from runtime.interruption import handle_signals

    handle_signals()

import argparse
from collections.abc import Sequence

from runtime.scripts import run
from tools.nasbench101 import comparing, enumerating, importing, querying, training


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; each raises the errors of what it calls, as messages for the user."""
    parser = argparse.ArgumentParser(prog="python -m tools.nasbench101", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in (enumerating, importing, querying, training, comparing):
        command.add_command(commands)
    options, rest = parser.parse_known_args(arguments)
    keys = [argument for argument in rest if "takes_keys" in options and "=" in argument and argument[0] != "-"]
    if len(keys) < len(rest):
        parser.error(f"unrecognized arguments: {' '.join(argument for argument in rest if argument not in keys)}")
    options.overrides = keys
    options.run(options)


if __name__ == "__main__":
    run(main)
