"""A supernet on O2: half weights, losses like fp32's, nothing off the path moves, a search goes on to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_search import TinySearch, assert_identical, build_search
from torch import Tensor

from data.loading import Images
from runtime.position import Position
from runtime.precision import Precision
from runtime.world import World
from search.matching import Teacher, matching_gradient
from supernet.architecture import Architecture

STUDENT, TEACHER = (Architecture("tiny", stages) for stages in (((1, 2), (2, 0, 1)), ((2,), (1, 1))))


def build(digits: Images, level: str, dtype: str, encoding: str) -> TinySearch:
    """Teachers from the third step on, small boards: half precision is slow on a CPU."""
    board = {"SIZE": 2, "INTERVAL": 2, "IMAGES": 40, "RECALIBRATION_IMAGES": 16}
    search = {"DISTILLATION_EPOCH": 0, "BOARD": board}
    precision = Precision(level, dtype, torch.device("cpu"))
    return build_search(digits, encoding=encoding, search=search, precision=precision)


@pytest.mark.parametrize(("encoding", "dtype"), [("superkernel", "float16"), ("separate", "bfloat16")])
def test_a_search_on_o2_follows_fp32_and_goes_on_to_the_bit(digits: Images, encoding: str, dtype: str) -> None:
    """Board, teachers, matching network and look-ahead take part."""
    exact, whole, resumed = (build(digits, level, dtype, encoding) for level in ("O0", "O2", "O2"))
    assert whole.run(0, 3) == pytest.approx(exact.run(0, 3), rel=0.02)
    assert whole.strategy.distilled_steps > 0
    state = copy.deepcopy(whole.training.state_dict())
    types = {value.dtype for value in state["state_dict"].values() if value.is_floating_point()}
    assert types == {torch.float32}
    for name, value in whole.supernet.named_parameters():
        assert value.dtype == (torch.float32 if ".bn" in f".{name}" else getattr(torch, dtype)), name
    resumed.training.load_state_dict(state)
    assert whole.run(3, 4) == resumed.run(3, 4)
    assert_identical(whole.training.state_dict(), resumed.training.state_dict())


def bits(search: TinySearch) -> dict[str, list[Tensor]]:
    """Of each parameter: its value, its master's, and the momentum."""
    owned = [p for group in search.training.optimizer.param_groups for p in group["params"]]
    masters = {p.data_ptr(): p for p in owned}
    whole = search.training.weights.state_dict()
    states = {name: search.training.optimizer.state[masters[whole[name].data_ptr()]] for name, _ in named(search)}
    return copy.deepcopy({name: [p.detach(), whole[name], *states[name].values()] for name, p in named(search)})


def named(search: TinySearch) -> list[tuple[str, torch.nn.Parameter]]:
    return list(search.supernet.named_parameters())


@pytest.mark.parametrize("encoding", ["superkernel", "separate"])
def test_what_is_off_the_path_keeps_every_bit(digits: Images, encoding: str) -> None:
    """After steps of other paths, which gave it momentum; what is on the path moves."""
    search = build(digits, "O2", "float16", encoding)
    search.run(0, 3)
    before = bits(search)
    images, labels = next(search.loader.epoch(1))
    search.training.weights.clear_gradients()
    search.supernet(images, STUDENT).sum().backward()
    on_path = {name for name, parameter in named(search) if parameter.grad is not None}
    assert 0 < len(on_path) < len(before)
    search.training.step(images, labels, [STUDENT], Position(0, 0, 4))
    after = bits(search)
    for name, values in before.items():
        same = [torch.equal(*pair) for pair in zip(values, after[name], strict=True)] if name not in on_path else []
        assert all(same), name
    assert not [name for name in on_path if torch.equal(before[name][1], after[name][1])]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_look_ahead_is_that_of_fp32(digits: Images, dtype: str) -> None:
    """Half precision would swallow a step of 1e-5."""
    half, exact = (build(digits, level, dtype, "superkernel") for level in ("O2", "O0"))
    exact.supernet.load_state_dict({name: value.float() for name, value in half.supernet.state_dict().items()})
    images, labels = next(half.loader.epoch(0))
    slopes = []
    for search in (half, exact):
        teacher = Teacher(TEACHER, torch.tensor(0.5))
        held_out = (images, labels)
        slopes.append(matching_gradient(search.supernet, STUDENT, teacher, images[:4], held_out, 1e-5, World()))
    assert slopes[0].dtype == torch.float32
    assert slopes[0].item() == pytest.approx(slopes[1].item(), rel=0.05)
    assert all(parameter.grad is None for _, parameter in named(half))
