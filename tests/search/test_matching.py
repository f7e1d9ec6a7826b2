"""Which board path teaches, how strongly, and how that is learned: each formula against its plain form."""

from __future__ import annotations

import pytest
import torch
from matching_samples import STUDENT, TEACHERS, build_matching, make_board, student_softmax
from tiny_search import SEED
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from data.loading import Images
from runtime.seeds import make_generator
from runtime.world import World
from search.matching import Teacher, distillation_loss, matching_gradient, path_softmax
from supernet.networks.path_supernet import PathSupernet, frozen_statistics
from supernet.spaces.mbconv import MBConvSpace


@pytest.fixture(params=["superkernel", "separate"])
def supernet(request: pytest.FixtureRequest, space: MBConvSpace) -> PathSupernet:
    return space.build_supernet(request.param, make_generator(SEED, "supernet")).train()


@pytest.fixture(scope="module")
def batches(digits: Images) -> list[tuple[Tensor, Tensor]]:
    return [tuple(batch) for _, batch in zip(range(3), digits.evaluation("train", 24, shard=False))]


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
    network, board = build_matching(), make_board(supernet, batches[0][0], TEACHERS)
    weight, bias = network.linear.weight.detach()[0], network.linear.bias.detach()[0]
    pairs = zip(student_softmax(supernet, board), board.entries)
    weights = [float(weight @ (softmax - entry.features).flatten() + bias) for softmax, entry in pairs]
    best = max(range(3), key=weights.__getitem__)
    teacher = network.choose(supernet, STUDENT, board, World())
    assert teacher is not None
    assert teacher.architecture == TEACHERS[best]
    assert teacher.strength.item() == pytest.approx(torch.tensor(weights[best]).sigmoid().item(), rel=1e-5)


def test_a_student_never_teaches_itself(supernet: PathSupernet, batches: list):
    images, network = batches[0][0], build_matching()
    alone = make_board(supernet, images, [STUDENT])
    assert network.choose(supernet, STUDENT, alone, World()) is None
    for paths in ([STUDENT, TEACHERS[0]], [TEACHERS[0], STUDENT]):
        for sign in (1.0, -1.0):  # whichever of the two has the larger weight
            with torch.no_grad():
                network.linear.weight.mul_(sign)
            teacher = network.choose(supernet, STUDENT, make_board(supernet, images, paths), World())
            assert teacher is not None
            assert teacher.architecture == TEACHERS[0]


def test_rho_is_differentiable_towards_the_matching_network_alone(supernet: PathSupernet, batches: list):
    network = build_matching()
    teacher = network.choose(supernet, STUDENT, make_board(supernet, batches[0][0], TEACHERS), World())
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


def test_the_matching_networks_gradient_equals_finite_differences(supernet: PathSupernet, batches: list):
    """All of its parameters: d L(theta - lr rho(M) g) / d M, where rho = sigmoid(M(difference)) of the teacher."""
    lr, epsilon = 0.5, 1e-4
    supernet.double()
    images, (held_images, labels) = batches[0][0].double(), batches[1]
    held_out = (held_images.double(), labels)
    board, network = make_board(supernet, images, TEACHERS), build_matching()
    teacher = network.choose(supernet, STUDENT, board, World())
    assert teacher is not None
    teacher.strength.backward(matching_gradient(supernet, STUDENT, teacher, images, held_out, lr, World()).float())

    number = TEACHERS.index(teacher.architecture)
    difference = (student_softmax(supernet, board)[number] - board.entries[number].features).flatten()
    gradient = distillation_gradient(supernet, images, path_softmax(supernet, images, teacher.architecture))

    def loss(weight: Tensor, bias: Tensor) -> float:
        rho = float(torch.sigmoid(weight @ difference + bias))
        return held_out_loss(supernet, {name: -lr * rho * value for name, value in gradient.items()}, held_out)

    weight, bias = network.linear.weight.detach().double()[0], network.linear.bias.detach().double()[0]
    steps = epsilon * torch.eye(len(weight), dtype=torch.float64)
    slopes = [(loss(weight + step, bias) - loss(weight - step, bias)) / (2 * epsilon) for step in steps]
    slope = (loss(weight, bias + epsilon) - loss(weight, bias - epsilon)) / (2 * epsilon)
    assert network.linear.weight.grad[0].tolist() == pytest.approx(slopes, rel=1e-3, abs=1e-4 * abs(slope))
    assert network.linear.bias.grad.item() == pytest.approx(slope, rel=1e-3)


@pytest.mark.parametrize("classes", [2, 10, 1000])
@pytest.mark.parametrize(("slice_size", "paths"), [(1, 1), (1, 3), (4, 3), (7, 2)])
def test_any_number_of_classes_and_any_slice(space: MBConvSpace, classes: int, slice_size: int, paths: int):
    """Even where the last maps have one pixel, and one image is all there is to normalise by."""
    adapted = space.adapted(channels=1, classes=classes, resolution=8)
    supernet = adapted.build_supernet("superkernel", make_generator(SEED, "supernet")).train()
    generator = make_generator(SEED, "images")
    images = torch.randn(slice_size * paths, 1, 2, 2, generator=generator)
    labels = torch.randint(classes, (len(images),), generator=generator)
    network = build_matching(slice_size, classes)
    board = make_board(supernet, images, TEACHERS[:paths], slice_size)
    teacher = network.choose(supernet, STUDENT, board, World())
    assert teacher is not None
    slope = matching_gradient(supernet, STUDENT, teacher, images[:slice_size], (images, labels), 0.1, World())
    teacher.strength.backward(slope)
    assert network.linear.weight.grad.shape == (1, slice_size * classes)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("pixels", [2, 5])
def test_a_single_image_has_the_statistics_of_itself(space: MBConvSpace, pixels: int):
    """Doubled, it gives what it gives alone, where batch norm in training takes it at all."""
    supernet = space.build_supernet("separate", make_generator(SEED, "supernet")).train()
    image = torch.randn(1, 1, pixels, pixels, generator=make_generator(SEED, "image"))
    softmax = path_softmax(supernet, image, STUDENT)
    assert softmax.shape == (1, 10)
    with torch.no_grad(), frozen_statistics(supernet):
        if pixels == 2:
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                supernet(image, STUDENT)
        else:
            assert torch.allclose(softmax, supernet(image, STUDENT).softmax(1), atol=1e-5)
