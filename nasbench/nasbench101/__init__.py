"""NAS-Bench-101 behind the official package's names.

from nasbench import nasbench101 as api  # instead of: from nasbench import api
nasbench = api.NASBench("nasbench_full.tfrecord")
spec = api.ModelSpec(matrix=[[0, 1, 1], [0, 0, 1], [0, 0, 0]], ops=["input", "conv3x3-bn-relu", "output"])
nasbench.query(spec, epochs=108)
"""

from nasbench.nasbench101.api import NASBench
from supernet.spaces.nasbench101.cell import OutOfDomainError
from supernet.spaces.nasbench101.model_spec import ModelSpec

__all__ = ["ModelSpec", "NASBench", "OutOfDomainError"]
