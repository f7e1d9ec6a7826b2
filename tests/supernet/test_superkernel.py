"""What a superkernel shares: the smaller operation is a corner, or the centre, of the larger one."""

from __future__ import annotations

from itertools import combinations

import pytest
import torch
from path_samples import batch, generator, shared_supernet, small_space
from torch import Tensor

from supernet.blocks.mbconv import InvertedResidual, LayerShape
from supernet.blocks.shells import SuperWeight, assemble
from supernet.blocks.superkernel import SuperInvertedResidual
from supernet.networks.path_supernet import SuperkernelLayer
from supernet.spaces.description import Operation


def superkernels(name: str) -> list[SuperInvertedResidual]:
    layers = shared_supernet(name, "superkernel").modules()
    return [layer.superkernel for layer in layers if isinstance(layer, SuperkernelLayer)]


def crop(tensor: Tensor, shape: list[int]) -> Tensor:
    """The first channels, and the centre of the kernel."""
    for dimension, size in enumerate(shape):
        start = (tensor.shape[dimension] - size) // 2 if dimension > 1 else 0
        tensor = tensor.narrow(dimension, start, size)
    return tensor


@pytest.mark.parametrize("name", ["cream", "spnas", "nasbench_macro", "fashion"])
def test_operations_are_nested(name: str) -> None:
    """Of each pair, the part that both have is one: k3 the centre of k5, e4 the first channels of e6, SE alike."""
    for layer in [superkernels(name)[0], superkernels(name)[-1]]:
        states = {index: layer.plain_state(index) for index in layer.operations}
        for first, second in combinations(states.values(), 2):
            for key, one in first.items():
                other = second[key]
                shape = [min(sizes) for sizes in zip(one.shape, other.shape)]
                assert torch.equal(crop(one, shape), crop(other, shape)), key


def test_cream_shapes() -> None:
    """The shapes by hand, at a layer of 40 channels: a nesting of equal shapes would prove nothing."""
    layer = next(one for one in superkernels("cream") if one.shape == LayerShape(40, 40, 1))
    smallest, largest = layer.plain_state(0), layer.plain_state(5)
    assert smallest["conv_pw.weight"].shape == (160, 40, 1, 1)
    assert smallest["conv_dw.weight"].shape == (160, 1, 3, 3)
    assert smallest["se.conv_reduce.weight"].shape == (40, 160, 1, 1)
    assert largest["conv_dw.weight"].shape == (240, 1, 7, 7)
    assert largest["conv_pwl.weight"].shape == (40, 240, 1, 1)
    assert largest["se.conv_expand.weight"].shape == (240, 64, 1, 1)
    assert torch.equal(smallest["conv_dw.weight"], largest["conv_dw.weight"][:160, :, 2:5, 2:5])
    assert torch.equal(smallest["se.conv_expand.weight"], largest["se.conv_expand.weight"][:160, :40])
    assert torch.equal(smallest["bn2.running_var"], largest["bn2.running_var"][:160])


def test_its_parameters_are_those_of_the_largest_operation() -> None:
    for layer in superkernels("cream")[::5]:
        plain = InvertedResidual(layer.operations[5], layer.shape)
        sizes = [sum(one.numel() for one in block.parameters()) for block in (plain, layer)]
        assert sizes[0] == sizes[1]


@pytest.mark.parametrize("widths", [(0.25, 0.25), (0.0, 0.25), (0.5, 0.25)])
@pytest.mark.parametrize("expansions", [(2, 2), (2, 3)])
def test_any_mixture_of_operations_fits(widths: tuple[float, float], expansions: tuple[int, int]) -> None:
    """SE of one operation only, a smaller operation with the wider SE, a kernel that is not the next larger one."""
    operations = {
        index: Operation(kernel=kernel, expansion=expansion, squeeze_excite=width)
        for index, (kernel, expansion, width) in enumerate(zip((3, 7), expansions, widths))
    }
    shape = LayerShape(16, 24, 2)
    layer = SuperInvertedResidual(operations, shape)
    for module in layer.modules():
        if hasattr(module, "initialize_weights"):
            module.initialize_weights(generator())
    images = torch.randn(2, 16, 9, 9, generator=generator(1))
    for index, operation in operations.items():
        plain = InvertedResidual(operation, shape)
        plain.load_state_dict(layer.plain_state(index))
        assert torch.equal(plain.eval()(images), layer.eval()(images, index))


def test_a_super_weight_is_cut_into_shells() -> None:
    weight = SuperWeight([2, 5], [3, 4], deviations=[[1.0, 2.0], [3.0, 4.0]])
    weight.initialize_weights(generator())
    whole, wide, high = assemble(
        {"whole": weight.part(1, 1), "wide": weight.part(0, 1), "high": weight.part(1)}
    ).values()
    assert whole.shape == (5, 4)
    assert torch.equal(wide, whole[:2])
    assert torch.equal(high, whole[:, :3])
    assemble({"wide": weight.part(0, 1)})["wide"].sum().backward()
    reached = [parameter.grad is not None for parameter in weight.parameters()]
    assert reached == [True, True, False, False]


def test_assembling_passes_gradients_to_the_right_places() -> None:
    weight, vector = SuperWeight([2, 5], [3, 7], [[1.0] * 2] * 2), SuperWeight([2, 5], constant=1.0)
    weight.double().initialize_weights(generator())
    vector.double().initialize_weights(generator())
    order = torch.randperm(7, generator=generator())

    def assembled(*_: Tensor) -> tuple[Tensor, ...]:
        parts = {"plain": weight.part(1, 1), "ordered": weight.part(1, 1, order, order.argsort())}
        return tuple(assemble({**parts, "vector": vector.part(1)}).values())

    plain, ordered, _ = assembled()
    assert torch.equal(ordered, plain[:, order])
    assert torch.autograd.gradcheck(assembled, (*weight.parameters(), *vector.parameters()))


def test_each_shell_has_its_own_deviation() -> None:
    weight = SuperWeight([500, 800], [90, 170], deviations=[[1.0, 2.0], [3.0, 4.0]])
    weight.initialize_weights(generator())
    assert [shell.std().item() for shell in weight.parameters()] == pytest.approx([1.0, 2.0, 3.0, 4.0], rel=0.03)


def test_a_kernel_shell_learns_only_under_larger_kernels() -> None:
    supernet, space = shared_supernet("cream", "superkernel"), small_space("cream")
    smallest = space.parse([[0], [0], [0], [0], [0], [0], [0]])
    supernet.train()(batch()[0], smallest).sum().backward()
    layer = supernet.stages[1][0].superkernel
    inner, *outer = [getattr(layer.conv_dw, name).grad for name in layer.conv_dw.names[0]]
    assert inner.shape == (64, 9)
    assert outer == [None, None]
