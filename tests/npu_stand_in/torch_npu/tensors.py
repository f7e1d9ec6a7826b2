"""Tensors on `npu`: each wraps one of the CPU, which its operations run on."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from torch_npu.collectives import COLLECTIVES

_aten = torch.ops.aten
_MOVES = (_aten.copy_.default, _aten._to_copy.default)
_library = torch.library.Library("aten", "IMPL")


class NpuTensor(Tensor):
    """Refuses to meet a tensor of the host, as an accelerator does.

    Whichever device a process has, its tensors say npu:0, the only one that torch's backward pass knows of here.
    """

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> NpuTensor:
        layout = {"storage_offset": inner.storage_offset(), "dtype": inner.dtype, "device": "npu:0"}
        self = Tensor._make_wrapper_subclass(cls, inner.size(), inner.stride(), **layout)
        self.inner = inner
        return self

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        met: list[Tensor] = []

        def enter(tensor: Tensor) -> Tensor:
            met.append(tensor)
            return _inside(tensor)

        inner, options = _visit(args, enter), {name: _visit(value, enter) for name, value in (kwargs or {}).items()}
        if function in COLLECTIVES:
            return COLLECTIVES[function](inner, args)
        _check(function, met)
        wrappers = [tensor for tensor in met if isinstance(tensor, NpuTensor)]
        to_host = options.get("device") is not None and torch.device(options["device"]).type == "cpu"
        if "device" in options:
            options["device"] = torch.device("cpu")
        results = function(*inner, **options)
        if to_host:
            return results
        known = {id(wrapper.inner): wrapper for wrapper in wrappers}  # operations in place return what they were given
        return _visit(results, lambda result: known[id(result)] if id(result) in known else NpuTensor(result))

    def __repr__(self, **_: Any) -> str:
        return f"{self.device} {self.inner!r}"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copy: Tensor = NpuTensor(self.inner.detach().clone())
        if isinstance(self, nn.Parameter):
            copy = nn.Parameter(copy, self.requires_grad)
        return memo.setdefault(id(self), copy)

    def data_ptr(self) -> int:
        return self.inner.data_ptr()

    def tolist(self) -> Any:
        return self.inner.tolist()

    def numpy(self, *_: Any, **__: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy; use Tensor.cpu() first")

    __array__ = numpy


def register() -> None:
    """What torch asks of a device where there is no wrapper yet, or where it looks past them."""
    for name in ("empty.memory_format", "empty_strided", "arange", "arange.start", "arange.start_step"):
        operation, _, overload = name.partition(".")
        _library.impl(name, _factory(getattr(getattr(_aten, operation), overload or "default")), "PrivateUse1")
    _library.impl("_copy_from", _copy_from, "PrivateUse1")


def _factory(function: Any) -> Callable[..., NpuTensor]:
    def make(*args: Any, **options: Any) -> NpuTensor:
        return NpuTensor(function(*args, **{**options, "device": "cpu", "pin_memory": False}))

    return make


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _inside(target).copy_(_inside(source))
    return target


def _check(function: Any, tensors: list[Tensor]) -> None:
    """Of the host there may be what has no dimension, and what is just being moved."""
    if function not in _MOVES and any(tensor.ndim for tensor in tensors if not isinstance(tensor, NpuTensor)):
        raise RuntimeError(f"{function}: expected all tensors on one device, but found npu:0 and cpu")
    without = os.environ.get("NPU_STAND_IN_WITHOUT", "")
    if without and function is _aten.convolution.default and tensors[0].dtype == getattr(torch, without):
        raise RuntimeError(f"convolution is not implemented for {without} on this chip")


def _inside(tensor: Tensor) -> Tensor:
    return tensor.inner if isinstance(tensor, NpuTensor) else tensor


def _visit(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """The same nested value with its tensors changed (torch's pytree would take most of the time)."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, list | tuple):
        return type(value)([_visit(one, change) for one in value])
    return value
