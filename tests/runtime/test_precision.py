"""Precision levels: which type is where, that half precision follows fp32, overflows, the loss scale, resuming."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call

from configs.errors import DeviceError
from configs.schema import Runtime, Train
from runtime.amp import build_precision
from runtime.masters import MasterWeights
from runtime.npu import OverflowRegister, find_overflow_register
from runtime.optimization import average_gradients, build_optimizer
from runtime.precision import Precision
from runtime.scaling import CAP, INTERVAL, START, LossScale
from runtime.world import World

CPU = torch.device("cpu")
HALVES = ["float16", "bfloat16"]  # this CPU has convolutions in both
LEVELS = [("O0", "float16"), *((level, dtype) for level in ("O1", "O2", "O3") for dtype in HALVES)]


class Tiny(NamedTuple):
    """A small network that a precision trains."""

    model: nn.Module
    weights: MasterWeights
    optimizer: torch.optim.Optimizer
    precision: Precision


def make(level: str, dtype: str, loss_scale: Any = "dynamic", optimizer: str = "sgd", **keys: Any) -> Tiny:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    precision = Precision(level, dtype, CPU, loss_scale, **keys)
    config = Train(LR=0.02, OPTIMIZER=optimizer, WEIGHT_DECAY=1e-3)
    return Tiny(model, *precision.prepare(model, partial(build_optimizer, config)), precision)


def train_step(tiny: Tiny, factor: float = 1.0, clip: float = 0.0, seed: int = 1) -> Tensor:
    tiny.weights.clear_gradients()
    tiny.precision.begin()
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(seed))
    with tiny.precision.autocast():
        loss = nn.functional.cross_entropy(tiny.model(images).float(), torch.arange(8) % 2)
    tiny.precision.backward(loss * factor)
    return tiny.precision.step(tiny.weights, tiny.optimizer, clip)


def bits(tiny: Tiny) -> dict[str, Tensor]:
    """Copies of the weights, their masters and the optimizer's state."""
    states = enumerate(tiny.optimizer.state.values())
    state = {f"{key} {number}": value for number, one in states for key, value in one.items()}
    own = dict(tiny.model.named_parameters())
    masters = {f"master of {name}": value for name, value in tiny.weights.state_dict().items() if name in own}
    return copy.deepcopy({**own, **masters, **{key: value for key, value in state.items() if torch.is_tensor(value)}})


def assert_same_bits(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_every_level_learns_in_its_types_and_saves_fp32(level: str, dtype: str) -> None:
    tiny, half = make(level, dtype), getattr(torch, dtype)
    before = bits(tiny)
    for _ in range(3):
        assert train_step(tiny)
    types = {name: value.dtype for name, value in tiny.model.state_dict().items() if value.is_floating_point()}
    norm = torch.float32 if level != "O3" else half
    inner = torch.float32 if level in ("O0", "O1") else half
    assert types == {name: norm if name.startswith("1.") else inner for name in types}
    saved = tiny.weights.state_dict()
    assert {value.dtype for value in saved.values() if value.is_floating_point()} == {torch.float32}
    assert list(saved) == list(tiny.model.state_dict())
    assert not torch.equal(before["0.weight"], saved["0.weight"])
    owned = {p.dtype for group in tiny.optimizer.param_groups for p in group["params"]}
    assert owned == ({half} if level == "O3" else {torch.float32})


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_the_forward_pass_computes_in_the_type_that_was_asked_for(level: str, dtype: str) -> None:
    tiny, seen = make(level, dtype), []
    tiny.model[0].register_forward_hook(lambda *call: seen.append(call[-1].dtype))
    with tiny.precision.autocast():
        output = tiny.model(torch.zeros(2, 3, 8, 8))
    assert seen == [torch.float32 if level == "O0" else getattr(torch, dtype)]
    assert output.dtype == (getattr(torch, dtype) if level == "O1" else torch.float32)


@pytest.mark.parametrize("dtype", HALVES)
def test_half_weights_are_their_masters_rounded(dtype: str) -> None:
    tiny = make("O2", dtype)
    for seed in range(3):
        train_step(tiny, seed=seed)
        saved = tiny.weights.state_dict()
        for name, weight in tiny.model.named_parameters():
            assert torch.equal(weight, saved[name].to(weight.dtype)), name
    assert not torch.equal(tiny.model[0].weight.float(), saved["0.weight"])  # the master knows more


@pytest.mark.parametrize("optimizer", ["sgd", "rmsproptf", "adamw"])
@pytest.mark.parametrize("dtype", HALVES)
def test_o2_follows_fp32(dtype: str, optimizer: str) -> None:
    """After 40 steps, which move the weights further than they were long, the two differ by 3 % of that way."""
    trained = [make(level, dtype, optimizer=optimizer) for level in ("O0", "O2")]
    start = trained[0].weights.state_dict()["4.weight"].clone()
    for seed in range(40):
        assert all(train_step(tiny, seed=seed % 4) for tiny in trained)
    exact, half = (tiny.weights.state_dict() for tiny in trained)
    way = (exact["4.weight"] - start).norm()
    assert way > start.norm()
    assert (half["4.weight"] - exact["4.weight"]).norm() < 0.03 * way


def test_masters_gather_what_half_weights_cannot_hold() -> None:
    """Steps below a weight's resolution add up: bfloat16 has 8 bits, and 1 + 0.001 is 1 in it."""
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    precision = Precision("O2", "bfloat16", CPU)
    weights, optimizer = precision.prepare(layer, lambda parameters: torch.optim.SGD(parameters, 0.001))
    for _ in range(20):
        weights.clear_gradients()
        precision.backward(-layer(torch.ones(1, 1)).sum())
        precision.step(weights, optimizer)
    assert weights.state_dict()["weight"].item() == pytest.approx(1.02)
    assert layer.weight.item() == torch.tensor(1.02).bfloat16().item() > 1


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_an_overflow_skips_the_step_and_halves_the_scale(level: str) -> None:
    tiny = make(level, "float16")
    assert train_step(tiny)
    assert tiny.precision.state_dict()["scale"] == START
    before = bits(tiny)
    assert not train_step(tiny, factor=1e30)  # finite, but no gradient is in float16
    assert_same_bits(bits(tiny), before)
    assert tiny.precision.state_dict() == {"scale": START / 2, "clean_steps": 0.0}
    assert train_step(tiny)
    assert not torch.equal(bits(tiny)["0.weight"], before["0.weight"])


@pytest.mark.parametrize("level", ["O1", "O2", "O3"])
def test_a_fixed_scale_stays_and_changes_no_gradient(level: str) -> None:
    gradients = []
    for scale in (1.0, 256.0):
        tiny = make(level, "float16", scale)
        train_step(tiny)
        assert not tiny.precision.has_dynamic_scale
        gradients.append(torch.cat([p.grad.flatten() for g in tiny.optimizer.param_groups for p in g["params"]]))
        assert not train_step(tiny, factor=1e30)
        assert tiny.precision.state_dict() == {}
    assert torch.allclose(gradients[0].float(), gradients[1].float(), rtol=1e-2, atol=1e-4)


def test_bfloat16_needs_no_scale() -> None:
    tiny = make("O2", "bfloat16")
    assert tiny.precision.state_dict() == {}
    assert train_step(tiny, factor=1e10)


@given(st.integers(10, 24), st.integers(INTERVAL - 5, INTERVAL - 1), st.lists(st.booleans(), max_size=12))
def test_the_scale_follows_its_rule(power: int, clean: int, steps: list[bool]) -> None:
    """x 2 after 2000 clean steps in a row, at most 2^24; / 2 at each overflow."""
    scale, expected = LossScale("dynamic", CPU), 2.0**power
    scale.load_state_dict({"scale": expected, "clean_steps": clean})
    for finite in steps:
        scale.update(torch.tensor(finite))
        clean = clean + 1 if finite else 0
        expected = expected if finite else expected / 2
        if clean == INTERVAL:
            clean, expected = 0, min(2 * expected, CAP)
        assert scale.state_dict() == {"scale": expected, "clean_steps": clean}


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_clipping_bounds_the_unscaled_gradient(level: str, dtype: str) -> None:
    tiny = make(level, dtype)
    train_step(tiny, clip=0.01)
    owned = [p for group in tiny.optimizer.param_groups for p in group["params"]]
    norm = torch.stack([parameter.grad.float().norm() for parameter in owned]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3 if level != "O3" else 2e-2)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsproptf", "adamw"])
def test_what_is_off_the_path_keeps_every_bit(optimizer: str) -> None:
    """Of weights, masters and the optimizer's state; and it gets no gradient of zero."""
    branches = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    precision = Precision("O2", "float16", CPU)
    config = Train(OPTIMIZER=optimizer, LR=0.1, WEIGHT_DECAY=0.5)
    weights, built = precision.prepare(branches, partial(build_optimizer, config))
    tiny = Tiny(branches, weights, built, precision)
    owned = [p for group in built.param_groups for p in group["params"]]

    def step(branch: int) -> dict[str, Tensor]:
        weights.clear_gradients()
        precision.backward(branches[branch](torch.ones(2, 4).half()).float().square().mean())
        average_gradients(weights.parameters, World())
        assert precision.step(weights, built)
        assert sum(p.grad is not None for p in owned) == 2
        return bits(tiny)

    for _ in range(3):
        before = step(0)
    state = {p: copy.deepcopy(built.state[p]) for p in owned if built.state[p]}
    for _ in range(3):
        after = step(1)
    for name, value in before.items():
        if "0." in name:
            assert torch.equal(value, after[name]), name
    assert len(state) == 2
    for parameter, values in state.items():
        assert all(torch.equal(value, built.state[parameter][key]) for key, value in values.items())


@pytest.mark.parametrize("dtype", HALVES)
def test_resuming_is_exact(dtype: str) -> None:
    whole, first, second = make("O2", dtype), make("O2", dtype), make("O2", dtype)
    for seed in range(6):
        train_step(whole, factor=1e30 if seed == 1 else 1.0, seed=seed)
        train_step(first if seed < 3 else second, factor=1e30 if seed == 1 else 1.0, seed=seed)
        if seed == 2:
            second.weights.load_state_dict(first.weights.state_dict())
            second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
            second.precision.load_state_dict(first.precision.state_dict())
    assert_same_bits(bits(whole), bits(second))
    assert whole.precision.state_dict() == second.precision.state_dict()


def test_the_scale_survives_a_checkpoint_and_a_change_of_precision() -> None:
    tiny = make("O1", "float16")
    train_step(tiny, factor=float("inf"))
    resumed = Precision("O2", "float16", CPU)
    resumed.load_state_dict(tiny.precision.state_dict())
    assert resumed.state_dict() == tiny.precision.state_dict() == {"scale": START / 2, "clean_steps": 0.0}
    plain = Precision("O0", "float16", CPU)
    assert plain.state_dict() == {}
    plain.load_state_dict(tiny.precision.state_dict())
    resumed.load_state_dict(plain.state_dict())
    assert resumed.state_dict() == tiny.precision.state_dict()


def test_a_call_with_other_weights_computes_in_their_type() -> None:
    """As a step ahead in fp32 does, which half precision would swallow."""
    tiny = make("O2", "bfloat16")
    images = torch.randn(2, 3, 8, 8)
    exact = make("O0", "bfloat16").model(images)
    weights = {name: value for name, value in tiny.weights.state_dict().items() if value.is_floating_point()}
    assert torch.equal(functional_call(tiny.model, weights, (images,)), exact)
    assert not torch.equal(tiny.model(images), exact)


@dataclass
class FakeChip:
    """torch_npu's functions for a chip that saturates."""

    flag: bool = False
    calls: list[str] = field(default_factory=list)

    def is_support_inf_nan(self) -> bool:
        return False

    def clear_npu_overflow_flag(self) -> None:
        self.calls.append("clear")
        self.flag = False

    def get_npu_overflow_flag(self) -> bool:
        self.calls.append("get")
        return self.flag


def test_a_chip_that_saturates_is_asked_for_its_flag() -> None:
    """On any rank: the sum over ranks decides."""
    chip, others = FakeChip(), torch.zeros(())
    tiny = make("O2", "float16", probe=OverflowRegister(chip, CPU, lambda flag: flag + others))
    assert train_step(tiny)
    assert chip.calls == ["clear", "get"]
    before = bits(tiny)
    others.fill_(1.0)  # another rank's
    assert not train_step(tiny)
    assert_same_bits(bits(tiny), before)
    assert tiny.precision.state_dict()["scale"] == START / 2


def test_only_a_saturating_npu_has_a_register(monkeypatch: pytest.MonkeyPatch) -> None:
    npu, chip = torch.device("meta"), FakeChip()
    monkeypatch.setattr(torch, "npu", type("npu", (), {"utils": chip}), raising=False)
    assert find_overflow_register(npu, lambda flag: flag) is None  # no npu
    device: Any = type("device", (), {"type": "npu"})()
    assert find_overflow_register(device, lambda flag: flag) is not None
    monkeypatch.setattr(chip, "is_support_inf_nan", lambda: True)
    assert find_overflow_register(device, lambda flag: flag) is None


@pytest.mark.parametrize(
    ("keys", "level", "kind"),
    [
        ({"PRECISION": "auto"}, "O0", Precision),
        ({"PRECISION": "O2"}, "O2", Precision),
        ({"PRECISION": "auto", "AMP_ENGINE": "apex", "DTYPE": "float16"}, "O0", Precision),
    ],
)
def test_auto_is_fp32_on_a_cpu(keys: dict[str, Any], level: str, kind: type) -> None:
    built = build_precision(Runtime(**keys), World())
    assert (built.level, type(built)) == (level, kind)


def test_a_device_without_the_type_is_refused_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise RuntimeError('"slow_conv2d" not implemented for Half\nand a long story')

    monkeypatch.setattr(nn.functional, "conv2d", refuse)
    build_precision(Runtime(PRECISION="O0"), World())
    with pytest.raises(DeviceError, match=r"cpu does not \(.*for Half\); set RUNTIME.DTYPE=bfloat16, or "):
        build_precision(Runtime(PRECISION="O2", DTYPE="float16"), World())
