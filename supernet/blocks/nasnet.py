"""The operations of NASNet's cells: (B, inputs, H, W) -> (B, filters, H / stride, W / stride), rounded up.

Zoph et al. 2017, https://arxiv.org/abs/1707.07012, sec. 3.2 and appendix A.4. Convolutions take images after ReLU:
nodes are read by several of them, and ReLU is applied once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from supernet.spaces.nasnet.costs import CellShape, Features
from supernet.spaces.nasnet.genotype import Edge

EPSILON, MOMENTUM = 1e-3, 0.1


def batch_norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the epsilon of the published weights."""
    return nn.BatchNorm2d(channels, eps=EPSILON, momentum=MOMENTUM)


class ConvNorm(nn.Module):
    """A convolution without bias, and batch norm; takes images after ReLU."""

    def __init__(
        self, inputs: int, filters: int, kernel: int = 1, stride: int = 1, padding: int = 0, dilation: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, filters, kernel, stride, padding, dilation, bias=False)
        self.norm = batch_norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.conv(images))


class RowColumn(nn.Module):
    """A convolution along rows, one along columns, and batch norm; takes images after ReLU."""

    def __init__(self, inputs: int, filters: int, length: int, stride: int) -> None:
        super().__init__()
        reach = length // 2
        self.row = nn.Conv2d(inputs, filters, (1, length), (1, stride), (0, reach), bias=False)
        self.column = nn.Conv2d(filters, filters, (length, 1), (stride, 1), (reach, 0), bias=False)
        self.norm = batch_norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.column(self.row(images)))


class Separable(nn.Module):
    """Depthwise and pointwise convolution and batch norm, twice; takes images after ReLU.

    TensorFlow, where the published weights come from, pads images of even size by one less on the left when it halves
    them. With `margin` 1 the first half pads by one more, and the first row and column are cut off: so do the public
    PyTorch weights' authors, whose count of MACs this keeps.
    """

    def __init__(self, inputs: int, filters: int, kernel: int, stride: int, margin: int) -> None:
        super().__init__()
        self.margin, self.stride, padding = margin, stride, kernel // 2
        first = padding + margin * (stride - 1)
        self.depthwise_1 = nn.Conv2d(inputs, inputs, kernel, stride, first, groups=inputs, bias=False)
        self.pointwise_1 = nn.Conv2d(inputs, filters, 1, bias=False)
        self.norm_1 = batch_norm(filters)
        self.depthwise_2 = nn.Conv2d(filters, filters, kernel, padding=padding, groups=filters, bias=False)
        self.pointwise_2 = nn.Conv2d(filters, filters, 1, bias=False)
        self.norm_2 = batch_norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        if self.margin and self.stride == 1:
            images = functional.pad(images, (1, 0, 1, 0))
        features = self.pointwise_1(self.depthwise_1(images))
        if self.margin:
            features = features[:, :, 1:, 1:]
        features = functional.relu(self.norm_1(features), inplace=True)
        return self.norm_2(self.pointwise_2(self.depthwise_2(features)))


class Pool(nn.Module):
    """Largest value or average of the pixels that are there, and a 1x1 convolution where channels change."""

    def __init__(self, kind: str, inputs: int, filters: int, kernel: int, stride: int, margin: int) -> None:
        super().__init__()
        self.kind, self.kernel, self.stride = kind, kernel, stride
        self.padding = kernel // 2 - margin * (stride - 1)
        self.has_weights = inputs != filters
        self.project = ConvNorm(inputs, filters) if self.has_weights else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        size = (self.kernel, self.stride, self.padding)
        if self.kind == "max":
            pooled = functional.max_pool2d(images, *size, ceil_mode=True)
        else:
            pooled = functional.avg_pool2d(images, *size, ceil_mode=True, count_include_pad=False)
        return self.project(pooled)


class FactorizedReduction(nn.Module):
    """Halves images: two 1x1 convolutions, of the even and the odd pixels of the diagonal; takes images after ReLU."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.even = nn.Conv2d(inputs, filters // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(inputs, filters - filters // 2, 1, bias=False)
        self.norm = batch_norm(filters)

    def forward(self, images: Tensor) -> Tensor:
        odd = images[:, :, 1::2, 1::2]
        below, right = (size % 2 for size in images.shape[2:])
        if below or right:
            odd = functional.pad(odd, (0, right, 0, below))
        return self.norm(torch.cat([self.even(images), self.odd(odd)], 1))


class AuxiliaryHead(nn.Module):
    """A classifier of features in the middle: (B, channels, H, W) after ReLU -> logits (B, classes).

    Average pool 5x5 by 3, 1x1 convolution to 128 channels, one over all that is left to 768, linear, as in the public
    TensorFlow implementation. Images that are smaller than the pool are averaged as a whole.
    """

    def __init__(self, features: Features, classes: int) -> None:
        super().__init__()
        self.window = min(5, features.size)
        self.project = ConvNorm(features.channels, 128)
        self.flatten = ConvNorm(128, 768, (features.size - self.window) // 3 + 1)
        self.classifier = nn.Linear(768, classes)

    def forward(self, features: Tensor) -> Tensor:
        pooled = functional.avg_pool2d(features, self.window, 3)
        projected = functional.relu(self.project(pooled), inplace=True)
        return self.classifier(functional.relu(self.flatten(projected), inplace=True).flatten(1))


def build_operation(edge: Edge, shape: CellShape) -> nn.Module:
    """The operation of an edge in a cell; `nn.Identity` where nothing is to be done."""
    inputs, filters, stride = shape.node(edge.node).channels, shape.filters, shape.stride(edge.node)
    match edge.operation.split("_"):
        case ["identity"]:
            return nn.Identity() if shape.fits(edge.node) else ConvNorm(inputs, filters, stride=stride)
        case ["avg" | "max" as kind, _, kernel]:
            return Pool(kind, inputs, filters, int(kernel[0]), stride, shape.margin)
        case ["sep", _, kernel]:
            return Separable(inputs, filters, int(kernel[0]), stride, shape.margin)
        case ["conv", row, _]:
            return RowColumn(inputs, filters, int(row[-1]), stride)
        case ["conv", kernel]:
            return ConvNorm(inputs, filters, int(kernel[0]), stride, int(kernel[0]) // 2)
        case ["dil", _, kernel]:
            return ConvNorm(inputs, filters, int(kernel[0]), stride, 2 * (int(kernel[0]) // 2), dilation=2)
    raise ValueError(edge.operation)


def build_reduction(inputs: int, filters: int, stride: int) -> nn.Module:
    """What brings images to `filters` channels, and to half their size where the stride is 2."""
    return FactorizedReduction(inputs, filters) if stride == 2 else ConvNorm(inputs, filters)
