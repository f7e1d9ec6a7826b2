"""One architecture as an ordinary network, without weight sharing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn
from torch.nn import functional

from supernet.architecture import Architecture
from supernet.blocks.layers import activation_layer, conv
from supernet.blocks.mbconv import InvertedResidual, SeparableConv, build_block

if TYPE_CHECKING:
    from supernet.spaces.description import Head, Stem
    from supernet.spaces.mbconv import MBConvSpace


class NetworkStem(nn.Module):
    """Mixin: `conv_stem`, `bn1`, `act1`, under the published names."""

    def add_stem(self, stem: Stem, channels: int) -> None:
        """Register the stem's layers on this module."""
        self.conv_stem = conv(channels, stem.channels, stem.kernel, stem.stride)
        self.bn1 = nn.BatchNorm2d(stem.channels)
        self.act1 = activation_layer(stem.activation)

    def forward_stem(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) -> (B, stem channels, H / stride, W / stride)."""
        return self.act1(self.bn1(self.conv_stem(images)))


class NetworkHead(nn.Module):
    """Mixin: `conv_head`, `bn2` where the head has a norm, `act2`, `classifier`, under the published names."""

    def add_head(self, head: Head, inputs: int, classes: int) -> None:
        """Register the head's layers on this module."""
        self.pool_first = head.pool_first
        self.conv_head = conv(inputs, head.channels, 1, bias=head.bias)
        self.bn2 = nn.BatchNorm2d(head.channels) if head.norm else nn.Identity()
        self.act2 = activation_layer(head.activation)
        self.classifier = nn.Linear(head.channels, classes)
        self.dropout_rate = 0.0

    def forward_head(self, features: Tensor) -> Tensor:
        """(B, inputs, h, w) -> logits (B, classes)."""
        if self.pool_first:
            features = features.mean((2, 3), keepdim=True)
        features = self.act2(self.bn2(self.conv_head(features))).mean((2, 3))
        if self.dropout_rate:
            features = functional.dropout(features, self.dropout_rate, self.training)
        return self.classifier(features)


class MBConvNetwork(NetworkStem, NetworkHead):
    """The plain network of one architecture: (B, channels, H, W) -> logits (B, classes).

    `blocks.S.B` is block B of stage S; Cream's six networks have exactly the published checkpoints' keys.
    """

    def __init__(self, space: MBConvSpace, architecture: Architecture) -> None:
        super().__init__()
        description = space.description
        self.add_stem(description.stem, space.channels)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    *(build_block(space.operations(number)[index], shape) for index, shape in zip(chosen, shapes))
                )
                for number, (chosen, shapes) in enumerate(zip(architecture.stages, space.shapes))
            )
        )
        self.add_head(description.head, description.stages[-1].channels, space.classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.forward_head(self.blocks(self.forward_stem(images)))

    def set_regularization(self, dropout: float, drop_path: float) -> None:
        """Dropout before the classifier, and stochastic depth rising linearly from 0 to `drop_path` over the blocks."""
        self.dropout_rate = dropout
        blocks = [block for stage in self.blocks.children() for block in stage.children()]
        for number, block in enumerate(blocks):
            if isinstance(block, SeparableConv | InvertedResidual):
                block.drop_path_rate = drop_path * number / len(blocks)
