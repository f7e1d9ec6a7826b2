"""A table of a finished search: what was picked, what retraining made of it, and how long each phase took.

python -m tools.report --search output/quickstart/search --trained output/quickstart/pick output/quickstart/random
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from configs.errors import ConfigError
from runtime.files import write_text_atomic
from runtime.scripts import run


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the run folders, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--search", type=Path, required=True, help="run folder of train.py")
    parser.add_argument("--trained", type=Path, nargs="+", default=[], help="run folders of retrain.py")
    parser.add_argument("--svg", type=Path, help="write the tables as a picture too")
    options = parser.parse_args(arguments)

    pick = read(options.search / "pick.json")
    trained = {folder.name: read(folder / "result.json") for folder in options.trained}
    tested = {folder.name: read_test(folder) for folder in options.trained}
    console = Console(record=options.svg is not None, width=110 if options.svg else None)
    console.print(network_table(pick, trained, tested))
    console.print(time_table(pick, trained, tested))
    if options.svg:
        picture = console.export_svg(title=f"tools.report --search {options.search}")
        picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)  # a picture fetches nothing
        write_text_atomic(options.svg, picture)


def read(path: Path) -> dict[str, Any]:
    """A JSON file of a finished run.

    Raises:
        ConfigError: the run has not written it, or it is damaged.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is not there: the run in {path.parent} is not finished")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error


def read_test(folder: Path) -> dict[str, Any] | None:
    """The result of test.py, if it was run with SAVE_PATH=<folder>/test."""
    path = folder / "test" / "result.json"
    return read(path) if path.is_file() else None


def network_table(pick: dict[str, Any], trained: dict[str, Any], tested: dict[str, Any]) -> Table:
    """One row a network: architecture, cost, accuracy on the search and on the test split."""
    window = pick["window"]
    title = (
        f"{pick['space']}: {window['count']:,} architectures in [{window['minimum'] / 1e6:g}, "
        f"{window['maximum'] / 1e6:g}] million MACs, {pick['evaluated']} evaluated"
    )
    table = Table(title=title)
    for column in ("network", "architecture"):
        table.add_column(column, no_wrap=True)
    for column in ("M MACs", "params", "search %", "test %"):
        table.add_column(column, justify="right")
    best = pick["architectures"][0]
    table.add_row("best in supernet", *describe(best["text"], best["macs"], best["params"], best["accuracy"], None))
    for name, result in trained.items():
        test = tested[name]["test"]["top1"] if tested[name] else None
        top1 = result["search"].get("top1")
        row = describe(result["selection"], result["macs"], result["params"], top1, test)
        table.add_row(name, *row)
    return table


def describe(text: str, macs: int, params: int, search: float | None, test: float | None) -> list[str]:
    """The cells of a row."""
    accuracies = ("" if value is None else f"{value:.2f}" for value in (search, test))
    return [text, f"{macs / 1e6:.2f}", f"{params:,}", *accuracies]


def time_table(pick: dict[str, Any], trained: dict[str, Any], tested: dict[str, Any]) -> Table:
    """Hours, minutes and seconds of each phase, interruptions left out."""
    phases = {"search": pick["seconds"], **{f"retrain {name}": result["seconds"] for name, result in trained.items()}}
    phases |= {f"test {name}": result["seconds"] for name, result in tested.items() if result}
    table = Table("phase", title="time")
    table.add_column("h:mm:ss", justify="right")
    for name, seconds in {**phases, "all": sum(phases.values())}.items():
        table.add_row(name, str(timedelta(seconds=round(seconds))))
    return table


if __name__ == "__main__":
    run(main)
