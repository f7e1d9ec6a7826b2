"""RUNTIME.COMPILE: the same training and the same names of weights, or one message where torch.compile cannot work."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import two_ranks_retrain
from torch import nn

from configs.errors import DeviceError
from runtime.checkpoint import load_file, save_file
from runtime.compilation import compile_in_place
from runtime.world import World

CPU = torch.device("cpu")


@pytest.mark.slow
def test_a_compiled_network_trains_like_the_plain_one(tmp_path: Path):
    """Batch norm's statistics and averaged weights included; either continues the other's checkpoint."""
    trainings = [two_ranks_retrain.build(World(), 2, norms=True, EMA_DECAY=0.9) for _ in range(2)]
    plain, compiled = trainings
    compile_in_place(compiled.network, CPU)
    losses = [two_ranks_retrain.advance(training, World()) for training in trainings]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    states = [training.state_dict() for training in trainings]
    for kind in ("state_dict", "state_dict_ema"):
        assert list(states[0][kind]) == list(states[1][kind])
        for name, value in states[0][kind].items():
            assert torch.allclose(value, states[1][kind][name], rtol=1e-4, atol=1e-5), name
    for index, training in enumerate(trainings):
        save_file(states[index], tmp_path / "step-4.pth.tar")
        trainings[1 - index].load_state_dict(load_file(tmp_path / "step-4.pth.tar"))
        assert torch.equal(trainings[1 - index].network.bn1.running_var, training.network.bn1.running_var)
    assert plain.network.eval()(torch.zeros(2, 1, 8, 8).double()).shape == (2, 10)


def test_a_machine_without_a_compiler_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch):
    def fail(*_: Any) -> NoReturn:
        raise RuntimeError("No working C++ compiler found\nand a long story about it")

    network = nn.Linear(1, 1)
    monkeypatch.setattr(torch, "compile", lambda function: fail)
    with pytest.raises(DeviceError, match=r"does not work on this machine's cpu \(No working C\+\+ compiler found\); "):
        compile_in_place(network, CPU)
    assert network._compiled_call_impl is None
