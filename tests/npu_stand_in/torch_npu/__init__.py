"""A stand-in for Ascend's torch_npu: the device `npu`, autocast there, and the backend `hccl`, all on the CPU.

With this folder on PYTHONPATH, `import torch` loads it as it loads the real one, through its entry point. It shows that
code is agnostic of the device (a tensor left on the host meets one on the device and is refused), not that an NPU has
an operator.

NPU_STAND_IN_DEVICES is the number of devices (2); NPU_STAND_IN_WITHOUT is a type in which convolutions fail there.
"""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from torch_npu import autocasting, npu, tensors


def _autoload() -> None:
    _setup_privateuseone_for_python_backend("npu", npu, npu.Hooks())
    torch.Generator = npu.Generator
    tensors.register()
    autocasting.register()
    dist.Backend.register_backend("hccl", _make_hccl, devices=["npu"])


def _make_hccl(store: dist.Store, rank: int, size: int, timeout: object) -> object:
    return dist.ProcessGroupGloo(store, rank, size, timeout)
