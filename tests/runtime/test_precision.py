import copy

import pytest
import torch
from torch import nn

from runtime.precision import Precision

CPU = torch.device("cpu")
LEVELS = [("O0", "float16"), ("O1", "bfloat16"), ("O1", "float16")]


def make(level: str, dtype: str, lr: float = 0.1) -> tuple[nn.Module, torch.optim.Optimizer, Precision]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 2))
    return model, torch.optim.SGD(model.parameters(), lr, momentum=0.9), Precision(level, dtype, CPU)


def train_step(model, optimizer, precision, factor: float = 1.0, clip: float = 0.0) -> torch.Tensor:
    optimizer.zero_grad()
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    with precision.autocast():
        loss = nn.functional.cross_entropy(model(images), torch.arange(8) % 2)
    precision.backward(loss * factor)
    return precision.step(optimizer, clip)


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_every_level_learns(level: str, dtype: str) -> None:
    model, optimizer, precision = make(level, dtype)
    before = copy.deepcopy(model.state_dict())
    for _ in range(3):
        assert train_step(model, optimizer, precision)
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())
    assert not torch.equal(before["0.weight"], model.state_dict()["0.weight"])


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_autocast_computes_in_the_type_that_was_asked_for(level: str, dtype: str) -> None:
    model, _, precision = make(level, dtype)
    with precision.autocast():
        output = model(torch.zeros(2, 3, 8, 8))
    assert output.dtype == (torch.float32 if level == "O0" else getattr(torch, dtype))


def test_an_overflow_skips_the_step_and_halves_the_scale() -> None:
    model, optimizer, precision = make("O1", "float16")
    assert train_step(model, optimizer, precision)
    scale = precision.state_dict()["scale"]
    before = copy.deepcopy([model.state_dict(), optimizer.state_dict()])
    before_weights = before[0]["0.weight"].clone()
    assert not train_step(model, optimizer, precision, factor=float("inf"))
    assert torch.equal(model.state_dict()["0.weight"], before_weights)
    assert precision.state_dict()["scale"] == scale / 2
    assert train_step(model, optimizer, precision)
    assert not torch.equal(model.state_dict()["0.weight"], before_weights)


@pytest.mark.parametrize(("level", "dtype"), LEVELS)
def test_clipping_bounds_the_unscaled_gradient(level: str, dtype: str) -> None:
    model, optimizer, precision = make(level, dtype)
    unused = nn.Parameter(torch.ones(2))
    optimizer.add_param_group({"params": [unused]})
    train_step(model, optimizer, precision, clip=0.01)
    norm = torch.stack([parameter.grad.norm() for parameter in model.parameters()]).norm()
    assert norm.item() == pytest.approx(0.01, rel=1e-3)
    assert unused.grad is None


def test_scaled_and_plain_gradients_agree() -> None:
    weights = []
    for level, dtype in (("O0", "float16"), ("O1", "float16")):
        model, optimizer, precision = make(level, dtype)
        train_step(model, optimizer, precision)
        weights.append(model.state_dict()["3.weight"])
    torch.testing.assert_close(weights[0], weights[1], atol=2e-3, rtol=2e-2)


def test_the_scale_survives_a_checkpoint_and_a_change_of_precision() -> None:
    model, optimizer, precision = make("O1", "float16")
    train_step(model, optimizer, precision, factor=float("inf"))
    resumed = Precision("O1", "float16", CPU)
    resumed.load_state_dict(precision.state_dict())
    assert resumed.state_dict() == precision.state_dict()
    plain = Precision("O0", "float16", CPU)
    assert plain.state_dict() == {}
    plain.load_state_dict(precision.state_dict())
    resumed.load_state_dict(plain.state_dict())
    assert resumed.state_dict() == precision.state_dict()
