"""The part of apex.amp at O2 that the project calls, rewritten small from apex's documentation and sources.

Masters are made at the first use, gradients reach them when `scale_loss` is left, and a step after an overflow is
replaced by none, as apex does it. It knows torch's batch norm only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

scaler = SimpleNamespace(scale=2.0**16, dynamic=True, unskipped=0)


def initialize(
    model: nn.Module, optimizer: Any, opt_level: str, loss_scale: Any, verbosity: int
) -> tuple[nn.Module, Any]:
    assert opt_level == "O2"
    scaler.dynamic, scaler.unskipped = loss_scale == "dynamic", 0
    scaler.scale = 2.0**16 if scaler.dynamic else loss_scale
    for part in model.modules():
        if not isinstance(part, nn.BatchNorm2d):
            for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False)):
                tensor.data = tensor.data.half() if tensor.is_floating_point() else tensor.data
    forward = model.forward
    model.forward = lambda images: forward(images.half()).float()
    stash = optimizer._amp_stash = SimpleNamespace(
        already_patched=False, params_have_scaled_gradients=False, pairs=None
    )
    optimizer._amp_lazy_init = lambda: _make_masters(optimizer, stash)
    step = optimizer.step

    def step_and_copy() -> None:
        step()
        with torch.no_grad():
            for half, master in zip(stash.all_fp16_params, stash.all_fp32_from_fp16_params):
                half.copy_(master)
                master.grad = None

    optimizer.step = step_and_copy
    return model, optimizer


def _make_masters(optimizer: Any, stash: Any) -> None:
    if stash.pairs is None:
        stash.pairs, stash.all_fp32_from_fp32_params = [], []
        for group in optimizer.param_groups:
            for place, parameter in enumerate(group["params"]):
                if parameter.dtype == torch.float16:
                    group["params"][place] = parameter.detach().clone().float().requires_grad_()
                    stash.pairs.append((parameter, group["params"][place]))
                else:
                    stash.all_fp32_from_fp32_params.append(parameter)
        stash.all_fp16_params, stash.all_fp32_from_fp16_params = map(list, zip(*stash.pairs))


@contextmanager
def scale_loss(loss: Tensor, optimizer: Any, delay_unscale: bool = False) -> Iterator[Tensor]:
    stash = optimizer._amp_stash
    optimizer._amp_lazy_init()
    if not delay_unscale and not stash.params_have_scaled_gradients:
        for parameter in stash.all_fp16_params:
            parameter.grad = None
    yield loss.float() * scaler.scale
    stash.params_have_scaled_gradients = delay_unscale
    if not delay_unscale:
        gradients = []
        for half, master in stash.pairs:
            if half.grad is not None:
                master.grad = half.grad.float() / scaler.scale
                gradients.append(master.grad)
        for parameter in stash.all_fp32_from_fp32_params:
            if parameter.grad is not None:
                gradients.append(parameter.grad.div_(scaler.scale))
        if scaler.dynamic and not all(gradient.isfinite().all() for gradient in gradients):
            scaler.scale /= 2
            _skip_next(optimizer, stash)


def _skip_next(optimizer: Any, stash: Any) -> None:
    step = optimizer.step

    def skip() -> None:
        for master in stash.all_fp32_from_fp16_params:
            master.grad = None
        optimizer.step, stash.already_patched = step, False

    optimizer.step, stash.already_patched = skip, True


def state_dict() -> dict[str, Any]:
    return {"loss_scaler0": {"loss_scale": scaler.scale, "unskipped": scaler.unskipped}}


def load_state_dict(state: dict[str, Any]) -> None:
    scaler.scale, scaler.unskipped = state["loss_scaler0"]["loss_scale"], state["loss_scaler0"]["unskipped"]
