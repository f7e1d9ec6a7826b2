"""Which board path teaches, how strongly, and how that is learned: each formula against its plain form."""

from __future__ import annotations

import pytest
import torch
from tiny_search import SEED, assert_identical, snapshot
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from data.loading import Images
from runtime.seeds import make_generator
from runtime.world import World
from search.board import BoardEntry
from search.matching import MatchingNetwork, Teacher, distillation_loss, matching_gradient, path_softmax
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.networks.path_supernet import PathSupernet, frozen_statistics
from supernet.spaces.mbconv import MBConvSpace

STUDENT = Architecture("tiny", ((1, 2), (2, 0, 1)))
TEACHERS = [Architecture("tiny", stages) for stages in (((0,), (1,)), ((2, 1), (2, 2)), ((1,), (0, 0, 0)))]
SLICE = 4


@pytest.fixture(params=["superkernel", "separate"])
def supernet(request: pytest.FixtureRequest, space: MBConvSpace) -> PathSupernet:
    return space.build_supernet(request.param, make_generator(SEED, "supernet")).train()


@pytest.fixture(scope="module")
def batches(digits: Images) -> list[tuple[Tensor, Tensor]]:
    return [tuple(batch) for _, batch in zip(range(3), digits.evaluation("train", 24, shard=False))]


def make_entries(supernet: PathSupernet, images: Tensor, paths: list[Architecture]) -> list[BoardEntry]:
    """Board entries with images of their own and the path's own softmax, as the strategy makes them."""
    kept = images[: SLICE * len(paths)].split(SLICE)
    features = [path_softmax(supernet, torch.cat(kept), path).split(SLICE)[n] for n, path in enumerate(paths)]
    return [BoardEntry(Scored(path, 50.0, 1, 1), x, f) for path, x, f in zip(paths, kept, features)]


def matching() -> MatchingNetwork:
    return MatchingNetwork(SLICE, 10, make_generator(SEED, "matching"))


def test_distillation_loss_is_the_cross_entropy_with_soft_targets():
    logits, teacher = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 4, dtype=torch.float64).softmax(1)
    expected = 0.0
    for row, target in zip(logits.tolist(), teacher.tolist()):
        log_sum = torch.tensor(row, dtype=torch.float64).exp().sum().log().item()
        expected += -sum(t * (value - log_sum) for t, value in zip(target, row)) / 5
    assert distillation_loss(logits, teacher).item() == pytest.approx(expected, rel=1e-12)
    assert distillation_loss(logits, teacher).item() == pytest.approx(functional.cross_entropy(logits, teacher).item())
    assert distillation_loss(teacher.log(), teacher) < distillation_loss(logits, teacher)


def test_no_gradient_reaches_the_teacher(supernet: PathSupernet, batches: list):
    images, _ = batches[0]
    target = path_softmax(supernet, images, TEACHERS[1])
    assert not target.requires_grad
    assert torch.allclose(target.sum(1), torch.ones(len(images)))
    distillation_loss(supernet(images, STUDENT), target).backward()
    off_path = {name for name, parameter in supernet.named_parameters() if parameter.grad is None}
    supernet.zero_grad()
    supernet(images, STUDENT).sum().backward()
    assert off_path == {name for name, parameter in supernet.named_parameters() if parameter.grad is None}


def test_weights_compare_each_entry_with_its_own_features(supernet: PathSupernet, batches: list):
    """w_i = M(softmax(student(x_i)) - features_i), computed entry by entry."""
    network, entries = matching(), make_entries(supernet, batches[0][0], TEACHERS)
    with torch.no_grad(), frozen_statistics(supernet):
        student = supernet(torch.cat([entry.images for entry in entries]), STUDENT).softmax(1).split(SLICE)
        weight, bias = network.linear.weight[0], network.linear.bias[0]
        weights = [float(weight @ (s - e.features).flatten() + bias) for s, e in zip(student, entries)]
    best = max(range(3), key=weights.__getitem__)
    teacher = network.choose(supernet, STUDENT, entries, World())
    assert teacher is not None
    assert teacher.architecture == TEACHERS[best]
    assert teacher.strength.item() == pytest.approx(torch.tensor(weights[best]).sigmoid().item(), rel=1e-5)


@pytest.mark.parametrize("best", [0, 1, 2])
def test_rho_is_the_sigmoid_of_the_best_entrys_weight(supernet: PathSupernet, batches: list, best: int):
    """The release took sigmoid of minus the last entry's weight."""
    network, entries = matching(), make_entries(supernet, batches[0][0], TEACHERS)
    with torch.no_grad(), frozen_statistics(supernet):
        student = supernet(torch.cat([entry.images for entry in entries]), STUDENT).softmax(1).split(SLICE)
    wanted = [3.0 if number == best else -2.0 for number in range(3)]
    weight = network.linear.weight.detach()[0]
    for number, value in enumerate(wanted):  # features for which M gives exactly the wanted weight
        shift = (student[number].flatten() @ weight - value) / (weight @ weight) * weight
        entries[number] = BoardEntry(entries[number].scored, entries[number].images, shift.view(SLICE, 10))
    teacher = network.choose(supernet, STUDENT, entries, World())
    assert teacher is not None
    assert teacher.architecture == TEACHERS[best]
    assert teacher.strength.item() == pytest.approx(torch.tensor(3.0).sigmoid().item(), abs=1e-4)


def test_a_student_never_teaches_itself(supernet: PathSupernet, batches: list):
    images, network = batches[0][0], matching()
    alone = make_entries(supernet, images, [STUDENT])
    assert network.choose(supernet, STUDENT, alone, World()) is None
    for paths in ([STUDENT, TEACHERS[0]], [TEACHERS[0], STUDENT]):
        for sign in (1.0, -1.0):  # whichever of the two has the larger weight
            with torch.no_grad():
                network.linear.weight.mul_(sign)
            teacher = network.choose(supernet, STUDENT, make_entries(supernet, images, paths), World())
            assert teacher is not None
            assert teacher.architecture == TEACHERS[0]


def test_rho_is_differentiable_towards_the_matching_network_alone(supernet: PathSupernet, batches: list):
    network = matching()
    teacher = network.choose(supernet, STUDENT, make_entries(supernet, batches[0][0], TEACHERS), World())
    assert teacher is not None
    teacher.strength.backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in supernet.parameters())


def distillation_gradient(supernet: PathSupernet, images: Tensor, target: Tensor) -> dict[str, Tensor]:
    """g = grad_theta KD, by name, on the parameters of the student's path."""
    with frozen_statistics(supernet):
        loss = -(target * supernet(images, STUDENT).log_softmax(1)).sum() / len(images)
    names, parameters = zip(*supernet.named_parameters())
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found) if gradient is not None}


def held_out_loss(supernet: PathSupernet, step: dict[str, Tensor], held_out: tuple[Tensor, Tensor]) -> float:
    """Cross entropy on held-out images after the weights moved by `step`."""
    moved = {name: parameter + step[name] for name, parameter in supernet.named_parameters() if name in step}
    with torch.no_grad(), frozen_statistics(supernet):
        logits = functional_call(supernet, moved, (held_out[0], STUDENT))
        return functional.cross_entropy(logits, held_out[1]).item()


def test_the_look_ahead_gradient_equals_a_finite_difference(supernet: PathSupernet, batches: list):
    """Through every parameter of the student's path, and downhill: the release moved the first convolution only."""
    lr, rho, epsilon = 0.1, 0.7, 1e-4
    supernet.double()
    images, (held_images, labels) = batches[0][0].double(), batches[1]
    held_out = (held_images.double(), labels)
    teacher = Teacher(TEACHERS[1], torch.tensor(rho))
    slope = matching_gradient(supernet, STUDENT, teacher, images, held_out, lr, World()).item()

    with torch.no_grad(), frozen_statistics(supernet):
        target = supernet(images, teacher.architecture).softmax(1)
    gradient = distillation_gradient(supernet, images, target)

    def loss(value: float, names: set[str]) -> float:
        return held_out_loss(supernet, {name: -lr * value * gradient[name] for name in names}, held_out)

    def difference(names: set[str]) -> float:
        return (loss(rho + epsilon, names) - loss(rho - epsilon, names)) / (2 * epsilon)

    everything = set(gradient)
    assert slope == pytest.approx(difference(everything), rel=1e-3)
    for part in ("conv_stem", "stages.1", "classifier"):
        without = {name for name in everything if not name.startswith(part)}
        assert len(without) < len(everything)
        assert slope != pytest.approx(difference(without), rel=1e-3)
    downhill = rho - 0.1 * (1 if slope > 0 else -1)
    assert loss(downhill, everything) < loss(rho, everything)


def test_choosing_and_looking_ahead_leave_the_supernet_alone(supernet: PathSupernet, batches: list):
    """The release moved batch-norm statistics whenever it scored teachers."""
    (images, _), held_out, _ = batches
    supernet(images, STUDENT)  # statistics that are not those of a fresh network
    before = snapshot(supernet)
    teacher = matching().choose(supernet, STUDENT, make_entries(supernet, images, TEACHERS), World())
    assert teacher is not None
    matching_gradient(supernet, STUDENT, teacher, images, held_out, 0.1, World())
    assert_identical(snapshot(supernet), before)
    assert supernet.training
    assert all(parameter.grad is None for parameter in supernet.parameters())
    supernet(images, STUDENT)
    assert not torch.equal(supernet.bn1.running_mean, before["bn1.running_mean"])
