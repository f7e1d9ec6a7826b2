"""Weights in half precision: which of a module's become so, and the casts around its forward pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def at_least_fp32(tensor: Tensor) -> Tensor:
    """Half precision as fp32; every other type as it is."""
    widened = tensor.is_floating_point() and tensor.itemsize < torch.float32.itemsize
    return tensor.float() if widened else tensor


def cast_weights(module: nn.Module, dtype: torch.dtype, spare_norms: bool) -> None:
    """Replace floating-point parameters, in place; buffers and the affine of batch norm only without `spare_norms`.

    Whatever keeps a running mean is batch norm, with all that is inside it.
    """
    for child in module.children():
        if not (spare_norms and hasattr(child, "running_mean")):
            cast_weights(child, dtype, spare_norms)
    for name, parameter in module.named_parameters(recurse=False):
        if parameter.is_floating_point() and parameter.dtype != dtype:
            cast = nn.Parameter(parameter.detach().to(dtype), parameter.requires_grad)
            module.register_parameter(name, cast)
    if not spare_norms:
        for name, buffer in module.named_buffers(recurse=False):
            if buffer.is_floating_point():
                setattr(module, name, buffer.to(dtype))


def cast_calls(module: nn.Module) -> None:
    """Let a module take inputs of any floating-point type, and return fp32; `functional_call` included."""
    module.register_forward_pre_hook(_cast_inputs)
    module.register_forward_hook(_cast_outputs)


def _cast_inputs(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """To the type of the first matrix or kernel that the module has at present."""
    dtype = next(weight.dtype for weight in module.parameters() if weight.ndim > 1)
    return tuple(one.to(dtype) if isinstance(one, Tensor) and one.is_floating_point() else one for one in inputs)


def _cast_outputs(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
    return tuple(map(at_least_fp32, output)) if isinstance(output, tuple) else at_least_fp32(output)
