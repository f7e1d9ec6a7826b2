"""Is the pick better than chance? Searches and retrains with several seeds, beside random architectures of the window.

python -m tools.against_random --cfg configs/quickstart/train.yaml --retrain configs/quickstart/retrain.yaml \\
    --test configs/quickstart/test.yaml --random 10 --seeds 0 1 2 --jobs 2 --out output/against_random
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.errors import ConfigError, OnePathError
from configs.loading import dump_config, load_config
from configs.schema import Config
from data.loading import load_images
from runtime.device import select_device
from runtime.files import write_json_atomic, write_text_atomic
from runtime.scripts import run
from runtime.seeds import make_generator
from runtime.world import World, count_cores
from search.pickers.listing import random_picker
from supernet.catalog import Selection
from supernet.evaluation import evaluate, recalibrate
from supernet.latency import open_window
from supernet.pick import Pick
from supernet.space import SharedSpace
from supernet.weights import inherit_network
from tools.arguments import positive
from tools.comparison import SeedComparison, format_markdown, read_tested, summarize
from tools.report import read

ROOT = Path(__file__).parent.parent


class StudyError(OnePathError):
    """A search, a retraining or a test ended with an error; the message names its command and its log."""


@dataclass(frozen=True)
class Contender:
    """An architecture to retrain, in its run folder."""

    seed: int
    folder: Path
    space: SharedSpace
    architecture: Any

    @property
    def text(self) -> str:
        """What INPUT_ARCH takes."""
        return self.space.text(self.architecture)


class Study:
    """All runs of a comparison, in OUT/seed-S/{search, pick, random-01, …}; what is finished is never run again.

    Raises:
        ConfigError: a recipe is wrong, or OUT holds a study of other recipes.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.out = options, options.out
        self.search, self.retrain, test = (
            load_config(path, options.overrides) for path in (options.cfg, options.retrain, options.test)
        )
        recipes = {"search": self.search, "retrain": self.retrain, "test": test}
        made = {"processes": options.processes, **{name: dump_config(one) for name, one in recipes.items()}}
        if self.search.supernet.resolutions:
            raise ConfigError("architectures are compared at one image size: leave SUPERNET.RESOLUTIONS out of --cfg")
        self.out.mkdir(parents=True, exist_ok=True)
        if (self.out / "study.json").is_file() and read(self.out / "study.json") != made:
            raise ConfigError(f"{self.out} holds a study of other recipes, keys or processes; choose another --out")
        write_json_atomic(self.out / "study.json", made)

    def run(self) -> list[SeedComparison]:
        """Every search, then every retraining and test, `--jobs` of them side by side."""
        drawn = {seed: self.draw(seed) for seed in self.options.seeds}
        left = [one for contenders in drawn.values() for one in contenders]
        with ThreadPoolExecutor(self.options.jobs) as pool:
            futures = {pool.submit(self._train, one): one for one in left}
            try:
                for number, future in enumerate(as_completed(futures), 1):
                    one = futures[future]
                    print(f"{number} of {len(left)}: {one.folder}: {future.result():.2f} % (test)", flush=True)
            finally:
                pool.shutdown(cancel_futures=True)
        return [self._compare(seed, contenders) for seed, contenders in drawn.items()]

    def draw(self, seed: int) -> list[Contender]:
        """The pick of a seed's search, and distinct random ones, uniform over the rest of the window."""
        folder = self.out / f"seed-{seed}"
        self._search(seed, folder / "search")
        path = folder / "search" / "pick.json"
        pick, bounds = Pick.read(path), read(path)["window"]
        latency = bounds.get("latency_table", ""), bounds.get("latency_maximum")
        window = open_window(pick.space, bounds["minimum"], bounds["maximum"], *latency)
        count = self.options.random
        if window.count <= count:
            raise ConfigError(f"the window holds {window.count} architectures: --random must be below that")
        listed = random_picker(window, count + 1, make_generator(seed, "against_random")).architectures
        best = pick.architectures[0].architecture
        others = [one for one in listed if one != best][:count]
        named = {"pick": best, **{f"random-{number:02}": one for number, one in enumerate(others, 1)}}
        return [Contender(seed, folder / name, pick.space, one) for name, one in named.items()]

    def _search(self, seed: int, folder: Path) -> None:
        if (folder / "pick.json").is_file():
            return
        print(f"searching in {folder}", flush=True)
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.options.processes}"]
        keys = {"SEED": seed, "RESUME_PATH": "auto", "SAVE_PATH": folder}
        self._call(folder, [*launcher, str(ROOT / "train.py"), "--cfg", str(self.options.cfg)], keys)

    def _train(self, one: Contender) -> float:
        """Retrain and test in one process, with the global batch of `--processes`; test top-1 in percent."""
        threads = max(1, count_cores() // self.options.jobs)
        common = {"SEED": one.seed, "RUNTIME.THREADS": threads}
        if not (one.folder / "result.json").is_file():
            keys = {**common, "RESUME_PATH": "auto", "SAVE_PATH": one.folder, "INPUT_ARCH": one.text}
            keys["SUPERNET.SPACE"] = self.search.supernet.space
            keys["TRAIN.BATCH_SIZE"] = self.retrain.train.batch_size * self.options.processes
            if self.retrain.train.inherit:
                keys["TRAIN.INHERIT"] = one.folder.parent / "search"
            self._call(one.folder, [str(ROOT / "retrain.py"), "--cfg", str(self.options.retrain)], keys)
        if read(one.folder / "result.json")["architecture"] != one.architecture.to_list():
            raise ConfigError(f"{one.folder} holds another architecture than {one.text}; choose another --out")
        if not (one.folder / "test" / "result.json").is_file():
            keys = {**common, "RESUME_PATH": one.folder, "SAVE_PATH": one.folder / "test"}
            self._call(one.folder, [str(ROOT / "test.py"), "--cfg", str(self.options.test)], keys)
        return read(one.folder / "test" / "result.json")["test"]["top1"]

    def _call(self, folder: Path, script: Sequence[str], keys: dict[str, Any]) -> None:
        """Run a script with its output in FOLDER.log; keys given here win over the user's."""
        log = folder.with_name(f"{folder.name}.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        settings = [*self.options.overrides, *(f"{key}={value}" for key, value in keys.items())]
        command = [sys.executable, *script, *settings]
        with log.open("ab") as output:
            status = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode
        if status:
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[-1]
            raise StudyError(f"{shlex.join(command)} ended with status {status}: {last} (more in {log})")

    def _compare(self, seed: int, contenders: Sequence[Contender]) -> SeedComparison:
        scores = self._supernet_scores(seed, contenders)
        pick, *others = (read_tested(one.folder, score) for one, score in zip(contenders, scores))
        return SeedComparison(seed, pick, tuple(others))

    def _supernet_scores(self, seed: int, contenders: Sequence[Contender]) -> list[float]:
        """Top-1 on the search split by the supernet's weights, measured as the picker does; kept in supernet.json."""
        path = self.out / f"seed-{seed}" / "supernet.json"
        known: dict[str, float] = read(path) if path.is_file() else {}
        fresh = [one for one in contenders if one.text not in known]
        known |= score_inherited(self.search, seed, fresh) if fresh else {}
        write_json_atomic(path, known)
        return [known[one.text] for one in contenders]


def score_inherited(config: Config, seed: int, contenders: Sequence[Contender]) -> dict[str, float]:
    """Top-1 of each contender with inherited weights and recalibrated batch norm, by its text."""
    device = select_device(config.runtime.device)
    images = load_images(config.data, seed, contenders[0].space.resolution, world=World(), device=device)
    size, picker = config.train.evaluation_batch_size, config.picker
    recalibration = images.evaluation("train", size, picker.recalibration_images, keep=True)
    held_out = images.evaluation("search", size, picker.images, keep=True)
    scores = {}
    for one in contenders:
        selection = Selection(one.text, one.space, one.architecture)
        network = inherit_network(str(one.folder.parent / "search"), selection).to(device)
        recalibrate(network, (pixels for pixels, _ in recalibration))
        scores[one.text] = evaluate(network, held_out, World()).top1
    return scores


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is left of the study, then write OUT/comparison.json and OUT/comparison.md.

    Raises:
        ConfigError: a recipe is wrong, the window is too small, or OUT holds another study.
        StudyError: a run ended with an error.
    """
    options = _parser().parse_intermixed_args(arguments)
    study = Study(options)
    comparisons = study.run()
    write_json_atomic(options.out / "comparison.json", summarize(comparisons))
    write_text_atomic(options.out / "comparison.md", format_markdown(comparisons))
    print(format_markdown(comparisons))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.against_random", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, job in (("--cfg", "train"), ("--retrain", "retrain"), ("--test", "test")):
        default = Path(f"configs/quickstart/{job}.yaml")
        parser.add_argument(name, type=Path, default=default, help=f"recipe of {job}.py; default: %(default)s")
    parser.add_argument("--random", type=at_least_two, default=10, help="random architectures; default: %(default)s")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--out", type=Path, default=Path("output/against_random"), help="default: %(default)s")
    parser.add_argument("--jobs", type=positive, default=1, help="retrainings side by side; default: %(default)s")
    parser.add_argument(
        "--processes",
        type=positive,
        default=2,
        help="processes that the recipes' TRAIN.BATCH_SIZE is meant for: the search runs in so many, a retraining in "
        "one with a batch so many times as large; default: %(default)s, as in quickstart.sh",
    )
    parser.add_argument("overrides", nargs="*", metavar="KEY.SUB=VALUE", help="for all three scripts")
    return parser


def at_least_two(text: str) -> int:
    """A number of architectures that has a spread."""
    if positive(text) < 2:
        raise argparse.ArgumentTypeError("a spread takes 2 random architectures at least")
    return positive(text)


if __name__ == "__main__":
    run(main)
