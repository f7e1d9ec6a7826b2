"""O2 by apex, on a stand-in for its amp (no apex that has amp can be installed from a registry), beside our own O2."""

from __future__ import annotations

import copy
import sys
from functools import partial
from types import ModuleType

import pytest
import stand_in_amp
import torch
from torch import Tensor, nn

from configs.errors import ConfigError
from configs.schema import Runtime, Train
from runtime.amp import build_precision
from runtime.guard import GuardedStep
from runtime.optimization import build_optimizer
from runtime.world import World

KEYS = {"PRECISION": "O2", "DTYPE": "float16"}


@pytest.fixture
def _apex(monkeypatch: pytest.MonkeyPatch) -> None:
    apex = ModuleType("apex")
    apex.amp = stand_in_amp
    monkeypatch.setitem(sys.modules, "apex", apex)


class OtherNorm(nn.Module):
    """Batch norm that apex does not know, like the superkernel's."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((4,), 1.001))
        self.register_buffer("running_mean", torch.full((4,), 0.001))

    def forward(self, images: Tensor) -> Tensor:
        return images * self.scale.to(images.dtype)[:, None, None]


class Trained:
    """A network with an unused branch, and its guarded step."""

    def __init__(self, **keys: object) -> None:
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), OtherNorm(), nn.Flatten(), nn.Linear(144, 2)]
        self.model = nn.Sequential(*layers)
        self.model.register_module("5", branch := nn.Linear(2, 2))
        branch.forward = lambda logits: logits  # its weights are off the path
        self.precision = build_precision(Runtime(**KEYS, **keys), World())
        build = partial(build_optimizer, Train(LR=0.02, WEIGHT_DECAY=0.1))
        self.weights, optimizer = self.precision.prepare(self.model, build)
        self.guard = GuardedStep(self.weights, optimizer, 1.0, self.precision, World())

    def step(self, seed: int = 0, factor: float = 1.0) -> float:
        images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))

        def compute(half: slice) -> Tensor:
            return nn.functional.cross_entropy(self.model(images[half]), torch.arange(4) % 2) * factor

        return self.guard(partial(compute, slice(4)), partial(compute, slice(4, 8))).item()

    def bits(self) -> dict[str, Tensor]:
        state = self.weights.state_dict()
        return copy.deepcopy({name: value for name, value in state.items() if value.is_floating_point()})


@pytest.mark.usefixtures("_apex")
def test_apex_trains_as_our_o2_does() -> None:
    """Two micro-batches a step, clipping; norms stay fp32, what is off the path stays, an overflow is skipped."""
    own, apex = Trained(), Trained(AMP_ENGINE="apex")
    start = apex.bits()
    for seed in range(5):
        assert apex.step(seed) == pytest.approx(own.step(seed), rel=1e-3)
    assert apex.guard.take_faults() == own.guard.take_faults() == [False] * 5
    before = apex.bits()
    for name, value in own.bits().items():
        assert torch.allclose(value, before[name], atol=1e-3), name  # apex rounds masters at first
    assert torch.equal(before["5.weight"], start["5.weight"])
    assert before["2.running_mean"].tolist() == pytest.approx([0.001] * 4)
    types = {name: parameter.dtype for name, parameter in apex.model.named_parameters()}
    assert {name for name, dtype in types.items() if dtype == torch.float32} == {"1.weight", "1.bias", "2.scale"}

    apex.step(factor=1e30)
    assert all(torch.equal(value, before[name]) for name, value in apex.bits().items())
    assert apex.guard.take_faults() == [False]
    assert apex.precision.state_dict()["apex"]["loss_scaler0"]["loss_scale"] == 2.0**15

    resumed = Trained(AMP_ENGINE="apex")
    saved = copy.deepcopy(apex.guard.optimizer.state_dict())
    resumed.weights.load_state_dict(copy.deepcopy(apex.weights.state_dict()))
    resumed.guard.optimizer.load_state_dict(saved)
    resumed.precision.load_state_dict({"apex": {"loss_scaler0": {"loss_scale": 2.0**15, "unskipped": 0}}})
    assert apex.step(7) == resumed.step(7)
    assert all(torch.equal(value, resumed.bits()[name]) for name, value in apex.bits().items())


@pytest.mark.usefixtures("_apex")
def test_a_fixed_scale_is_never_searched_for() -> None:
    apex = Trained(AMP_ENGINE="apex", LOSS_SCALE=128)
    before = apex.bits()
    apex.step(factor=1e30)
    assert apex.guard.take_faults() == [True]
    assert all(torch.equal(value, before[name]) for name, value in apex.bits().items())


@pytest.mark.parametrize("installed", [None, ModuleType("apex")], ids=["no apex", "an apex without amp"])
def test_an_absent_amp_is_one_message(installed: ModuleType | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apex", installed)
    with pytest.raises(ConfigError, match=r"no apex that has amp .*AMP_ENGINE=native"):
        build_precision(Runtime(**KEYS, AMP_ENGINE="apex"), World())
