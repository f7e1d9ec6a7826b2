"""A case of the model zoo's scripts, and the jobs that it consists of."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from configs.documents import format_override
from configs.errors import ConfigError, DeviceError
from configs.loading import RECIPES, ArgumentParser, load_config
from configs.schema import Config
from configs.zoo_arguments import HALF, recipe_of
from data.loading import read_shape
from runtime.device import choose_devices
from supernet.catalog import Selection, build_shared_space, select
from tools.arguments import positive

ROOT = Path(__file__).parents[2]
SUPERNET = "supernet"
ENDINGS = {"full": "acc", "performance": "perf", "eval": "eval"}
PERFORMANCE = {"TRAIN.EPOCHS": "1", "TRAIN.STEPS_PER_EPOCH": "200"}
QUICK_PICK = {"PICKER.NAME": "random", "PICKER.EVALUATIONS": "1"}
OWN_KEYS = ("SAVE_PATH", "RESUME_PATH", "DATA.PATH", "RUNTIME.DEVICE")  # what arguments or the case itself set


@dataclass(frozen=True)
class Job:
    """A script with its arguments, and the folder of its run."""

    script: str
    arguments: list[str]
    folder: Path


@dataclass(frozen=True)
class Case:
    """One run of a script: what it is called, what it trains or tests, on which devices.

    Attributes:
        kind: a key of ENDINGS.
        devices: by their numbers on this machine, from 0.
        device: their kind: cpu, cuda or npu.
        config: the merged configuration of its first job.
        keys: the overrides by which the configuration differs from the recipe.
    """

    kind: str
    network: str
    devices: tuple[int, ...]
    device: str
    recipe: Path
    config: Config
    keys: list[str]

    @property
    def batch_size(self) -> int:
        """Images of a step on each device."""
        return self.config.train.evaluation_batch_size if self.kind == "eval" else self.config.train.batch_size

    @property
    def name(self) -> str:
        """`<network>_bs<batch size>_<devices>p_{acc|perf|eval}`."""
        network = self.network.replace("/", "_")
        return f"{network}_bs{self.batch_size}_{len(self.devices)}p_{ENDINGS[self.kind]}"

    @property
    def output(self) -> Path:
        """The folder of everything that is written for these devices."""
        return ROOT / "test" / "output" / str(self.devices[0])

    @property
    def folder(self) -> Path:
        """The run folder of the first job."""
        return self.output / self.name

    def jobs(self) -> list[Job]:
        """What is run, in order. A network that was trained fully is tested, once, on the val folder."""
        script = "test.py" if self.kind == "eval" else "train.py" if self.network == SUPERNET else "retrain.py"
        resume = [format_override("RESUME_PATH", "auto")] if self.kind == "full" else []
        jobs = [self._job(script, self.recipe, self.folder, resume)]
        if script == "retrain.py" and self.kind == "full":
            trained = [
                format_override("RESUME_PATH", str(self.folder)),
                "MODEL_SELECTION=-1",
                f"RUNTIME.PRECISION={self.config.runtime.precision}",
                f"RUNTIME.DTYPE={self.config.runtime.dtype}",
            ]
            jobs.append(self._job("test.py", RECIPES / "test.yaml", self.folder / "test", trained))
        return jobs

    def _job(self, script: str, recipe: Path, folder: Path, keys: list[str]) -> Job:
        save = format_override("SAVE_PATH", str(folder))
        return Job(script, ["--cfg", str(recipe), *self.keys, *keys, save], folder)


def read_case(arguments: Sequence[str]) -> Case:
    """The case that a script's arguments ask for.

    Raises:
        ConfigError, SpaceError: an argument is wrong, or the network is not known.
        DataError: the images are not there.
        DeviceError: a device is not there.
    """
    options = _parser().parse_intermixed_args(arguments)
    _check_kind(options)
    network = options.network.lower()
    recipe = _recipe(options.kind, network)
    keys = [format_override(key, value) for key, value in _keys(options, network).items()]
    keys += _foreign_keys(options.overrides)
    config = load_config(recipe, keys)
    space = build_shared_space(config.supernet.space) if network == SUPERNET else _select(config).space
    read_shape(config.data, space.resolution)
    first = _first_device()
    devices = tuple(range(first, first + options.devices))
    return Case(options.kind, network, devices, _choose(options.device, devices), recipe, config, keys)


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="case.sh", description=__doc__, allow_abbrev=False)
    parser.add_argument("kind", choices=list(ENDINGS), help="what to run; each script has its own")
    parser.add_argument("--data_path", required=True, help="folder with train/<class>/ and val/<class>/")
    parser.add_argument("--network", default="spnasnet_100", help="a MODEL_SELECTION, or supernet: the search")
    parser.add_argument("--devices", type=positive, required=True, help="how many; each script has its own default")
    parser.add_argument("--device", default="auto", choices=["auto", "npu", "cuda", "cpu"], help="auto: an accelerator")
    parser.add_argument("--epochs", help="passes over the training images; default: the recipe's, performance: 1")
    parser.add_argument("--batch_size", help="images of a step on each device; default: the recipe's")
    parser.add_argument("--amp", choices=["O0", "O1", "O2", "O3"], help="precision, in float16; default: the recipe's")
    parser.add_argument("--pth_path", help="eval: a checkpoint, or the run folder of a training")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="any other key of the job")
    return parser


def _check_kind(options: argparse.Namespace) -> None:
    """Refuse arguments that the kind of case would leave aside, and ask for the one that it needs."""
    if options.kind != "eval" and options.pth_path:
        raise ConfigError(f"--pth_path is for train_eval_*.sh; train_{options.kind}_*.sh trains from scratch")
    if options.kind != "eval":
        return
    if options.epochs:
        raise ConfigError("--epochs is for training; train_eval_*.sh tests once")
    if options.network.lower() == SUPERNET:
        raise ConfigError("a supernet is not tested: retrain its pick.json, and give --network and --pth_path of that")
    if not options.pth_path:
        raise ConfigError(
            "--pth_path is missing: name a checkpoint, or the run folder of a training such as "
            f"test/output/0/{options.network}_bs128_8p_acc"
        )


def _recipe(kind: str, network: str) -> Path:
    if kind == "eval":
        return RECIPES / "test.yaml"
    return RECIPES / "train.yaml" if network == SUPERNET else recipe_of(network)


def _keys(options: argparse.Namespace, network: str) -> dict[str, str]:
    """The keys that the arguments set; paths become absolute, for the jobs run in the root of the project."""
    evaluating = options.kind == "eval"
    size = "TRAIN.EVALUATION_BATCH_SIZE" if evaluating else "TRAIN.BATCH_SIZE"
    given = {
        "DATA.PATH": os.path.abspath(options.data_path),
        "MODEL_SELECTION": None if network == SUPERNET else network,
        "RESUME_PATH": os.path.abspath(options.pth_path) if evaluating else None,
        "RUNTIME.DEVICE": options.device,
        "RUNTIME.PRECISION": options.amp,
        "TRAIN.EPOCHS": options.epochs,
        size: options.batch_size,
    }
    keys = dict(PERFORMANCE) if options.kind == "performance" else {}
    keys |= QUICK_PICK if keys and network == SUPERNET else {}
    keys |= HALF if options.amp else {}
    return keys | {key: value for key, value in given.items() if value is not None}


def _foreign_keys(overrides: Sequence[str]) -> list[str]:
    for override in overrides:
        if (key := override.partition("=")[0]) in OWN_KEYS:
            raise ConfigError(f"{key} is set by the script itself, from its arguments; leave {override} out")
    return list(overrides)


def _select(config: Config) -> Selection:
    return select(config.model_selection, config.input_arch, config.supernet.space, config.nasbench101, config.nasnet)


def _first_device() -> int:
    """The number of the first device: ASCEND_DEVICE_ID, or 0."""
    text = os.environ.get("ASCEND_DEVICE_ID", "0")
    if not text.isdecimal():
        raise ConfigError(f"ASCEND_DEVICE_ID={text} is not the number of a device; unset it, or write 0")
    return int(text)


def _choose(device: str, devices: Sequence[int]) -> str:
    """The kind of device; a cpu only where it is asked for.

    Raises:
        DeviceError: there are fewer devices than are asked for.
    """
    if device == "auto" and choose_devices("auto", []) == "cpu":
        raise DeviceError(
            f"{len(devices)} device(s) asked for, and this machine has no accelerator; --device=cpu runs a process on "
            "each of --devices cores"
        )
    return choose_devices(device, devices)
