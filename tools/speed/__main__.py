"""`python -m tools.speed NAME …`: measure speed beside a named rival, in one run."""

from __future__ import annotations

import sys
from importlib import import_module

from configs.errors import ConfigError
from runtime.scripts import run

BENCHMARKS = (
    *("step", "retrain", "cream", "window", "depthwise", "data", "sharing", "exhaustive"),
    *("nasbench101", "nasbench201", "nasnet"),
)


def main() -> None:
    """Run the benchmark that the first argument names with the others.

    Raises:
        ConfigError: there is no such benchmark.
    """
    name, *arguments = sys.argv[1:] or [""]
    if name not in BENCHMARKS:
        raise ConfigError(f"python -m tools.speed takes one of {', '.join(BENCHMARKS)} and its options, not {name!r}")
    import_module(f"tools.speed.{name}").main(arguments)


if __name__ == "__main__":
    run(main)
