"""Ways of training a supernet, by the names of SEARCH.STRATEGY."""

from __future__ import annotations

from configs.errors import SpaceError
from configs.schema import Search, Train
from runtime.world import World
from search.objective import SupernetObjective
from search.strategies.prioritized import PrioritizedStrategy
from search.strategies.strategy import Strategy
from search.strategies.threshold import ThresholdStrategy
from search.strategies.uniform import UniformStrategy
from supernet.latency import read_latency_table
from supernet.nested import nested_layers
from supernet.networks.path_supernet import PathSupernet
from supernet.networks.supernets import Supernet
from supernet.space import SharedSpace, check_encoding
from supernet.spaces.mbconv import MBConvSpace
from supernet.window import FlopsWindow
from supernet.window_costed import SearchWindow

__all__ = ["Strategy", "build_strategy", "check_strategy"]


def check_strategy(config: Search, space: SharedSpace, encoding: str) -> None:
    """Refuse before images are opened what `build_supernet` and `build_strategy` are bound to refuse after.

    Raises:
        ConfigError: the latency table is missing, broken, or not one of this space.
        SpaceError: the strategy or the encoding cannot work on this space.
    """
    if config.strategy != "threshold":
        check_encoding(space, encoding)
    elif not isinstance(space, MBConvSpace):
        raise SpaceError(f"SEARCH.STRATEGY threshold decides about layers, and {space.name} has cells: use another one")
    else:
        nested_layers(space)
        if config.threshold.latency_table:
            read_latency_table(config.threshold.latency_table, space)


def build_strategy(
    config: Search,
    supernet: Supernet,
    objective: SupernetObjective,
    window: SearchWindow,
    train: Train,
    seed: int,
    world: World,
) -> Strategy:
    """The configured strategy; `objective` measures board paths on the search split."""
    match config.strategy:
        case "uniform":
            return UniformStrategy(supernet, train.label_smoothing)
        case "prioritized":
            return PrioritizedStrategy(config, supernet, objective, train.label_smoothing, seed, world)
        case "threshold":
            assert isinstance(window, FlopsWindow)  # as `check_strategy` and the configuration know
            assert isinstance(supernet, PathSupernet)
            return ThresholdStrategy(config, supernet, objective, window, train, seed, world)
