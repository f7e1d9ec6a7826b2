"""MBConv search spaces, built from their YAML description."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import torch
import yaml
from torch import nn

from configs.errors import SpaceError
from supernet.architecture import Architecture
from supernet.blocks.layers import initialize
from supernet.blocks.mbconv import LayerShape, block_cost
from supernet.cost import Cost, CostTable, StageCosts
from supernet.spaces.description import Operation, SpaceDescription
from supernet.window import FlopsWindow
from supernet.window_resolutions import ResolutionsWindow, SearchWindow

if TYPE_CHECKING:
    from supernet.networks.path_supernet import PathSupernet
    from supernet.networks.plain import MBConvNetwork


Network = TypeVar("Network", bound=nn.Module)


class MBConvSpace:
    """All architectures of one description: which exist, what they cost, and the networks that realise them.

    An architecture has one tuple of operation indices for each stage; see `supernet.architecture`.
    """

    def __init__(self, description: SpaceDescription) -> None:
        self.description = description
        self.name = description.name
        self.resolution = description.resolution
        self.channels = description.channels
        self.classes = description.classes

    def adapted(self, *, channels: int, classes: int, resolution: int) -> MBConvSpace:
        """The same space for a data set's channels and classes, at a resolution; costs follow."""
        update = {"channels": channels, "classes": classes, "resolution": resolution}
        return MBConvSpace(self.description.model_copy(update=update))

    def at_resolution(self, resolution: int) -> MBConvSpace:
        """The same space for images of another size."""
        return self.adapted(channels=self.channels, classes=self.classes, resolution=resolution)

    def operations(self, stage: int) -> tuple[Operation, ...]:
        """The candidates of a stage; architectures hold indices into this tuple."""
        return self.description.stages[stage].operations or self.description.operations

    @cached_property
    def shapes(self) -> tuple[tuple[LayerShape, ...], ...]:
        """The shape of each layer of each stage, at the largest depth."""
        inputs, shapes = self.description.stem.channels, []
        for stage in self.description.stages:
            first = LayerShape(inputs, stage.channels, stage.stride)
            rest = LayerShape(stage.channels, stage.channels, 1)
            shapes.append((first, *[rest] * (stage.depths[1] - 1)))
            inputs = stage.channels
        return tuple(shapes)

    def choices(self, stage: int, layer: int) -> dict[int, Operation]:
        """Operations offered at a layer: an identity only where it keeps the shape."""
        fits = self.shapes[stage][layer].keeps_shape
        return {
            index: operation
            for index, operation in enumerate(self.operations(stage))
            if operation.block != "skip" or operation.project or fits
        }

    # --- architectures -------------------------------------------------------------------------------------------

    def parse(self, text: str | int | Sequence[Sequence[int]]) -> Architecture:
        """An architecture from its text form or nested list; `-1` (skip this block, as Cream writes it) is dropped.

        A text may end in a resolution, as in `[[0],[3],[0]]@160`.

        Raises:
            SpaceError: not an architecture of this space; the message names the stage and what it allows.
        """
        resolution = None
        if isinstance(text, str) and (match := re.fullmatch(r"(.*)@\s*(\d+)\s*", text, re.DOTALL)):
            text, resolution = match[1].strip(), int(match[2])
        stages: Any = self._split_digits(text) if self.description.text == "digits" else None
        if stages is None:
            stages = _read_lists(text) if isinstance(text, str) else text
        if not _is_nested_list(stages):
            raise SpaceError(f"{text!r} is no architecture of {self.name}: write a list of lists of operation indices")
        kept = tuple(tuple(index for index in stage if index != -1) for stage in stages)
        return self.validate(Architecture(self.name, kept, resolution))

    def _split_digits(self, text: object) -> list[list[int]] | None:
        """Stages of the digit form, or None where `text` is not in it."""
        digits = str(text)
        if not digits.isdecimal():
            return None
        depths = [len(shapes) for shapes in self.shapes]
        if len(digits) != sum(depths):
            raise SpaceError(f"{digits!r} has {len(digits)} digits; {self.name} has {sum(depths)} layers")
        iterator = iter(digits)
        return [[int(next(iterator)) for _ in range(depth)] for depth in depths]

    def text(self, architecture: Architecture) -> str:
        """The text form that `parse` reads."""
        if self.description.text == "digits":
            return "".join(str(index) for stage in architecture.stages for index in stage) + architecture.suffix
        return str(architecture)

    def validate(self, architecture: Architecture) -> Architecture:
        """Return the architecture, or raise SpaceError naming the first stage that does not fit this space."""
        if architecture.space != self.name:
            raise SpaceError(f"an architecture of space {architecture.space!r} was given to space {self.name!r}")
        if architecture.resolution is not None and not 8 <= architecture.resolution <= 8192:
            raise SpaceError(f"{architecture}: images of {architecture.resolution} pixels; 8 to 8192 are allowed")
        stages = self.description.stages
        if len(architecture.stages) != len(stages):
            raise SpaceError(f"{architecture} has {len(architecture.stages)} stages; {self.name} has {len(stages)}")
        for number, (stage, chosen) in enumerate(zip(stages, architecture.stages)):
            low, high = stage.depths
            if not low <= len(chosen) <= high:
                raise SpaceError(
                    f"{architecture}: stage {number} has {len(chosen)} blocks; {self.name} allows {low} to {high}"
                )
            for layer, index in enumerate(chosen):
                allowed = sorted(self.choices(number, layer))
                if index not in allowed:
                    raise SpaceError(
                        f"{architecture}: operation {index} at stage {number}, block {layer}; "
                        f"{self.name} allows {allowed}"
                    )
        return architecture

    @cached_property
    def _everything(self) -> FlopsWindow:
        """The window that holds every architecture: all costs zero, so that its tables are tiny."""
        free = Cost(0, 0)
        stages = tuple(
            StageCosts(stage.minimum_depth, tuple(dict.fromkeys(layer, free) for layer in stage.layers))
            for stage in self.cost_table().stages
        )
        return FlopsWindow(CostTable(self.name, self.resolution, free, stages), 0, 0)

    @property
    def count(self) -> int:
        """Number of architectures (encodings; where a stage's depth varies, one a depth)."""
        return self._everything.count

    def sample(self, generator: torch.Generator) -> Architecture:
        """One architecture, uniform over the whole space (inside a FLOPs window: `window(…).sample`)."""
        return self._everything.sample(generator, 1)[0]

    def mutate(self, architecture: Architecture, probability: float, generator: torch.Generator) -> Architecture:
        """Re-draw each layer and depth with `probability`; never the parent itself."""
        return self._everything.mutate(architecture, probability, generator)

    def crossover(self, first: Architecture, second: Architecture, generator: torch.Generator) -> Architecture:
        """Each layer and depth from one of the parents."""
        return self._everything.crossover(first, second, generator)

    # --- costs ---------------------------------------------------------------------------------------------------

    def cost_table(self, resolution: int | None = None) -> CostTable:
        """Exact costs of every choice at a resolution (None: the space's own)."""
        return _cost_table(self, resolution or self.resolution)

    def cost(self, architecture: Architecture, resolution: int | None = None) -> Cost:
        """Exact MACs for one image and parameters (resolution None: the architecture's, else the space's)."""
        return self.cost_table(resolution or architecture.resolution).cost(self.validate(architecture))

    def window(self, minimum: int, maximum: int, resolution: int | None = None) -> FlopsWindow:
        """The architectures with minimum <= MACs <= maximum; WindowError when there is none."""
        return FlopsWindow(self.cost_table(resolution), minimum, maximum)

    def window_of(self, minimum: int, maximum: int, resolutions: Sequence[int]) -> SearchWindow:
        """The window over pairs of an architecture and one of these resolutions."""
        return ResolutionsWindow(map(self.cost_table, resolutions), minimum, maximum)

    # --- networks ------------------------------------------------------------------------------------------------

    def build_network(self, architecture: Architecture, generator: torch.Generator | None = None) -> MBConvNetwork:
        """The plain network of an architecture, freshly initialised (from seed 0 without a generator)."""
        from supernet.networks.plain import MBConvNetwork

        return _initialized(MBConvNetwork(self, self.validate(architecture)), generator)

    def build_supernet(self, encoding: str, generator: torch.Generator | None = None) -> PathSupernet:
        """The weight-sharing network that holds every architecture, freshly initialised."""
        from supernet.networks.path_supernet import PathSupernet

        return _initialized(PathSupernet(self, encoding), generator)

    def extract(self, supernet: PathSupernet, architecture: Architecture) -> MBConvNetwork:
        """The plain network of an architecture with the supernet's weights; its logits equal the supernet's."""
        from supernet.networks.plain import MBConvNetwork

        with torch.device("meta"):
            network = MBConvNetwork(self, self.validate(architecture))
        state = {key: value.clone() for key, value in supernet.path_state_dict(architecture).items()}
        network.load_state_dict(state, assign=True)
        return network.train(supernet.training)


@lru_cache(maxsize=64)
def _cost_table(space: MBConvSpace, resolution: int) -> CostTable:
    description = space.description
    stem, head = description.stem, description.head
    size = -(-resolution // stem.stride)
    weights = space.channels * stem.channels * stem.kernel**2
    fixed = Cost(weights * size**2, weights + 2 * stem.channels)
    stages = []
    for number, shapes in enumerate(space.shapes):
        layers = []
        for layer, shape in enumerate(shapes):
            choices = space.choices(number, layer)
            layers.append({index: block_cost(operation, shape, size) for index, operation in choices.items()})
            size = shape.output_size(size)
        stages.append(StageCosts(description.stages[number].depths[0], tuple(layers)))
    weights = description.stages[-1].channels * head.channels
    pixels = 1 if head.pool_first else size**2
    fixed += Cost(weights * pixels, weights + head.channels * (2 * head.norm + head.bias))
    fixed += Cost(head.channels * space.classes, head.channels * space.classes + space.classes)
    return CostTable(space.name, resolution, fixed, tuple(stages))


def _read_lists(text: str) -> Any:
    """The value of a YAML text; None where it is not YAML."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _is_nested_list(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(stage, list | tuple) and all(type(index) is int for index in stage) for stage in value
    )


def _initialized(network: Network, generator: torch.Generator | None) -> Network:
    initialize(network, generator or torch.Generator().manual_seed(0))
    return network
