"""A step that is not finite leaves everything as it was, at every precision."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch import nn

from runtime.guard import GuardedStep
from runtime.precision import Precision
from runtime.watch import StepWatch
from runtime.world import World

CPU = torch.device("cpu")
LEVELS = [("O0", "float16"), *((level, dtype) for level in ("O1", "O2", "O3") for dtype in ("bfloat16", "float16"))]


class TinyStep:
    """A guarded step of a small network on fixed images, which a factor can spoil."""

    def __init__(self, level: str, dtype: str, fused: bool = False, clip: float = 0.0) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
        precision = Precision(level, dtype, CPU)
        build = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.1, fused=fused)
        self.weights, self.optimizer = precision.prepare(self.model, build)
        self.guard = GuardedStep(self.weights, self.optimizer, clip, precision, World())

    def step(self, images: float = 1.0, loss: float = 1.0, more: float = 0.0) -> float:
        pixels = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * images
        labels = torch.arange(8) % 2

        def compute_loss() -> torch.Tensor:
            return nn.functional.cross_entropy(self.model(pixels).float(), labels) * loss + more

        return self.guard(compute_loss).item()

    def state(self) -> dict[str, Any]:
        weights = {name: value for name, value in self.weights.state_dict().items() if value.is_floating_point()}
        return copy.deepcopy({**weights, "momentum": [s["momentum_buffer"] for s in self.optimizer.state.values()]})


def assert_equal(first: dict[str, Any], second: dict[str, Any]) -> None:
    for name in first:
        pairs = zip(first[name], second[name]) if name == "momentum" else [(first[name], second[name])]
        assert all(torch.equal(one, other) for one, other in pairs), name


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
@pytest.mark.parametrize("spoil", [{"images": float("nan")}, {"loss": float("inf")}, {"more": float("inf")}])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_step_that_is_not_finite_moves_nothing(level: str, dtype: str, spoil: dict[str, float], clip: float):
    tiny = TinyStep(level, dtype, clip=clip)
    tiny.step()
    before = tiny.state()
    tiny.step(**spoil)
    assert_equal(tiny.state(), before)
    tiny.step()
    assert not torch.equal(tiny.state()["1.running_mean"], before["1.running_mean"])
    assert tiny.guard.take_faults() == [False, True, False]
    assert tiny.guard.take_faults() == []


def test_the_search_for_a_loss_scale_is_no_fault_until_the_scale_collapses():
    """Gradients of 1e4 overflow float16 under the first scale of 65536; those of 1e9 under any from 1 on."""
    tiny = TinyStep("O1", "float16")
    before = tiny.state()["0.weight"]
    tiny.step(loss=1e35)
    assert torch.equal(tiny.state()["0.weight"], before)
    assert tiny.guard.take_faults() == [False]
    for _ in range(15):
        tiny.step(loss=1e35)
    assert not any(tiny.guard.take_faults())
    tiny.step(loss=float("inf"))
    assert tiny.guard.take_faults() == [True]


def test_a_moved_module_keeps_its_statistics():
    tiny = TinyStep("O0", "float16")
    tiny.step()
    mean = tiny.model[1].running_mean.clone()
    tiny.model.double()
    assert torch.equal(tiny.guard.statistics.flat[:4], mean.double())
    assert tiny.model[1].running_mean.data_ptr() == tiny.guard.statistics.flat.data_ptr()


def test_the_first_of_a_row_is_named():
    warned: list[str] = []
    watch = StepWatch(3, warned.append)
    assert watch.add([True, False, True], lambda place: f"a{place}") == ""
    assert watch.add([True], lambda place: f"b{place}") == ""
    assert watch.add([True, False], lambda place: f"c{place}") == ""  # it went on
    assert watch.add([True, True, True, True], lambda place: f"d{place}") == "d0"
    assert len(warned) == 8
    assert warned[0] == "the loss or a gradient is not finite, skipped a0"
