"""NAS-Bench-201's and NATS-Bench's results: import, store, query.

The official interfaces are `nasbench.nas_201_api` and `nasbench.nats_bench`.
"""

from nasbench.nasbench201.benchmark import Benchmark
from nasbench.nasbench201.errors import QueryError
from nasbench.nasbench201.table import ResultsTable

__all__ = ["Benchmark", "QueryError", "ResultsTable"]
