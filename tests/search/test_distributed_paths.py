"""Two processes that train and measure paths agree with each other, and with one process on the same images."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import two_ranks
from tiny_search import assert_identical, build_search, open_digits, snapshot

from data.loading import Images
from runtime.checkpoint import load_file
from runtime.position import Position
from runtime.world import World

ROOT = Path(__file__).parents[2]
LAUNCHER_VARIABLES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
ENCODINGS = ["superkernel", "separate"]


def find_free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What two gloo processes report."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHER_VARIABLES}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={find_free_port()}"]
    result = subprocess.run(
        [*command, str(ROOT / "tests/search/two_ranks.py"), str(folder)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return [load_file(folder / f"rank{rank}.pth.tar") for rank in (0, 1)]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_all_ranks_draw_the_same_paths(ranks: list, encoding: str):
    alone = two_ranks.train_paths(World(), encoding)
    assert ranks[0][encoding]["paths"] == ranks[1][encoding]["paths"] == alone["paths"]
    assert len({str(path) for path in alone["paths"]}) > 4


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_two_processes_equal_one_with_the_doubled_batch(ranks: list, encoding: str):
    """Momentum, decay and clipping included; batch norm, which sees half a batch in each, is frozen here."""
    alone = two_ranks.train_paths(World(), encoding)
    start = dict(build_search(open_digits(), encoding=encoding).supernet.named_parameters())
    assert_identical(ranks[0][encoding], ranks[1][encoding])
    together = ranks[0][encoding]
    assert together["optimizer"].keys() == alone["optimizer"].keys()
    for number, state in alone["optimizer"].items():
        momentum = together["optimizer"][number]["momentum_buffer"]
        assert torch.allclose(momentum, state["momentum_buffer"], rtol=1e-4, atol=1e-6)
    moved = 0.0
    for name, weight in alone["weights"].items():
        assert torch.allclose(together["weights"][name], weight.detach(), rtol=1e-5, atol=1e-6), name
        moved = max(moved, (weight - start[name].double()).abs().max().item())
    assert moved > 0.01


def test_ranks_agree_on_teachers_board_and_weights(ranks: list):
    """The release's ranks could choose different teachers."""
    first, second = (rank["prioritized"] for rank in ranks)
    assert len(first["strategy"]["board"]) == 3
    assert first["strategy"]["distilled_steps"] == 6
    assert len(set(first["teachers"])) > 1
    assert_identical(first, second)
    tensors = [*first["weights"].values(), *first["strategy"]["matching"].values()]
    assert all(tensor.isfinite().all() for tensor in tensors)


def test_ranks_share_their_decisions(ranks: list):
    """Thresholds, lambda, dropped indicators and weights: alike on both, and as in one process."""
    assert_identical(ranks[0]["threshold"], ranks[1]["threshold"])
    together, alone = ranks[0]["threshold"], two_ranks.train_thresholds(World())
    assert together["strategy"]["thresholds"].any()
    for name, value in alone["strategy"]["steering"].items():
        assert torch.allclose(together["strategy"]["steering"][name], value, atol=1e-5), name
    assert torch.allclose(together["strategy"]["thresholds"], alone["strategy"]["thresholds"], atol=1e-3)
    for name, weight in alone["weights"].items():
        assert torch.allclose(together["weights"][name], weight.detach(), rtol=1e-3, atol=2e-3), name


def test_scores_do_not_depend_on_the_number_of_processes(ranks: list):
    assert ranks[0]["scores"] == ranks[1]["scores"] == two_ranks.score_fresh(World())


def test_evolution_does_not_depend_on_the_number_of_processes(ranks: list):
    assert ranks[0]["evolution"] == ranks[1]["evolution"] == two_ranks.evolve(World())
    assert len(ranks[0]["evolution"]) == 13


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("optimizer", ["sgd", "rmsproptf", "adamw"])
def test_weights_off_the_path_keep_every_bit(digits: Images, encoding: str, optimizer: str):
    """Neither decay nor the momentum that another path left moves them."""
    keys = {"OPTIMIZER": optimizer, "LR": 0.01, "WEIGHT_DECAY": 0.5}
    search = build_search(digits, encoding=encoding, train=keys, search={"STRATEGY": "uniform"})
    (images, labels), *_ = search.loader.epoch(0)

    def step(text: str) -> None:
        search.training.step(images, labels, [search.space.parse(text)], Position(0, 0, 4))

    step("[[2,1],[2,1,2]]")
    before = snapshot(search.supernet)
    small = search.space.parse("[[0],[1]]")
    names, parameters = zip(*search.supernet.named_parameters())
    gradients = torch.autograd.grad(search.supernet.eval()(images, small).sum(), parameters, allow_unused=True)
    on_path = {name for name, gradient in zip(names, gradients) if gradient is not None}
    step("[[0],[1]]")
    step("[[0],[1]]")
    after = search.supernet.state_dict()
    for name, parameter in zip(names, parameters):
        assert (parameter.grad is None) is (name not in on_path), name
        if name not in on_path or parameter.ndim > 1:  # a vector's step may be smaller than rounding
            assert torch.equal(before[name], after[name]) is (name not in on_path), name
    deeper = [name for name in before if name.startswith(("stages.0.1.", "stages.1.1.", "stages.1.2."))]
    assert any("running_var" in name for name in deeper)
    assert all(torch.equal(before[name], after[name]) for name in deeper)
