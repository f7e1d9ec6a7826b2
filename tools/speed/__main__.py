"""`python -m tools.speed step|cream|window|depthwise|nasbench101`: measure speed beside a named rival, in one run."""

from __future__ import annotations

import sys

from configs.errors import ConfigError
from runtime.scripts import run

BENCHMARKS = ("step", "cream", "window", "depthwise", "nasbench101")


def main() -> None:
    """Run the benchmark that the first argument names with the others.

    Raises:
        ConfigError: there is no such benchmark.
    """
    name, *arguments = sys.argv[1:] or [""]
    match name:
        case "step":
            from tools.speed import step

            step.main(arguments)
        case "cream":
            from tools.speed import cream

            cream.main(arguments)
        case "window":
            from tools.speed import window

            window.main(arguments)
        case "depthwise":
            from tools.speed import depthwise

            depthwise.main(arguments)
        case "nasbench101":
            from tools.speed import nasbench101

            nasbench101.main(arguments)
        case _:
            raise ConfigError(
                f"python -m tools.speed takes one of {', '.join(BENCHMARKS)} and its options, not {name!r}"
            )


if __name__ == "__main__":
    run(main)
