"""Tables of runs: what a search picked, what retraining made of it, and how long each phase took; how the boards of
prioritized searches grew; or accuracy and speed of trainings, in the form of Ascend's model zoo.

python -m tools.report --search output/quickstart/search --trained output/quickstart/pick output/quickstart/random
python -m tools.report --board output/quickstart/search
python -m tools.report --zoo test/output/0/spnasnet_100_bs128_8p_acc
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
    """Read the run folders, print the tables.

    Raises:
        ConfigError: a run is not finished.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_mutually_exclusive_group(required=True)
    kinds.add_argument("--search", type=Path, help="run folder of train.py")
    kinds.add_argument("--board", type=Path, nargs="+", metavar="RUN", help="run folders of prioritized searches")
    kinds.add_argument("--zoo", type=Path, nargs="+", metavar="RUN", help="run folders, a row of the model zoo's each")
    parser.add_argument("--trained", type=Path, nargs="+", default=[], help="run folders of retrain.py")
    parser.add_argument("--svg", type=Path, help="write the tables as a picture too")
    options = parser.parse_args(arguments)
    if options.zoo:
        print(zoo_table(options.zoo))
        return
    if options.board:
        print(board_table(options.board))
        return

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
    table.add_column("network", no_wrap=True)
    table.add_column("architecture", overflow="fold")  # a cell is longer than a line
    for column in ("M MACs", "params", "search %", "test %"):
        table.add_column(column, justify="right", no_wrap=True)
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


def zoo_table(folders: Sequence[Path]) -> str:
    """NAME, Acc@1, FPS, Epochs, AMP_Type and Torch_version of each run, as a table of Markdown.

    NAME is the devices' number and kind, behind the network where the runs differ in it. Acc@1 is read on the test
    split where test.py has run (`read_test`), else on the search split.
    """
    runs = {folder: read_training(folder) for folder in folders}
    differ = len({run["selection"] for run in runs.values()}) > 1
    rows = [(f"{run['selection']} " * differ + run["name"], *zoo_cells(folder, run)) for folder, run in runs.items()]
    return format_table([("NAME", "Acc@1", "FPS", "Epochs", "AMP_Type", "Torch_version"), *rows])


def format_table(rows: Sequence[Sequence[str]]) -> str:
    """A table of Markdown whose first row is the header."""
    ruled = [rows[0], ("---", *["---:"] * (len(rows[0]) - 1)), *rows[1:]]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in ruled)


def board_table(folders: Sequence[Path]) -> str:
    """The lowest and the highest accuracy on each run's board at the end of each epoch, as a table of Markdown.

    Raises:
        ConfigError: a run has no board.
    """
    runs = [read_board(folder) for folder in folders]
    rows = [
        (str(epoch + 1), *(" to ".join(f"{value:.1f}" for value in run[epoch]) if epoch in run else "" for run in runs))
        for epoch in sorted({epoch for run in runs for epoch in run})
    ]
    return format_table([("epoch", *(str(folder) for folder in folders)), *rows])


def read_board(folder: Path) -> dict[int, tuple[float, float]]:
    """Lowest and highest accuracy in percent on a search's board, by epoch, as recorded last in it.

    Raises:
        ConfigError: nothing of a board is recorded there.
    """
    path = folder / "metrics.jsonl"
    records = map(json.loads, path.read_text(encoding="utf-8").splitlines()) if path.is_file() else ()
    board = {one["epoch"]: (one["board/worst"], one["board/best"]) for one in records if "board/best" in one}
    if not board:
        raise ConfigError(f"{path} records no board; name the run folder of a prioritized search")
    return board


def read_training(folder: Path) -> dict[str, Any]:
    """The result of a training or search, with what the model zoo calls it.

    Raises:
        ConfigError: it is not finished, or tells nothing of its speed.
    """
    searched = (folder / "pick.json").is_file()
    result = read(folder / ("pick.json" if searched else "result.json"))
    if "speed" not in result:
        raise ConfigError(f"{folder} is the run folder of no training that tells its speed; name one of retrain.py")
    device = {"cuda": "GPU"}.get(result["device"], result["device"].upper())
    found = {"selection": "supernet", "search": {"top1": result["architectures"][0]["accuracy"]}} if searched else {}
    return {**result, **found, "name": f"{result['processes']}p-{device}"}


def zoo_cells(folder: Path, run: dict[str, Any]) -> list[str]:
    """All but the name; `-` for what was not measured, and for no mixed precision."""
    tested = read_test(folder)
    figures = (tested["test"] if tested else run["search"]).get("top1"), run["speed"]["images_per_second"]
    level = "-" if run["precision"] == "O0" else run["precision"]
    numbers = ("-" if figure is None else f"{figure:.3f}" for figure in figures)
    return [*numbers, str(run["epochs"]), level, f"Torch{run['torch'].partition('+')[0]}"]


if __name__ == "__main__":
    run(main)
