"""The window that a search's configuration asks for."""

from __future__ import annotations

from configs.schema import Config
from supernet import latency
from supernet.cost import format_millions, macs_from_millions
from supernet.space import SharedSpace
from supernet.window_costed import SearchWindow
from supernet.window_latency import LatencyWindow


def open_window(config: Config, space: SharedSpace) -> SearchWindow:
    """FLOPS_MINIMUM and FLOPS_MAXIMUM over SUPERNET.RESOLUTIONS, or with LATENCY_MAXIMUM beside them.

    Raises:
        WindowError: it holds nothing; the message names what is feasible.
        ConfigError: a bound is no number of MACs, or LATENCY_TABLE is missing, broken or another space's.
    """
    bounds = macs_from_millions(config.flops_minimum), macs_from_millions(config.flops_maximum)
    if config.supernet.resolutions is not None:
        return space.window_of(*bounds, config.supernet.resolutions)
    return latency.open_window(space, *bounds, config.latency_table, config.latency_maximum)


def describe_window(window: SearchWindow, space: SharedSpace) -> str:
    """How many architectures it holds, of how many."""
    bounds = f"[{format_millions(window.minimum)}, {format_millions(window.maximum)}] million MACs"
    if isinstance(window, LatencyWindow):
        bounds += f" and {window.describe_limit()}"
    sizes = ", ".join(map(str, window.resolutions))
    population = space.count * len(window.resolutions)
    return f"{window.count:,} of {population:,} architectures of {space.name} at {sizes} pixels lie in {bounds}"
