"""The 1x1 convolution's own gradients are the library's."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional
from torch.profiler import profile

from supernet.blocks.pointwise import matrix_products, pointwise_conv


@pytest.mark.parametrize("size", [1, 4, 8, 9])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("with_bias", [False, True])
def test_pointwise_is_conv2d(size: int, memory_format: torch.memory_format, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 6, size, size, generator=generator, dtype=torch.float64).to(memory_format=memory_format)
    weight = torch.randn(10, 6, 1, 1, generator=generator, dtype=torch.float64)
    bias = torch.randn(10, generator=generator, dtype=torch.float64) if with_bias else None
    leaves = [tensor.requires_grad_() for tensor in (images, weight, bias) if tensor is not None]

    ours, theirs = pointwise_conv(images, weight, bias), functional.conv2d(images, weight, bias)
    assert torch.equal(ours, theirs)
    target = torch.randn(theirs.shape, generator=generator, dtype=torch.float64)
    gradients = [torch.autograd.grad((outputs * target).sum(), leaves) for outputs in (ours, theirs)]
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize(("size", "own"), [(1, True), (8, True), (9, False)])
def test_only_small_images_have_their_own_gradients(size: int, own: bool) -> None:
    images = torch.randn(3, 6, size, size).to(memory_format=torch.channels_last)
    outputs = pointwise_conv(images, torch.randn(10, 6, 1, 1, requires_grad=True))
    assert ("_SmallImages" in type(outputs.grad_fn).__name__) is own


@pytest.mark.parametrize(("size", "own"), [(1, True), (4, True), (5, False)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_tiny_images_that_are_only_compared_are_multiplied(size: int, own: bool, with_bias: bool) -> None:
    images = torch.randn(3, 6, size, size).to(memory_format=torch.channels_last)
    weight, bias = torch.randn(10, 6, 1, 1), torch.randn(10) if with_bias else None
    theirs = functional.conv2d(images, weight, bias)
    with matrix_products(), profile() as profiler:
        ours = pointwise_conv(images, weight, bias)
    assert ("aten::linear" in {event.key for event in profiler.key_averages()}) is own
    torch.testing.assert_close(ours, theirs)
    assert ours.stride() == theirs.stride()
    assert torch.equal(pointwise_conv(images, weight, bias), theirs)


def test_multiplying_ends_with_an_error() -> None:
    images = torch.randn(3, 6, 2, 2).to(memory_format=torch.channels_last)
    with pytest.raises(ZeroDivisionError), matrix_products():
        raise ZeroDivisionError
    with profile() as profiler:
        pointwise_conv(images, torch.randn(10, 6, 1, 1))
    assert "aten::linear" not in {event.key for event in profiler.key_averages()}
