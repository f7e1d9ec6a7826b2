"""A network retrained on O2: averaged weights in fp32, evaluated in half; saved in fp32, continued to the bit."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from configs.schema import Augment, Train
from data.loading import Images
from retrain.training import NetworkTraining
from runtime.compilation import compile_in_place
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World
from supernet.catalog import Selection
from supernet.evaluation import evaluate

STEPS = 8
KEYS = {"BATCH_SIZE": 8, "ACCUMULATION": 2, "EMA_DECAY": 0.9, "DROPOUT": 0.2, "DROP_PATH": 0.2, "EPOCHS": 1}


def build(selection: Selection, level: str, dtype: str, **keys: Any) -> NetworkTraining:
    config = Train(**KEYS, CLIP_GRADIENT=1.0, **keys)
    network = selection.space.build_network(selection.architecture, make_generator(0, "network"))
    network.set_regularization(config.dropout, config.drop_path)
    precision = Precision(level, dtype, torch.device("cpu"))
    return NetworkTraining(config, Augment(), network, 10, precision, World(), 0)


def advance(training: NetworkTraining, digits: Images, first: int, last: int) -> list[float]:
    loader = digits.training(16, steps_per_epoch=STEPS)
    batches = zip(range(first, last), loader.epoch(0, first))
    return [training.step(*batch, Position(0, step, STEPS)).item() for step, batch in batches]


def dtypes(module: nn.Module) -> set[torch.dtype]:
    return {weight.dtype for weight in module.parameters() if weight.ndim > 1}


@pytest.mark.parametrize(("optimizer", "dtype"), [("sgd", "float16"), ("rmsproptf", "bfloat16")])
def test_o2_retrains_like_fp32_and_goes_on_to_the_bit(
    selection: Selection, digits: Images, optimizer: str, dtype: str
) -> None:
    keys = {"OPTIMIZER": optimizer, "LR": 0.1 if optimizer == "sgd" else 0.005}
    exact, whole, resumed = (build(selection, level, dtype, **keys) for level in ("O0", "O2", "O2"))
    losses = advance(whole, digits, 0, 4)
    assert losses == pytest.approx(advance(exact, digits, 0, 4), rel=0.03)
    state = copy.deepcopy(whole.state_dict())
    for name in ("state_dict", "state_dict_ema"):
        assert {value.dtype for value in state[name].values() if value.is_floating_point()} == {torch.float32}
    resumed.load_state_dict(state)
    assert advance(whole, digits, 4, 6) == advance(resumed, digits, 4, 6)
    for name in ("state_dict", "state_dict_ema"):
        ends = [training.state_dict()[name] for training in (whole, resumed)]
        assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0]), name

    assert dtypes(whole.network) == dtypes(whole.best_network) == {getattr(torch, dtype)}
    assert dtypes(whole.averaged.module) == {torch.float32}
    held_out = list(digits.evaluation("search", 144))
    half, full = (evaluate(network, held_out, World()) for network in (whole.best_network, whole.averaged.module))
    assert half.loss == pytest.approx(full.loss, rel=0.02)
    assert half.loss != full.loss


def test_o3_trains_with_averages_in_fp32(selection: Selection, digits: Images) -> None:
    training = build(selection, "O3", "bfloat16", LR=0.1)
    advance(training, digits, 0, 4)
    assert training.guard.take_faults() == [False] * 4
    state = training.state_dict()
    for name in ("state_dict", "state_dict_ema"):
        assert {value.dtype for value in state[name].values() if value.is_floating_point()} == {torch.float32}
    assert dtypes(training.averaged.module) == {torch.float32}


@pytest.mark.slow
def test_a_compiled_network_trains_on_o2(selection: Selection, digits: Images) -> None:
    plain, compiled = (build(selection, "O2", "bfloat16") for _ in range(2))
    for training in (plain, compiled):
        training.network.set_regularization(0.0, 0.0)
    compile_in_place(compiled.network, torch.device("cpu"))
    assert advance(compiled, digits, 0, 3) == pytest.approx(advance(plain, digits, 0, 3), rel=0.02)
