"""The published scripts of NASNet-A mobile: `python -m tools.nasnet standalone 0 /dataset/train`, of test/nasnet.sh."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from configs.documents import format_override
from configs.errors import ConfigError, TrainingError
from configs.loading import RECIPES, ArgumentParser, load_config
from runtime.launching import device_environment, launch_command
from runtime.scripts import run
from tools.arguments import natural, positive

ROOT = Path(__file__).parents[1]
TRAINING, TEST = RECIPES / "retrain" / "nasnet_a_mobile.yaml", RECIPES / "test.yaml"
SPLITS = ("train", "test", "val")  # test.py reads test/ where it is there, else val/


def main(arguments: Sequence[str] | None = None) -> None:
    """Train on one device or on several, or evaluate a checkpoint and print `acc=…%(TOP1)`.

    Raises:
        OnePathError: an argument is wrong, a device is not there, or the job failed.
    """
    options = _parser().parse_args(arguments)
    evaluates = options.job == "evaluate"
    recipe, script = (TEST, "test.py") if evaluates else (TRAINING, "retrain.py")
    resume = str(options.checkpoint) if evaluates else "auto"
    folder = find_dataset(options.data_dir, evaluates)
    keys = [format_override("DATA.PATH", str(folder)), format_override("RESUME_PATH", resume), *options.overrides]
    config = load_config(recipe, keys)
    devices = [options.device_id] if options.job != "distribute" else list(range(options.devices))
    command = [sys.executable, str(ROOT / script), "--cfg", str(recipe), *keys]
    if len(devices) > 1:
        command = launch_command(command[1], command[2:], len(devices))
    environment = device_environment(config.runtime.device, devices)
    if not evaluates:
        os.execve(command[0], command, environment)
    if subprocess.run(command, env=environment).returncode:
        raise TrainingError("test.py failed; its own message is above")
    result = json.loads((Path(config.save_path) / "result.json").read_text(encoding="utf-8"))
    print(f"acc={result['test']['top1']:.2f}%(TOP1)")


def find_dataset(folder: Path, evaluates: bool) -> Path:
    """The folder that holds train/ and val/, of a folder of class folders in it, or of itself.

    Raises:
        ConfigError: it is neither, or not the images that the job would read.
    """
    folder = folder.absolute()
    if (folder / "train").is_dir():
        return folder
    if folder.name not in SPLITS:
        raise ConfigError(
            f"DATA_DIR {folder} is no folder train, val or test of class folders beside the others, such as "
            "/dataset/train, nor one that holds them; rename it, or make a link of that name"
        )
    if evaluates != (folder.name != "train") or (folder.name == "val" and (folder.parent / "test").is_dir()):
        read = "train" if not evaluates else "test" if (folder.parent / "test").is_dir() else "val"
        raise ConfigError(f"DATA_DIR {folder}: this script reads the images of {folder.parent / read}; name that")
    return folder.parent


def _parser() -> argparse.ArgumentParser:
    parser = ArgumentParser(prog="nasnet.sh", description=__doc__, allow_abbrev=False)
    jobs = parser.add_subparsers(dest="job", required=True, parser_class=ArgumentParser)
    standalone = jobs.add_parser("standalone", help="train on one device")
    distribute = jobs.add_parser("distribute", help="train on several devices of this machine")
    evaluate = jobs.add_parser("evaluate", help="test a checkpoint")
    for job in (standalone, evaluate):
        job.add_argument("device_id", metavar="DEVICE_ID", type=natural, help="number of the device, from 0")
    for job in (standalone, distribute, evaluate):
        job.add_argument("data_dir", metavar="DATA_DIR", type=Path, help="/dataset/train, or /dataset/val to test")
    evaluate.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="*.pth.tar, or a run folder")
    distribute.add_argument("--devices", type=positive, default=8, help="how many; default: 8")
    for job in (standalone, distribute, evaluate):
        job.add_argument("overrides", nargs="*", default=[], metavar="KEY=VALUE", help="any key of the job")
    return parser


if __name__ == "__main__":
    run(main)
