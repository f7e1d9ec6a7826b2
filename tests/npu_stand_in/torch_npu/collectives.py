"""What processes say to each other over `hccl`: gloo, on the tensors inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

_c10d = torch.ops.c10d


def _gloo(group: Any) -> Any:
    return dist.ProcessGroup.unbox(group)._get_backend(torch.device("npu"))


def _all_reduce(inner: Any, outer: Any) -> Any:
    """A sum, the only reduction that processes ask of a device here: which one was asked for, torch does not tell."""
    tensors, group = inner[:2]
    return outer[0], _gloo(group).allreduce(tensors, dist.AllreduceOptions()).boxed()


def _broadcast(inner: Any, outer: Any) -> Any:
    tensors, group, root = inner[:3]
    options = dist.BroadcastOptions()
    options.rootRank = root
    return outer[0], _gloo(group).broadcast(tensors, options).boxed()


def _all_gather(inner: Any, outer: Any) -> Any:
    outputs, inputs, group = inner[:3]
    return outer[0], _gloo(group).allgather(outputs, inputs).boxed()


def _barrier(inner: Any, outer: Any) -> Any:
    return _gloo(inner[1]).barrier().boxed()


COLLECTIVES: dict[Any, Callable[[Any, Any], Any]] = {
    _c10d.allreduce_.default: _all_reduce,
    _c10d.broadcast_.default: _broadcast,
    _c10d.allgather_.default: _all_gather,
    _c10d.barrier.default: _barrier,
}
