"""The plain blocks: what one operation is once it has been chosen.

Parameter names are those of the published Cream checkpoints (and of timm's EfficientNet family).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

from supernet.blocks.depthwise import DepthwiseConv
from supernet.blocks.layers import SqueezeExcite, activation_layer, conv, drop_path, make_divisible
from supernet.cost import Cost

if TYPE_CHECKING:
    from supernet.spaces.description import Operation


@dataclass(frozen=True)
class LayerShape:
    """Where a block stands: channels in and out, and its stride."""

    inputs: int
    outputs: int
    stride: int

    @property
    def keeps_shape(self) -> bool:
        """Whether a residual connection (or an identity) fits here."""
        return self.stride == 1 and self.inputs == self.outputs

    def output_size(self, size: int) -> int:
        """Height of the output for an input of height `size`."""
        return -(-size // self.stride)


def hidden_channels(operation: Operation, shape: LayerShape) -> int:
    """Channels of the depthwise convolution of an MBConv block."""
    return round(shape.inputs * operation.expansion)


def reduced_channels(operation: Operation, channels: int) -> int:
    """Width of the squeeze-and-excite bottleneck over `channels`; 0 without one."""
    return make_divisible(operation.squeeze_excite * channels) if operation.squeeze_excite else 0


class SeparableConv(nn.Module):
    """Depthwise-separable convolution: depthwise, BN, activation, SE, pointwise, BN; residual where shapes agree."""

    def __init__(self, operation: Operation, shape: LayerShape) -> None:
        super().__init__()
        self.residual = shape.keeps_shape
        reduced = reduced_channels(operation, shape.inputs)
        self.conv_dw = DepthwiseConv(shape.inputs, operation.kernel, shape.stride)
        self.bn1 = nn.BatchNorm2d(shape.inputs)
        self.act = activation_layer(operation.activation)
        self.se = SqueezeExcite(shape.inputs, reduced) if reduced else nn.Identity()
        self.conv_pw = conv(shape.inputs, shape.outputs, 1)
        self.bn2 = nn.BatchNorm2d(shape.outputs)
        self.drop_path_rate = 0.0

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.se(self.act(self.bn1(self.conv_dw(images))))
        outputs = self.bn2(self.conv_pw(hidden))
        return images + drop_path(outputs, self.drop_path_rate, self.training) if self.residual else outputs


class InvertedResidual(nn.Module):
    """MBConv (Sandler et al. 2018): expand, depthwise, SE, project; residual where shapes agree."""

    def __init__(self, operation: Operation, shape: LayerShape) -> None:
        super().__init__()
        self.residual = shape.keeps_shape
        hidden = hidden_channels(operation, shape)
        reduced = reduced_channels(operation, hidden)
        self.conv_pw = conv(shape.inputs, hidden, 1)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.act = activation_layer(operation.activation)
        self.conv_dw = DepthwiseConv(hidden, operation.kernel, shape.stride)
        self.bn2 = nn.BatchNorm2d(hidden)
        self.se = SqueezeExcite(hidden, reduced) if reduced else nn.Identity()
        self.conv_pwl = conv(hidden, shape.outputs, 1)
        self.bn3 = nn.BatchNorm2d(shape.outputs)
        self.drop_path_rate = 0.0

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.act(self.bn1(self.conv_pw(images)))
        hidden = self.se(self.act(self.bn2(self.conv_dw(hidden))))
        outputs = self.bn3(self.conv_pwl(hidden))
        return images + drop_path(outputs, self.drop_path_rate, self.training) if self.residual else outputs


class ConvNormAct(nn.Module):
    """Convolution, BN, activation."""

    def __init__(self, operation: Operation, shape: LayerShape) -> None:
        super().__init__()
        self.conv = conv(shape.inputs, shape.outputs, operation.kernel, shape.stride)
        self.bn1 = nn.BatchNorm2d(shape.outputs)
        self.act = activation_layer(operation.activation)

    def forward(self, images: Tensor) -> Tensor:
        return self.act(self.bn1(self.conv(images)))


class Projection(nn.Module):
    """The skip of a layer that changes shape: a strided 1x1 convolution and BN, without activation."""

    def __init__(self, shape: LayerShape) -> None:
        super().__init__()
        self.conv = conv(shape.inputs, shape.outputs, 1, shape.stride)
        self.bn1 = nn.BatchNorm2d(shape.outputs)

    def forward(self, images: Tensor) -> Tensor:
        return self.bn1(self.conv(images))


def build_block(operation: Operation, shape: LayerShape) -> nn.Module:
    """The plain block of an operation at a layer: (B, inputs, H, W) -> (B, outputs, ceil(H / stride), …)."""
    match operation.block:
        case "mbconv":
            return InvertedResidual(operation, shape)
        case "separable":
            return SeparableConv(operation, shape)
        case "conv":
            return ConvNormAct(operation, shape)
        case "skip":
            return nn.Identity() if shape.keeps_shape else Projection(shape)


def block_cost(operation: Operation, shape: LayerShape, size: int) -> Cost:
    """Exact cost of `build_block(operation, shape)` on an input of size x size pixels."""
    before, after = size**2, shape.output_size(size) ** 2
    match operation.block:
        case "mbconv":
            hidden = hidden_channels(operation, shape)
            return (
                _conv_cost(shape.inputs * hidden, before, hidden)
                + _conv_cost(hidden * operation.kernel**2, after, hidden)
                + _squeeze_excite_cost(hidden, reduced_channels(operation, hidden))
                + _conv_cost(hidden * shape.outputs, after, shape.outputs)
            )
        case "separable":
            return (
                _conv_cost(shape.inputs * operation.kernel**2, after, shape.inputs)
                + _squeeze_excite_cost(shape.inputs, reduced_channels(operation, shape.inputs))
                + _conv_cost(shape.inputs * shape.outputs, after, shape.outputs)
            )
        case "conv":
            return _conv_cost(shape.inputs * shape.outputs * operation.kernel**2, after, shape.outputs)
        case "skip":
            return Cost(0, 0) if shape.keeps_shape else _conv_cost(shape.inputs * shape.outputs, after, shape.outputs)


def _conv_cost(weights: int, pixels: int, normalized: int) -> Cost:
    """A convolution without bias, followed by a BN over `normalized` channels."""
    return Cost(weights * pixels, weights + 2 * normalized)


def _squeeze_excite_cost(channels: int, reduced: int) -> Cost:
    weights = 2 * channels * reduced
    return Cost(weights, weights + channels + reduced) if reduced else Cost(0, 0)
