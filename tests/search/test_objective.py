"""The supernet's objective: recalibrated batch norm, an untouched supernet, scores that every world agrees on."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from tiny_search import SEED, TinySearch, assert_identical, build_search, snapshot
from torch import nn

from data.loading import Images
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World
from search.objective import SupernetObjective
from supernet.architecture import Architecture
from supernet.evaluation import recalibrate
from supernet.spaces.mbconv import MBConvSpace
from supernet.spaces.nasbench201.costs import NasBench201Description
from supernet.spaces.nasbench201.space import NasBench201Space


@pytest.fixture(scope="module", params=["superkernel", "separate"])
def trained(request: pytest.FixtureRequest, digits: Images) -> TinySearch:
    search = build_search(digits, encoding=request.param, search={"STRATEGY": "uniform"})
    search.run(0, 12)
    return search


def test_recalibrated_statistics_are_the_average_over_the_batches(trained: TinySearch, digits: Images):
    """Three batches, the last of another size: each counts alike, variances are unbiased, old statistics are gone."""
    network = trained.space.extract(trained.supernet, trained.paths(0)[0])
    batches = [images for images, _ in digits.evaluation("train", 24, limit=60)]
    assert [len(images) for images in batches] == [24, 24, 12]
    inputs: dict[nn.Module, list[torch.Tensor]] = {}
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    hooks = [
        norm.register_forward_pre_hook(lambda module, given: inputs.setdefault(module, []).append(given[0].clone()))
        for norm in norms
    ]
    recalibrate(network, batches)
    for hook in hooks:
        hook.remove()
    assert len(norms) == len(inputs) > 5
    for norm in norms:
        means = [x.mean((0, 2, 3)) for x in inputs[norm]]
        variances = [x.var((0, 2, 3), unbiased=True) for x in inputs[norm]]
        assert torch.allclose(norm.running_mean, torch.stack(means).mean(0), rtol=1e-4, atol=1e-5)
        assert torch.allclose(norm.running_var, torch.stack(variances).mean(0), rtol=1e-4, atol=1e-5)
    assert not network.training


def test_a_score_is_the_accuracy_of_the_recalibrated_path(trained: TinySearch):
    paths = list(dict.fromkeys(trained.paths(0)))
    scores = trained.objective(paths)
    assert [scored.architecture for scored in scores] == paths
    for scored in scores:
        network = trained.space.extract(trained.supernet, scored.architecture)
        recalibrate(network, (images for images, _ in trained.objective.recalibration))
        with torch.no_grad():
            right = [(network(images).argmax(1) == labels) for images, labels in trained.objective.held_out]
        assert scored.accuracy == pytest.approx(100.0 * torch.cat(right).double().mean().item())
        cost = trained.space.cost(scored.architecture)
        assert (scored.macs, scored.params) == (cost.macs, cost.params)


def test_recalibration_matters(trained: TinySearch):
    """Statistics of the shared norms are not those of a path: with them alone its accuracy is another."""
    path = trained.paths(0)[0]
    network = trained.space.extract(trained.supernet, path).eval()
    with torch.no_grad():
        right = [(network(images).argmax(1) == labels) for images, labels in trained.objective.held_out]
    assert trained.objective([path])[0].accuracy != pytest.approx(100.0 * torch.cat(right).double().mean().item())


def test_measuring_leaves_the_supernet_alone(trained: TinySearch):
    before = snapshot(trained.supernet)
    first = trained.objective(trained.paths(1))
    assert_identical(snapshot(trained.supernet), before)
    assert trained.supernet.training
    assert all(parameter.requires_grad for parameter in trained.supernet.parameters())
    assert trained.objective(trained.paths(1)) == first


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_candidates_lie_in_the_supernets_memory_format(
    trained: TinySearch, memory_format: torch.memory_format, monkeypatch: pytest.MonkeyPatch
):
    """Filters in the other one make measuring take twice as long."""
    own, strides = trained.objective, []
    supernet = copy.deepcopy(own.supernet).to(memory_format=memory_format)
    objective = SupernetObjective(own.space, supernet, own.recalibration, own.held_out, own.world, own.precision)

    def record(network: nn.Module, batches: Any) -> nn.Module:
        strides.extend(part.weight.stride(1) for part in network.modules() if isinstance(part, nn.Conv2d))
        return recalibrate(network, batches)

    monkeypatch.setattr("search.objective.recalibrate", record)
    path = trained.space.parse("[[2],[2]]")
    objective([path])
    assert (max(strides) == 1) is (memory_format is torch.channels_last)


@pytest.mark.parametrize("abreast", [2, 8])
def test_cells_abreast_score_as_one_after_another(digits: Images, abreast: int):
    """In the order that they were asked in, one of them twice."""
    space = NasBench201Space(NasBench201Description(channels=1, resolution=8, stem_channels=2, num_cells=1))
    supernet = space.build_supernet("separate", make_generator(SEED, "supernet")).train()
    recalibration, held_out = (digits.evaluation(split, 40, limit=60, keep=True) for split in ("train", "search"))
    precision = Precision("O0", "bfloat16", torch.device("cpu"))
    alone, together = (
        SupernetObjective(space, supernet, recalibration, held_out, World(), precision, count) for count in (1, abreast)
    )
    cells = [space.parse(index) for index in (11, 5, 15_000, 11, 284)]
    scores = together(cells)
    assert scores == alone(cells)
    assert len({scored.accuracy for scored in scores}) > 2
    assert all(module.training for module in supernet.modules())


@dataclass
class Meeting:
    """Where the threads of a simulated world meet."""

    size: int
    values: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.barrier = threading.Barrier(self.size, timeout=60)


@dataclass(frozen=True)
class ThreadWorld(World):
    """A world whose processes are threads."""

    meeting: Meeting | None = None

    def gather(self, value: Any) -> list[Any]:
        assert self.meeting is not None
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait()
        return [self.meeting.values[rank] for rank in range(self.size)]


def score_in(trained: TinySearch, size: int, paths: list[Architecture]) -> list[Any]:
    """The scores that each rank of a simulated world of this size returns."""
    meeting, outcomes = Meeting(size), dict.fromkeys(range(size))

    def work(rank: int) -> None:
        world = ThreadWorld(rank=rank, local_rank=rank, size=size, local_size=size, meeting=meeting)
        own = trained.objective
        objective = SupernetObjective(
            own.space, own.supernet, list(own.recalibration), list(own.held_out), world, own.precision
        )
        outcomes[rank] = objective(paths)

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(outcomes.values())


@pytest.mark.parametrize("count", [0, 1, 5])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_scores_do_not_depend_on_the_number_of_ranks(trained: TinySearch, size: int, count: int):
    paths = trained.window.sample(make_generator(SEED, "some"), count)
    assert score_in(trained, size, paths) == [trained.objective(paths)] * size


def test_each_candidate_is_measured_by_one_rank(trained: TinySearch, monkeypatch: pytest.MonkeyPatch):
    measured, extract = [], MBConvSpace.extract

    def count(self: MBConvSpace, supernet: Any, path: Architecture) -> Any:
        measured.append(path)
        return extract(self, supernet, path)

    monkeypatch.setattr(MBConvSpace, "extract", count)
    paths = trained.window.unrank_many(range(5))
    score_in(trained, 2, paths)
    assert sorted(measured) == sorted(paths)
