"""The YAML form of an MBConv space: every key, typed and explained."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

Positive = Annotated[int, Field(ge=1)]
Width = Annotated[int, Field(ge=1, le=16384)]
Depth = Annotated[int, Field(ge=1, le=256)]
Kernel = Literal[1, 3, 5, 7, 9, 11]
Activation = Literal["relu", "relu6", "swish", "hard_swish"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Operation(_Part):
    """One candidate of a layer."""

    block: Literal["mbconv", "separable", "conv", "skip"] = Field(
        "mbconv",
        description="mbconv: inverted residual; separable: depthwise-separable; conv: conv-BN-act; skip: identity",
    )
    kernel: Kernel = Field(3, description="kernel size (mbconv, separable: of the depthwise convolution)")
    expansion: Annotated[float, Field(gt=0, le=64)] = Field(1, description="mbconv: hidden channels / input channels")
    squeeze_excite: Annotated[float, Field(ge=0, le=1)] = Field(0, description="SE width / channels; 0: no SE")
    activation: Activation = Field("relu", description="activation")
    project: bool = Field(
        False, description="skip: where shapes change, offer a strided 1x1 conv + BN (else no skip is offered there)"
    )


class Stem(_Part):
    """The first convolution, with BN and activation."""

    channels: Width = Field(description="output channels")
    kernel: Kernel = Field(3, description="kernel size")
    stride: Literal[1, 2, 4] = Field(2, description="stride")
    activation: Activation = Field("relu", description="activation")


class Stage(_Part):
    """A run of layers at one width; the first layer has the stage's stride."""

    channels: Width = Field(description="output channels")
    stride: Literal[1, 2] = Field(1, description="stride of the first layer")
    depth: Depth | tuple[Depth, Depth] = Field(1, description="number of layers (at least 1), or [smallest, largest]")
    operations: tuple[Operation, ...] | None = Field(None, min_length=1, description="candidates; null: the space's")

    @property
    def depths(self) -> tuple[int, int]:
        """Smallest and largest number of layers."""
        return (self.depth, self.depth) if isinstance(self.depth, int) else self.depth

    @model_validator(mode="after")
    def _ordered(self) -> Stage:
        if self.depths[0] > self.depths[1]:
            raise ValueError(f"depth {list(self.depths)}: the smallest is above the largest")
        return self


class Head(_Part):
    """From the last stage to the logits: 1x1 convolution and global average pool (in either order), linear."""

    channels: Width = Field(description="output channels of the 1x1 convolution")
    pool_first: bool = Field(False, description="pool before the convolution (MobileNetV3, Cream)")
    norm: bool = Field(True, description="BN after the convolution")
    bias: bool = Field(False, description="bias of the convolution")
    activation: Activation = Field("relu", description="activation")


class SpaceDescription(_Part):
    """A whole space."""

    name: Annotated[str, Field(pattern=r"^[\w.-]+$")] = Field(description="name, stored with each architecture")
    resolution: Annotated[int, Field(ge=8, le=8192)] = Field(description="image height and width in pixels")
    channels: Positive = Field(3, description="image channels; a data set's own replace them")
    classes: Positive = Field(1000, description="classes; a data set's own replace them")
    text: Literal["lists", "digits"] = Field("lists", description="text form: nested lists, or one digit a layer")
    operations: tuple[Operation, ...] = Field((), description="candidates of every stage without its own")
    stem: Stem = Field(description="first convolution")
    stages: tuple[Stage, ...] = Field(min_length=1, description="the stages in order")
    head: Head = Field(description="last layers")

    @model_validator(mode="after")
    def _layers_have_operations(self) -> SpaceDescription:
        inputs = self.stem.channels
        for number, stage in enumerate(self.stages):
            operations = stage.operations or self.operations
            changes = stage.stride > 1 or stage.channels != inputs
            if not any(operation.block != "skip" or operation.project or not changes for operation in operations):
                raise _misfit(number, "no operation fits its first layer; list one beside skip")
            for operation in operations:
                for channels in (inputs, stage.channels):
                    if operation.block == "mbconv" and channels * operation.expansion % 1:
                        raise _misfit(
                            number, f"expansion {operation.expansion} of {channels} channels is no whole number"
                        )
            inputs = stage.channels
        return self

    @model_validator(mode="after")
    def _digits_suffice(self) -> SpaceDescription:
        for number, stage in enumerate(self.stages if self.text == "digits" else ()):
            if len(stage.operations or self.operations) > 10:
                raise _misfit(number, "text: digits allows at most 10 operations a layer; use lists")
            if stage.depths[0] < stage.depths[1]:
                raise _misfit(number, "text: digits needs a fixed depth; use lists")
        return self


def _misfit(stage: int, message: str) -> PydanticCustomError:
    """What is wrong with a stage in view of the others; `location` lets a reader name the line."""
    return PydanticCustomError("misfit", "{message}", {"message": message, "location": ("stages", stage)})
