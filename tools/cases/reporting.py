"""The figures of a case, from what its jobs wrote, in the model zoo's form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.files import write_text_atomic
from tools.cases.case import SUPERNET, Case
from tools.report import read


@dataclass(frozen=True)
class Figures:
    """What a case measured; None for what it could not.

    Attributes:
        fps: images/s of all devices: of training over its steady steps, of testing over all images.
        step_milliseconds: time of a step.
        accuracy: top-1 in percent.
        losses: of the training's records in their order, or of the test.
        seconds: of the job, interruptions left out.
    """

    fps: float | None
    step_milliseconds: float | None
    accuracy: float | None
    losses: list[float]
    seconds: float


def read_figures(case: Case) -> Figures:
    """The figures of a finished case.

    Raises:
        ConfigError: a job has not written its result.
    """
    if case.kind == "eval":
        result = read(case.folder / "result.json")
        test = result["test"]
        fps = test["images_per_second"]
        step = 1000 * case.batch_size * len(case.devices) / fps
        return Figures(fps, step, test["top1"], [test["loss"]], result["seconds"])
    result = read(case.folder / ("pick.json" if case.network == SUPERNET else "result.json"))
    speed = result["speed"]
    fps, step = speed["images_per_second"], speed["step_milliseconds"]
    return Figures(fps, step, _accuracy(case, result), read_losses(case.folder), result["seconds"])


def _accuracy(case: Case, result: dict[str, Any]) -> float | None:
    """On the val folder where a network was trained fully, else on images held out of training."""
    if case.network == SUPERNET:
        return result["architectures"][0]["accuracy"]
    if case.kind == "full":
        return read(case.folder / "test" / "result.json")["test"]["top1"]
    return result["search"].get("top1")


def read_losses(folder: Path) -> list[float]:
    """The training's losses in the order of its records."""
    records = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    return [loss for record in records if (loss := record.get("train/loss")) is not None]


def write_logs(case: Case, figures: Figures) -> None:
    """<CaseName>.log and train_<CaseName>_loss.txt, beside the run folder."""
    values = {
        "Network": case.network,
        "RankSize": len(case.devices),
        "BatchSize": case.batch_size,
        "DeviceType": case.device,
        "CaseName": case.name,
        "ActualFPS": _format(figures.fps),
        "TrainingTime": _format(figures.step_milliseconds),
        "TrainAccuracy": _format(figures.accuracy),
        "ActualLoss": _format(figures.losses[-1] if figures.losses else None),
        "E2ETrainingTime": _format(figures.seconds),
    }
    lines = "".join(f"{key} = {value}\n" for key, value in values.items())
    write_text_atomic(case.output / f"{case.name}.log", lines)
    losses = "".join(f"{_format(loss)}\n" for loss in figures.losses)
    write_text_atomic(case.output / f"train_{case.name}_loss.txt", losses)


def print_closing(figures: Figures) -> None:
    """The last lines of a script's output."""
    print(f"Final Performance images/sec : {_format(figures.fps)}")
    print(f"Final Train Accuracy : {_format(figures.accuracy)}")
    print(f"E2E Training Duration sec : {_format(figures.seconds)}")


def _format(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
