"""The weight-sharing network: every architecture of a space, one path at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeVar, cast

from torch import Tensor, nn

from supernet.architecture import Architecture
from supernet.blocks.gates import Gates
from supernet.blocks.layers import resize_images
from supernet.blocks.mbconv import InvertedResidual, LayerShape, build_block
from supernet.blocks.superkernel import SuperBatchNorm, SuperInvertedResidual
from supernet.networks.plain import NetworkHead, NetworkStem

if TYPE_CHECKING:
    from supernet.spaces.description import Operation
    from supernet.spaces.mbconv import MBConvSpace


class SeparateLayer(nn.Module):
    """Each candidate of a layer with weights of its own (Cream)."""

    def __init__(self, operations: dict[int, Operation], shape: LayerShape) -> None:
        super().__init__()
        self.candidates = nn.ModuleDict({str(index): build_block(op, shape) for index, op in operations.items()})

    def forward(self, images: Tensor, operation: int | Gates) -> Tensor:
        if isinstance(operation, Gates):
            block = self._only_mbconv()
            return operation.to(block.conv_dw.weight.dtype).blend(images, block(images))
        return self.candidates[str(operation)](images)

    def _only_mbconv(self) -> InvertedResidual:
        (block,) = (block for block in self.candidates.children() if isinstance(block, InvertedResidual))
        return block

    def depthwise_shells(self) -> list[list[Tensor]]:
        """The depthwise weights of the only MBConv candidate, as one shell."""
        return [[self._only_mbconv().conv_dw.weight]]

    def plain_state(self, operation: int) -> dict[str, Tensor]:
        """State of the plain block of one operation."""
        return self.candidates[str(operation)].state_dict()


class SuperkernelLayer(nn.Module):
    """All MBConv candidates of a layer in one superkernel; candidates of another kind have weights of their own."""

    def __init__(self, operations: dict[int, Operation], shape: LayerShape) -> None:
        super().__init__()
        mbconv = {index: operation for index, operation in operations.items() if operation.block == "mbconv"}
        self.superkernel = SuperInvertedResidual(mbconv, shape)
        self.others = SeparateLayer({index: op for index, op in operations.items() if index not in mbconv}, shape)

    def forward(self, images: Tensor, operation: int | Gates) -> Tensor:
        if isinstance(operation, Gates):
            return self.superkernel.forward_gated(images, operation)
        return self._part(operation)(images, operation)

    def depthwise_shells(self) -> list[list[Tensor]]:
        """The depthwise weights by expansion level (rows) and kernel level (columns)."""
        return self.superkernel.depthwise_shells()

    def plain_state(self, operation: int) -> dict[str, Tensor]:
        """State of the plain block of one operation."""
        return self._part(operation).plain_state(operation)

    def _part(self, operation: int) -> SuperInvertedResidual | SeparateLayer:
        return self.superkernel if operation in self.superkernel.operations else self.others


ChoiceLayer = SeparateLayer | SuperkernelLayer
Chosen = TypeVar("Chosen")


class GatedPath(NamedTuple):
    """What decisions make of an architecture: an operation index for each fixed layer, gates for each decided one."""

    stages: Sequence[Sequence[int | Gates]]
    resolution: None = None


def _build_layer(encoding: str, operations: dict[int, Operation], shape: LayerShape) -> ChoiceLayer:
    mbconv = [operation for operation in operations.values() if operation.block == "mbconv"]
    if encoding == "superkernel" and len(mbconv) > 1:
        return SuperkernelLayer(operations, shape)
    return SeparateLayer(operations, shape)


class PathSupernet(NetworkStem, NetworkHead):
    """`supernet(images, architecture)`: (B, channels, H, W) -> logits (B, classes), through one path.

    A `GatedPath` computes the same as the architecture that it stands for, and has a gradient for each decision. The
    path is an argument; no module remembers one. Parameters off an architecture's path receive no gradient. Images are
    resized where the architecture names a resolution.

    Args:
        space: what the paths are.
        encoding: `separate` (each candidate its own weights) or `superkernel` (the largest holds the smaller).
    """

    def __init__(self, space: MBConvSpace, encoding: str) -> None:
        super().__init__()
        description = space.description
        self.add_stem(description.stem, space.channels)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                _build_layer(encoding, space.choices(number, layer), shape) for layer, shape in enumerate(shapes)
            )
            for number, shapes in enumerate(space.shapes)
        )
        self.add_head(description.head, description.stages[-1].channels, space.classes)

    def forward(self, images: Tensor, architecture: Architecture | GatedPath) -> Tensor:
        features = self.forward_stem(resize_images(images, architecture.resolution))
        for _, layer, operation in self._path(architecture.stages):
            features = layer(features, operation)
        return self.forward_head(features)

    def path_state_dict(self, architecture: Architecture) -> dict[str, Tensor]:
        """The state_dict of the path's plain network (`MBConvNetwork`), as it is in here."""
        state = {key: value for key, value in self.state_dict().items() if not key.startswith("stages.")}
        for name, layer, operation in self._path(architecture.stages):
            state |= {f"blocks.{name}.{key}": value for key, value in layer.plain_state(operation).items()}
        return state

    def layer(self, stage: int, position: int) -> ChoiceLayer:
        """One layer by its place."""
        return cast(ChoiceLayer, cast(nn.ModuleList, self.stages[stage])[position])

    def _path(self, stages: Sequence[Sequence[Chosen]]) -> Iterator[tuple[str, ChoiceLayer, Chosen]]:
        """(stage.position, layer, operation) of each block on the path."""
        for number, (layers, chosen) in enumerate(zip(self.stages, stages)):
            for position, (layer, operation) in enumerate(zip(layers.children(), chosen)):
                yield f"{number}.{position}", cast(ChoiceLayer, layer), operation


@contextmanager
def frozen_statistics(network: nn.Module) -> Iterator[None]:
    """Within: batch norm in training normalises with the batch's statistics, as always, but does not record them."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d | SuperBatchNorm)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
