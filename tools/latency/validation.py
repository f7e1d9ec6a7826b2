"""How well a table predicts what whole networks take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.seeds import make_generator
from supernet.architecture import Architecture
from supernet.latency import LatencyTable
from supernet.spaces.mbconv import MBConvSpace
from tools.latency.building import draw_varied
from tools.latency.measuring import Measured, Runner


def draw_others(space: MBConvSpace, count: int, seed: int) -> list[Architecture]:
    """Random architectures, others than those a table is fitted to; fewer where some are equal."""
    random = make_generator(seed, "tools.latency validate")
    return list(dict.fromkeys(draw_varied(space, random) for _ in range(count)))


def measure_networks(
    space: MBConvSpace, runner: Runner, drawn: list[Architecture], repeats: int
) -> dict[Architecture, Measured]:
    """What whole networks take."""
    networks = {one: runner.prepare(space.build_network(one), space.channels, space.resolution) for one in drawn}
    return runner.measure(networks, repeats)


def compare(space: MBConvSpace, table: LatencyTable, measured: Mapping[Architecture, Measured]) -> dict[str, Any]:
    """Predicted beside measured milliseconds.

    Returns:
        `architectures`, each with text, predicted_ms, measured_ms, spread_ms (interquartile range of the repeats);
        `pearson`, `kendall_tau`, `mean_absolute_error_ms`, `mean_relative_error`.
    """
    drawn = list(measured)
    predicted = np.array([table.latency(one) for one in drawn])
    taken = np.array([measured[one].median for one in drawn])
    errors = np.abs(predicted - taken)
    return {
        "pearson": _correlation(predicted, taken),
        "kendall_tau": kendall_tau(predicted, taken),
        "mean_absolute_error_ms": round(float(errors.mean()), 4),
        "mean_relative_error": round(float((errors / taken).mean()), 4),
        "architectures": [
            {
                "text": space.text(one),
                "predicted_ms": round(float(first), 4),
                "measured_ms": round(float(second), 4),
                "spread_ms": round(measured[one].spread, 4),
            }
            for one, first, second in zip(drawn, predicted, taken)
        ],
    }


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's; 0 where one of the two does not vary."""
    return round(float(np.corrcoef(first, second)[0, 1]), 4) if np.ptp(first) and np.ptp(second) else 0.0


def kendall_tau(first: np.ndarray, second: np.ndarray) -> float:
    """Kendall's tau-b of two rankings (Kendall 1945): ties count for neither order; 0 where all are tied."""
    upper = np.triu_indices(len(first), 1)
    one, other = (np.sign(np.subtract.outer(values, values))[upper] for values in (first, second))
    pairs = np.count_nonzero(one) * np.count_nonzero(other)
    return round(float((one * other).sum() / pairs**0.5), 4) if pairs else 0.0
