"""Schedules as pure functions, optimizers that leave what is off the path alone, and flat averages over ranks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from configs.schema import Train
from runtime.optimization import (
    average_gradients,
    average_statistics,
    average_tensors,
    build_optimizer,
    learning_rate,
    load_optimizer,
    set_learning_rate,
)
from runtime.position import StepsPerEpoch, steps_before
from runtime.world import World

OPTIMIZERS = ["sgd", "rmsproptf", "adamw"]
SCHEDULES = ["linear", "cosine", "step", "constant"]


def rates(steps_per_epoch: int = 10, **keys: object) -> list[float]:
    """The learning rate of every step, and the one after the last."""
    config = Train(**{"EPOCHS": 10, "LR": 2.0, "MIN_LR": 0.5, **keys})
    return [learning_rate(config, step, steps_per_epoch) for step in range(config.epochs * steps_per_epoch + 1)]


def test_linear_falls_evenly_from_the_peak_to_the_minimum():
    values = rates(SCHEDULE="linear")
    assert values[0] == 2.0
    assert values[50] == pytest.approx(1.25)
    assert values[-1] == pytest.approx(0.5)


@pytest.mark.parametrize("steps_per_epoch", [Fraction(625, 4), 156])
def test_cosine_by_step_ends_at_the_minimum_in_the_last_step(steps_per_epoch: StepsPerEpoch):
    config = Train(EPOCHS=108, LR=0.1, SCHEDULE="cosine_by_step", MIN_LR=0.0)
    total = steps_before(108, steps_per_epoch)
    values = [learning_rate(config, step, steps_per_epoch) for step in range(total)]
    assert (values[0], values[-1]) == (0.1, 0.0)
    assert values[-2] > 0
    assert values == sorted(values, reverse=True)
    plain = config.model_copy(update={"schedule": "cosine"})
    assert learning_rate(plain, total - 1, steps_per_epoch) > 0.0
    assert learning_rate(plain, total, steps_per_epoch) == 0.0
    assert learning_rate(Train(EPOCHS=1, LR=0.1, SCHEDULE="cosine_by_step"), 0, 1) == 0.1


def test_linear_works_for_every_peak():
    """The release's schedule was right only at a peak of 1."""
    assert rates(SCHEDULE="linear", LR=0.3, MIN_LR=0.0)[50] == pytest.approx(0.15)


def test_cosine_is_half_way_in_the_middle():
    values = rates(SCHEDULE="cosine")
    assert values[0] == 2.0
    assert values[25] == pytest.approx(0.5 + 1.5 * (1 + math.sqrt(0.5)) / 2)
    assert values[50] == pytest.approx(1.25)
    assert values[-1] == pytest.approx(0.5)


def test_step_decays_by_a_factor_every_few_epochs():
    """Cream's retraining: 0.973 every 2.4 epochs."""
    values = rates(SCHEDULE="step", DECAY_EPOCHS=2.4, DECAY_RATE=0.973)
    assert [values[step] for step in (0, 23, 24, 47, 48, 99)] == pytest.approx(
        [2.0, 2.0, 2.0 * 0.973, 2.0 * 0.973, 2.0 * 0.973**2, 2.0 * 0.973**4]
    )


def test_constant_stays():
    assert set(rates(SCHEDULE="constant")) == {2.0}


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_warm_up_rises_evenly_to_the_peak(schedule: str):
    values = rates(SCHEDULE=schedule, WARMUP_EPOCHS=1.5, WARMUP_LR=0.5, DECAY_EPOCHS=5)
    assert [values[step] for step in (0, 3, 6, 12, 15)] == pytest.approx([0.5, 0.8, 1.1, 1.7, 2.0])


@given(
    st.sampled_from(SCHEDULES),
    st.integers(1, 6),
    st.integers(1, 7),
    st.floats(0, 8),
    st.floats(0.01, 10),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_rates_lie_between_minimum_and_peak(
    schedule: str, epochs: int, steps: int, warmup: float, peak: float, low: float, start: float
):
    keys = {"EPOCHS": epochs, "LR": peak, "MIN_LR": low * peak, "WARMUP_EPOCHS": warmup, "WARMUP_LR": start * peak}
    values = rates(steps, SCHEDULE=schedule, **keys)[:-1]
    floor = min(start, low) * peak if schedule != "step" else 0.0
    assert all(floor * (1 - 1e-9) <= value <= peak * (1 + 1e-9) for value in values)
    after = values[math.ceil(warmup * steps) :]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(after))


def test_the_rate_reaches_every_group():
    optimizer = build_optimizer(Train(), list(nn.Conv2d(1, 2, 3).parameters()))
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_vectors_are_not_decayed(name: str):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5))
    optimizer = build_optimizer(Train(OPTIMIZER=name, WEIGHT_DECAY=0.25), list(module.parameters()))
    decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    assert {key: decays[id(p)] for key, p in module.named_parameters()} == {
        **dict.fromkeys(["0.weight", "2.weight"], 0.25),
        **dict.fromkeys(["0.bias", "1.weight", "1.bias", "2.bias"], 0.0),
    }
    everything = build_optimizer(Train(OPTIMIZER=name, WEIGHT_DECAY=0.25, DECAY_NORMS=True), list(module.parameters()))
    assert [group["weight_decay"] for group in everything.param_groups] == [0.25, 0.25]


def test_rmsproptf_is_tensorflows():
    """Epsilon inside the root, a mean square that starts at 1, the rate inside the momentum, L2 on all."""
    keys = {"OPTIMIZER": "rmsproptf", "EPS": 1.0, "RMSPROP_DECAY": 0.8, "WEIGHT_DECAY": 0.1, "DECAY_NORMS": True}
    config = Train(LR=0.5, MOMENTUM=0.9, **keys)
    parameter = nn.Parameter(torch.tensor([2.0, -1.0], dtype=torch.float64))
    optimizer = build_optimizer(config, [parameter])
    weight, square, momentum = parameter.detach().clone(), torch.ones(2), torch.zeros(2)
    for gradient in (torch.tensor([1.0, 3.0]), torch.tensor([-2.0, 0.5])):
        parameter.grad = gradient.double()
        optimizer.step()
        decayed = gradient + 0.1 * weight
        square = 0.8 * square + 0.2 * decayed**2
        momentum = 0.9 * momentum + 0.5 * decayed / (square + 1.0).sqrt()
        weight = weight - momentum
        torch.testing.assert_close(parameter.detach(), weight)


def test_sgd_is_nesterovs():
    """w -= lr (g + m v), v = m v + g, g with decay: two steps by hand."""
    parameter = nn.Parameter(torch.tensor([[3.0]], dtype=torch.float64))
    module = nn.Module()
    module.weight = parameter
    optimizer = build_optimizer(Train(LR=0.1, MOMENTUM=0.9, WEIGHT_DECAY=0.5), list(module.parameters()))
    weight, velocity = 3.0, 0.0
    for gradient in (1.0, -2.0):
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        decayed = gradient + 0.5 * weight
        velocity = 0.9 * velocity + decayed
        weight -= 0.1 * (decayed + 0.9 * velocity)
    assert parameter.item() == pytest.approx(weight, rel=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_what_is_off_the_path_keeps_every_bit(name: str):
    """Neither decay nor the momentum of earlier steps moves it; then it goes on with the momentum it had."""
    branches = nn.ModuleList([nn.Linear(4, 4), nn.Linear(4, 4)])
    optimizer = build_optimizer(Train(OPTIMIZER=name, LR=0.1, WEIGHT_DECAY=0.5), list(branches.parameters()))

    def step(branch: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        branches[branch](torch.ones(2, 4)).square().sum().backward()
        average_gradients(branches.parameters(), World())
        optimizer.step()

    def bits(branch: int) -> list[Tensor]:
        state = [optimizer.state[p] for p in branches[branch].parameters()]
        tensors = [value.clone() for one in state for value in one.values() if torch.is_tensor(value)]
        return [*(p.detach().clone() for p in branches[branch].parameters()), *tensors]

    for _ in range(3):
        step(0)
    before = bits(0)
    assert len(before) > 2
    for _ in range(3):
        step(1)
    assert all(torch.equal(one, other) for one, other in zip(before, bits(0), strict=True))
    step(0)
    assert not torch.equal(before[0], bits(0)[0])


@dataclass(frozen=True)
class TwoRanks(World):
    """This rank beside one whose tensors are all 10."""

    size: int = 2
    reduced: list[torch.Size] = field(default_factory=list)

    def sum(self, tensor: Tensor) -> Tensor:
        self.reduced.append(tensor.shape)
        return tensor.add_(10.0)


def test_only_gradients_that_exist_are_averaged_and_none_stays_none():
    world = TwoRanks()
    used, unused, other = (nn.Parameter(torch.zeros(shape)) for shape in ((2, 3), (4,), (5,)))
    used.grad, other.grad = torch.full((2, 3), 2.0), torch.arange(5.0)
    average_gradients([used, unused, other], world)
    assert unused.grad is None
    assert torch.equal(used.grad, torch.full((2, 3), 6.0))
    assert torch.equal(other.grad, (torch.arange(5.0) + 10) / 2)
    assert world.reduced == [torch.Size([11])]  # one flat reduction


def test_half_gradients_are_averaged_as_they_are_beside_those_of_fp32():
    """One reduction for each type: what is half stays half on its way."""
    world = TwoRanks()
    kernel, norm = nn.Parameter(torch.zeros(6).half()), nn.Parameter(torch.zeros(2))
    kernel.grad, norm.grad = torch.full((6,), 2.0).half(), torch.ones(2)
    average_gradients([kernel, norm], world)
    assert torch.equal(kernel.grad, torch.full((6,), 6.0).half())
    assert torch.equal(norm.grad, torch.full((2,), 5.5))
    assert world.reduced == [torch.Size([6]), torch.Size([2])]


def test_layouts_survive_averaging():
    tensor = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    expected = (tensor + 10) / 2
    average_tensors([tensor], TwoRanks())
    assert torch.equal(tensor, expected)
    assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_one_process_reduces_nothing():
    tensor = torch.tensor([3.0])
    average_tensors([tensor], World())
    average_tensors([], TwoRanks())
    assert tensor.item() == 3.0


def test_statistics_are_averaged_and_counters_are_not():
    norm = nn.BatchNorm2d(3)
    norm.num_batches_tracked.fill_(7)
    average_statistics(norm, TwoRanks())
    assert torch.equal(norm.running_mean, torch.full((3,), 5.0))
    assert torch.equal(norm.running_var, torch.full((3,), 5.5))
    assert norm.num_batches_tracked.item() == 7
    assert torch.equal(norm.weight, torch.ones(3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_loaded_state_keeps_the_devices_own_way_of_computing(name: str) -> None:
    """A state from a device that fuses serves one that does not, and the other way round."""
    layer = nn.Linear(3, 2)
    optimizer = build_optimizer(Train(OPTIMIZER=name), list(layer.parameters()))
    layer(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = optimizer.state_dict()
    for group in state["param_groups"]:
        group |= {"fused": not group.get("fused"), "lr": 0.125}
    fresh = build_optimizer(Train(OPTIMIZER=name), list(layer.parameters()))
    own = [group.get("fused") for group in fresh.param_groups]
    load_optimizer(fresh, state)
    assert [group.get("fused") for group in fresh.param_groups] == own
    assert [group["lr"] for group in fresh.param_groups] == [0.125, 0.125]
    assert fresh.state_dict()["state"].keys() == state["state"].keys()


def test_momentum_starts_wherever_a_path_is_new() -> None:
    """Some parameters have had a step, some have not, some never will: as without fusing, to rounding."""
    weights = {}
    for fused in (True, False):
        layers = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))
        optimizer = build_optimizer(Train(LR=0.1, WEIGHT_DECAY=0.01), list(layers.parameters()))
        for layer in layers:
            nn.init.eye_(layer.weight)
        for group in optimizer.param_groups:
            group["fused"] = fused
        for used in ([0], [0, 1], [1]):
            optimizer.zero_grad(set_to_none=True)
            sum(layers[number](torch.ones(1, 2)).sum() for number in used).backward()
            optimizer.step()
        assert not optimizer.state.get(layers[2].weight)
        weights[fused] = torch.stack([layer.weight.detach() for layer in layers])
    torch.testing.assert_close(weights[True], weights[False])
