"""The depthwise convolution's own weight gradient is the library's."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from supernet.blocks.depthwise import DepthwiseConv, depthwise_conv

formats = st.sampled_from([torch.contiguous_format, torch.channels_last])


def samples(height: int, width: int, kernel: int, memory_format: torch.memory_format) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 4, height, width, dtype=torch.float64, generator=generator)
    weight = torch.randn(4, 1, kernel, kernel, dtype=torch.float64, generator=generator)
    return images.contiguous(memory_format=memory_format).requires_grad_(), weight.requires_grad_()


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 6), st.integers(1, 6), st.sampled_from([1, 3, 5, 7]), st.sampled_from([1, 2, 3]), formats)
def test_gradients_are_the_librarys(
    height: int, width: int, kernel: int, stride: int, memory_format: torch.memory_format
) -> None:
    images, weight = samples(height, width, kernel, memory_format)
    outputs = depthwise_conv(images, weight, stride)
    expected = functional.conv2d(images, weight, None, stride, kernel // 2, 1, 4)
    assert torch.equal(outputs, expected)
    upstream = torch.randn(outputs.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for mine, other in zip(*(torch.autograd.grad(one, (images, weight), upstream) for one in (outputs, expected))):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize(("size", "own"), [(1, True), (4, True), (5, False), (7, False)])
def test_only_kernels_larger_than_the_image_have_their_own(size: int, own: bool) -> None:
    images, weight = samples(size, size, 5, torch.contiguous_format)
    assert ("SmallImages" in depthwise_conv(images, weight, 1).grad_fn.name()) is own


def test_the_library_serves_where_nothing_is_trained_or_cast() -> None:
    images, weight = samples(2, 2, 5, torch.contiguous_format)
    with torch.no_grad():
        assert depthwise_conv(images, weight, 1).grad_fn is None
    with torch.autocast("cpu", torch.bfloat16):
        assert "Convolution" in depthwise_conv(images.float(), weight.float(), 1).grad_fn.name()
    assert "Convolution" in depthwise_conv(images, weight.detach(), 1).grad_fn.name()


def test_the_layer_is_an_ordinary_convolution_to_others() -> None:
    layer = DepthwiseConv(6, 5, stride=2)
    assert {name: tuple(value.shape) for name, value in layer.state_dict().items()} == {"weight": (6, 1, 5, 5)}
    images = torch.randn(2, 6, 9, 9)
    assert torch.equal(layer(images), torch.nn.Conv2d.forward(layer, images))
