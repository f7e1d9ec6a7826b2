"""Milliseconds of networks and of their blocks on this machine, by PyTorch or onnxruntime."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from runtime.device import memory_format
from runtime.environment import device_name
from runtime.progress import track
from runtime.world import World
from tools.export.formats import FORMATS, INPUT, open_onnx

WARM_UP = 3  # rounds

Name = TypeVar("Name")
Call = Callable[[], object]


@dataclass(frozen=True)
class Measured:
    """Milliseconds of one call: the median of the repeats, and their interquartile range."""

    median: float
    spread: float


@dataclass(frozen=True)
class Contestant:
    """One thing to measure: a call, and what brings its input into the caches as a network's layer finds it."""

    call: Call
    warm: Call


class Runner:
    """Prepares modules and measures them: in eval mode, in fp32, as a network of the device runs.

    One thread of a CPU is measured by its own processor time, which other programs of the machine do not add to.

    Args:
        runtime: `torch`, or `onnxruntime` on the CPU.
        batch: images at once.
    """

    def __init__(self, runtime: str, world: World, batch: int) -> None:
        self.runtime, self.batch = runtime, batch
        self.device = world.device if runtime == "torch" else torch.device("cpu")
        self._format = memory_format(self.device, channels_last=True)
        alone = self.device.type == "cpu" and torch.get_num_threads() == 1
        self._clock = time.thread_time if alone else time.perf_counter

    def describe(self) -> dict[str, Any]:
        """What figures belong to, as plain values."""
        return {
            "runtime": self.runtime,
            "device": device_name(self.device),
            "batch_size": self.batch,
            "threads": torch.get_num_threads(),
            "clock": self._clock.__name__,
            "torch": torch.__version__,
        }

    def prepare(self, module: nn.Module, channels: int, size: int) -> Contestant:
        """A module on random inputs (batch, channels, size, size)."""
        inputs = torch.randn(self.batch, channels, size, size)
        if self.runtime == "onnxruntime":
            return self._prepare_onnx(module.eval(), inputs)
        inputs = inputs.to(self.device, memory_format=self._format)
        module = module.eval()
        module.to(self.device, memory_format=self._format)  # type: ignore[call-overload]
        return Contestant(lambda: module(inputs), lambda: inputs.mul_(1.0))

    def _prepare_onnx(self, module: nn.Module, inputs: Tensor) -> Contestant:
        session = open_onnx(FORMATS["onnx"].write(module, inputs, False, {}))
        pixels = inputs.numpy()
        return Contestant(lambda: session.run(None, {INPUT: pixels}), lambda: inputs.mul_(1.0))

    @torch.inference_mode()
    def measure(self, contestants: Mapping[Name, Contestant], repeats: int) -> dict[Name, Measured]:
        """All of them in turns, one call each a round: so each finds the caches as the others leave them."""
        times: dict[Name, list[float]] = {name: [] for name in contestants}
        for _ in track(range(WARM_UP + repeats), WARM_UP + repeats, "measuring", "rounds"):
            for name, contestant in contestants.items():
                contestant.warm()
                times[name].append(1e3 * self._time(contestant.call))
        return {name: _summarize(taken[WARM_UP:]) for name, taken in times.items()}

    def _time(self, call: Call) -> float:
        self._synchronize()
        started = self._clock()
        call()
        self._synchronize()
        return self._clock() - started

    def _synchronize(self) -> None:
        if self.device.type != "cpu":
            torch.get_device_module(self.device).synchronize()


def _summarize(milliseconds: list[float]) -> Measured:
    low, middle, high = np.percentile(milliseconds, (25, 50, 75)).tolist()
    return Measured(middle, high - low)
