"""Both encodings of the supernet, and the plain networks that are extracted from them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from path_samples import (
    ENCODINGS,
    SPACES,
    batch,
    generator,
    meta_network,
    paths,
    randomize,
    shared_supernet,
    small_space,
    step_once,
    train_steps,
)
from torch import Tensor, nn

from configs.schema import Train
from runtime.compatibility import import_torchvision
from runtime.optimization import build_optimizer
from supernet.architecture import Architecture
from supernet.catalog import build_network, select
from supernet.networks.path_supernet import PathSupernet, frozen_statistics
from supernet.networks.plain import MBConvNetwork

both = pytest.mark.parametrize("encoding", ENCODINGS)
every_space = pytest.mark.parametrize("name", SPACES)
every_block = pytest.mark.parametrize("name", ["cream", "nasbench_macro"])  # squeeze-excite; skips with a projection
OPTIMIZERS = ["sgd", "rmsproptf", "adamw"]


def buffers(network: nn.Module) -> dict[str, Tensor]:
    return {name: buffer.clone() for name, buffer in network.named_buffers()}


def assert_same(first: dict[str, Tensor], second: dict[str, Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


def active_parameters(network: nn.Module) -> list[nn.Parameter]:
    """Parameters that the last backward pass reached."""
    return [parameter for parameter in network.parameters() if parameter.grad is not None]


def attributes(network: nn.Module) -> dict[str, str]:
    """Everything that modules remember beside parameters, buffers and submodules."""
    own = {"_parameters", "_buffers", "_modules"}
    return {
        name: repr([item for item in vars(module).items() if item[0] not in own])
        for name, module in network.named_modules()
    }


@both
@every_space
def test_an_extracted_network_is_the_path(name: str, encoding: str) -> None:
    supernet, space = shared_supernet(name, encoding), small_space(name)
    images, _ = batch()
    for path in paths(name, 2):
        train_steps(supernet, path, 1, LR=1e-3)
        for training in (True, False):
            network = space.extract(supernet.train(training), path)
            assert network.training is training
            with torch.no_grad(), frozen_statistics(supernet):
                logits = supernet(images, path)
                assert torch.equal(network(images), logits)
            assert logits.isfinite().all()


@both
@every_block
def test_an_extracted_network_trains_like_the_path(name: str, encoding: str) -> None:
    supernet, space = deepcopy(shared_supernet(name, encoding)).double(), small_space(name)
    (path,) = paths(name, 1, seed=7)
    network = space.extract(supernet, path)
    for plain, one_path in ((network, None), (supernet, path)):
        train_steps(plain, one_path, 2)
    for mine, other in zip(network.state_dict().items(), space.extract(supernet, path).state_dict().items()):
        assert mine[0] == other[0]
        assert mine[0].endswith("num_batches_tracked") or torch.allclose(mine[1], other[1], rtol=1e-7, atol=1e-9)


@both
def test_extraction_copies(encoding: str) -> None:
    supernet, space = shared_supernet("fashion", encoding), small_space("fashion")
    (path,) = paths("fashion", 1)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    train_steps(space.extract(supernet, path), None, 1)
    assert_same(dict(supernet.state_dict()), before)


@both
@every_space
def test_training_a_path_leaves_all_else_alone(name: str, encoding: str) -> None:
    """Not only `grad is None`: bit-identical under weight decay and momentum, and unknown to the optimizer."""
    supernet, space = shared_supernet(name, encoding), small_space(name)
    (path,) = paths(name, 1, seed=3)
    before = {key: parameter.detach().clone() for key, parameter in supernet.named_parameters()}
    for optimizer_name in OPTIMIZERS if name == "fashion" else OPTIMIZERS[:1]:
        optimizer = train_steps(supernet, path, 2, OPTIMIZER=optimizer_name)
        active = set(active_parameters(supernet))
        assert sum(parameter.numel() for parameter in active) == space.cost(path).params
        assert {parameter for parameter, state in optimizer.state.items() if state} == active
        still = {one for key, one in supernet.named_parameters() if torch.equal(one, before[key])}
        assert set(supernet.parameters()) - active <= still
        assert not [one for one in still & active if one.ndim > 1]  # decay alone moves every matrix


@both
@pytest.mark.parametrize("optimizer_name", OPTIMIZERS)
def test_momentum_of_an_earlier_path_does_not_move_it(encoding: str, optimizer_name: str) -> None:
    supernet = shared_supernet("fashion", encoding)
    first, second = paths("fashion", 2, seed=4)
    optimizer = build_optimizer(
        Train(OPTIMIZER=optimizer_name, LR=0.05, WEIGHT_DECAY=0.01), list(supernet.parameters())
    )
    step_once(supernet, first, optimizer, 0)
    remembered = {parameter: parameter.detach().clone() for parameter in active_parameters(supernet)}
    step_once(supernet, second, optimizer, 1)
    left = remembered.keys() - set(active_parameters(supernet))
    assert left
    assert all(torch.equal(parameter, remembered[parameter]) for parameter in left)


@both
@every_space
def test_only_the_statistics_of_the_path_move(name: str, encoding: str) -> None:
    supernet, space = shared_supernet(name, encoding).train(), small_space(name)
    (path,) = paths(name, 1, seed=5)
    before, extracted = buffers(supernet), buffers(space.extract(supernet, path))
    supernet(batch()[0], path)
    moved = sum(int((buffer != before[key]).sum()) for key, buffer in supernet.named_buffers() if "running" in key)
    assert moved == sum(buffer.numel() for key, buffer in extracted.items() if "running" in key)


@both
@every_block
def test_frozen_statistics(name: str, encoding: str) -> None:
    supernet = shared_supernet(name, encoding).train()
    (path,) = paths(name, 1, seed=6)
    images, before = batch()[0], buffers(supernet)
    with torch.no_grad(), frozen_statistics(supernet):
        frozen = supernet(images, path)
    assert_same(buffers(supernet), before)
    with torch.no_grad():
        assert torch.equal(supernet(images, path), frozen)
    assert any(not torch.equal(buffer, before[key]) for key, buffer in supernet.named_buffers())


def test_statistics_are_recorded_again_after_an_error() -> None:
    supernet = shared_supernet("fashion", "superkernel")
    before = attributes(supernet)
    with pytest.raises(ZeroDivisionError), frozen_statistics(supernet):
        raise ZeroDivisionError
    assert attributes(supernet) == before


@both
@every_block
@pytest.mark.parametrize("training", [False, True])
def test_no_module_remembers_a_forward(name: str, encoding: str, training: bool) -> None:
    supernet = shared_supernet(name, encoding).train(training)
    remembered, kept = attributes(supernet), buffers(supernet)
    with torch.no_grad():
        supernet(batch()[0], *paths(name, 1, seed=8))
    assert attributes(supernet) == remembered
    if not training:
        assert_same(buffers(supernet), kept)


@pytest.mark.parametrize("selection", ["14", "43", "114", "287", "481", "604"])
def test_cream_has_the_published_checkpoints_keys(selection: str, shared_file: Callable[[str], Path]) -> None:
    published = json.loads(shared_file("reference/cream-checkpoint-keys.json").read_text())[selection]
    chosen = select(selection)
    state = meta_network(chosen.space, chosen.architecture).state_dict()
    assert [[key, list(value.shape)] for key, value in state.items()] == published


@pytest.mark.differential
@pytest.mark.parametrize("training", [False, True])
def test_spnasnet_is_timms(training: bool) -> None:
    import_torchvision()
    from timm import create_model  # only after the repair

    reference = create_model("spnasnet_100", num_classes=10)
    randomize(reference)
    network = build_network("spnasnet_100", num_classes=10)
    network.load_state_dict(reference.state_dict())
    images = torch.randn(4, 3, 96, 96, generator=generator())
    with torch.no_grad():
        torch.testing.assert_close(network.train(training)(images), reference.train(training)(images))
    torch.testing.assert_close(network.state_dict(), dict(reference.state_dict()))


def expected_deviation(module: nn.Conv2d | nn.Linear) -> float:
    if isinstance(module, nn.Linear):
        return 1 / math.sqrt(3 * module.out_features)
    return math.sqrt(2 * module.groups / (module.kernel_size[0] ** 2 * module.out_channels))


def assert_initialised(network: nn.Module) -> None:
    """Cream's initialisation: deviations within six standard errors, everything else exact."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            weight, expected = module.weight.detach(), expected_deviation(module)
            error = 6 / math.sqrt(2 * weight.numel())
            assert weight.pow(2).mean().sqrt().item() == pytest.approx(expected, rel=error)
            assert abs(weight.mean().item()) < 6 * expected / math.sqrt(weight.numel())
            assert module.bias is None or not module.bias.any()
        if isinstance(module, nn.Linear):
            assert weight.abs().max() <= 1 / math.sqrt(module.out_features)
        if isinstance(module, nn.BatchNorm2d):
            assert bool((module.weight == 1).all() & (module.running_var == 1).all())
            assert not bool(module.bias.any() | module.running_mean.any())


@pytest.mark.parametrize("selection", ["287", "spnasnet_100", "nasbench_macro/11112222"])
def test_a_plain_network_is_initialised_as_published(selection: str) -> None:
    assert_initialised(build_network(selection))


@both
def test_the_smallest_path_of_a_supernet_is_initialised_alike(encoding: str) -> None:
    """In a superkernel only the smallest operation has the plain network's own fans everywhere."""
    space = small_space("spnas")
    path = space.parse([[0], *[[0, 0, 0, 0]] * 5, [0]])
    assert_initialised(space.extract(space.build_supernet(encoding, generator(9)), path))


@both
def test_initialisation_depends_on_the_generator_alone(encoding: str) -> None:
    space = small_space("fashion")

    def build(seed: int) -> dict[str, Tensor]:
        torch.manual_seed(torch.seed() % 1000)
        return dict(space.build_supernet(encoding, generator(seed)).state_dict())

    assert_same(build(1), build(1))
    assert not torch.equal(build(1)["conv_stem.weight"], build(2)["conv_stem.weight"])
    assert_same(dict(space.build_network(*paths("fashion", 1)).state_dict()), default_network().state_dict())


def default_network() -> MBConvNetwork:
    """What no generator means: seed 0."""
    return small_space("fashion").build_network(*paths("fashion", 1), generator(0))


def test_the_superkernel_is_smaller() -> None:
    sizes = {
        encoding: sum(parameter.numel() for parameter in shared_supernet("cream", encoding).parameters())
        for encoding in ENCODINGS
    }
    assert sizes["superkernel"] < sizes["separate"] / 4


def test_dropout_and_stochastic_depth_act_in_training_only() -> None:
    network, images = default_network(), batch()[0]
    plain = network.eval()(images)
    network.set_regularization(dropout=0.5, drop_path=0.5)
    assert torch.equal(network(images), plain)
    with frozen_statistics(network.train()):
        assert not torch.equal(network(images), network(images))


def test_a_path_is_an_argument() -> None:
    """Two paths interleaved give what each gives alone."""
    supernet, images = shared_supernet("fashion", "superkernel").eval(), batch()[0]
    first, second = paths("fashion", 2, seed=4)

    def logits(supernet: PathSupernet, path: Architecture) -> Tensor:
        return supernet(images, path)

    alone = logits(supernet, first)
    logits(supernet, second)
    assert torch.equal(logits(supernet, first), alone)
