"""Micro-batches: one step for several, equal to the step of the whole batch, on one process and on two."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_ranks_retrain
from torch import nn

from configs.errors import ConfigError
from configs.schema import Augment, Train
from retrain.training import NetworkTraining
from runtime.checkpoint import load_file, save_file
from runtime.optimization import learning_rate
from runtime.position import Position
from runtime.precision import Precision
from runtime.world import World

ROOT = Path(__file__).parents[2]


def find_free_port() -> str:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return str(server.getsockname()[1])


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two gloo processes report; without a launcher, which would import torch once more."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, str(ROOT / "tests/retrain/two_ranks_retrain.py"), str(folder)]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": find_free_port()}
    shared |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    processes = []
    for rank in ("0", "1"):
        environment = {**os.environ, **shared, "RANK": rank, "LOCAL_RANK": rank}
        processes.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    for process in processes:
        _, errors = process.communicate(timeout=180)
        assert process.returncode == 0, errors
    return [load_file(folder / f"rank{rank}.pth.tar") for rank in (0, 1)]


def assert_equal_training(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Weights, averaged weights, losses and the rate, to the rounding of a loss in float32."""
    assert one["lr"] == other["lr"]
    assert one["losses"] == pytest.approx(other["losses"], rel=1e-6)
    for kind in ("weights", "averaged"):
        for name, value in one[kind].items():
            assert torch.allclose(value, other[kind][name], rtol=1e-5, atol=1e-7), name


@pytest.mark.parametrize(("accumulation", "clip"), [(2, 0.0), (8, 0.1)])
def test_micro_batches_step_like_the_whole_batch(accumulation: int, clip: float):
    """Clipping, decay, momentum and averaging see the mean gradient; the rate moves once for all micro-batches."""
    keys = {"EMA_DECAY": 0.9, "CLIP_GRADIENT": clip}
    whole = two_ranks_retrain.train(World(), 1, **keys)
    assert_equal_training(two_ranks_retrain.train(World(), accumulation, **keys), whole)
    schedule = Train(**two_ranks_retrain.KEYS)
    assert whole["lr"] == learning_rate(schedule, two_ranks_retrain.STEPS - 1, two_ranks_retrain.STEPS)
    assert len(set(whole["losses"])) == two_ranks_retrain.STEPS


def test_micro_batches_on_two_processes_step_like_the_whole_batch(ranks: list):
    first, second = (rank["train"] for rank in ranks)
    assert all(torch.equal(first["weights"][name], value) for name, value in second["weights"].items())
    mean = [sum(pair) / 2 for pair in zip(first["losses"], second["losses"])]
    assert_equal_training({**first, "losses": mean}, two_ranks_retrain.train(World(), 1))


def test_a_micro_batch_that_is_not_finite_skips_the_step_on_all_ranks(ranks: list):
    expected = {"faults": [False, True, False, False], "finite": True}
    assert ranks[0]["skip"] == ranks[1]["skip"] == expected
    assert two_ranks_retrain.skip(World(), 4) == expected


def test_two_processes_measure_what_one_measures(ranks: list):
    """101 images on two processes: none is counted twice, none is left out."""
    alone = two_ranks_retrain.measure(World())
    assert ranks[0]["measure"] == ranks[1]["measure"]
    assert alone["images"] == 101
    assert ranks[0]["measure"] == pytest.approx(alone, rel=1e-6)
    assert ranks[0]["measure"]["top1"] == alone["top1"]


def test_a_restored_training_goes_on_to_the_bit(tmp_path: Path):
    """Real batch norm, whose statistics each micro-batch moves."""
    training, world = two_ranks_retrain.build(World(), 4, norms=True), World()
    two_ranks_retrain.advance(training, world)
    save_file(training.state_dict(), tmp_path / "step-4.pth.tar")
    restored = two_ranks_retrain.build(world, 4, norms=True)
    restored.load_state_dict(load_file(tmp_path / "step-4.pth.tar"))
    assert two_ranks_retrain.advance(training, world) == two_ranks_retrain.advance(restored, world)
    mine = restored.network.state_dict()
    assert all(torch.equal(value, mine[name]) for name, value in training.network.state_dict().items())
    assert mine["bn1.num_batches_tracked"] == 2 * 4 * two_ranks_retrain.STEPS


def test_an_odd_number_of_images_cannot_be_mixed():
    network, precision = nn.Linear(1, 1), Precision("O0", "bfloat16", torch.device("cpu"))
    for keys in ({"BATCH_SIZE": 31}, {"BATCH_SIZE": 5, "ACCUMULATION": 3}):
        with pytest.raises(ConfigError, match=r"mix pairs of images, and TRAIN.BATCH_SIZE=.* is odd"):
            NetworkTraining(Train(**keys), Augment(CUTMIX=1.0), network, 10, precision, World(), 0)


def test_mixing_pairs_the_whole_batch():
    """Cut into micro-batches only afterwards: the same images and targets as without."""
    seen: dict[int, list] = {}
    for accumulation in (1, 4):
        training = two_ranks_retrain.build(World(), accumulation)
        config = Train(**two_ranks_retrain.KEYS, BATCH_SIZE=32 // accumulation, ACCUMULATION=accumulation)
        mixing = NetworkTraining(config, Augment(MIXUP=0.4), training.network, 10, training.precision, World(), 0)
        images = torch.rand(32, 1, 8, 8, dtype=torch.double, generator=torch.Generator().manual_seed(0))
        loss = mixing.step(images, torch.arange(32) % 10, Position(0, 0, 4))
        seen[accumulation] = [loss, images]
    torch.testing.assert_close(seen[1], seen[4])
