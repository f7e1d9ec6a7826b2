"""Autocast on `npu`: the operations that the CPU's autocast casts, as far as the networks use them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

_HALF = ("conv2d", "linear", "matmul", "mm", "addmm", "bmm")
_WHOLE = ("cross_entropy_loss", "nll_loss", "mse_loss")
_KEY = torch._C.DispatchKey.AutocastPrivateUse1
_fallback = torch.library.Library("_", "IMPL")
_library = torch.library.Library("aten", "IMPL")


def register() -> None:
    _fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    for name in _HALF + _WHOLE:
        _library.impl(name, _cast(getattr(torch.ops.aten, name).default, name in _HALF), "AutocastPrivateUse1")


def _cast(function: Any, to_half: bool) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype("npu") if to_half else torch.float32
        with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_KEY)):
            return function(*tree_map(lambda value: _to(value, dtype), args), **kwargs)

    return call


def _to(value: Any, dtype: torch.dtype) -> Any:
    return value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
