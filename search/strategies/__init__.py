"""Ways of training a supernet, by the names of SEARCH.STRATEGY."""

from __future__ import annotations

from configs.schema import Search, Train
from runtime.world import World
from search.objective import SupernetObjective
from search.strategies.prioritized import PrioritizedStrategy
from search.strategies.strategy import Strategy
from search.strategies.threshold import ThresholdStrategy
from search.strategies.uniform import UniformStrategy
from supernet.networks.path_supernet import PathSupernet
from supernet.window_resolutions import ResolutionsWindow, SearchWindow

__all__ = ["Strategy", "build_strategy"]


def build_strategy(
    config: Search,
    supernet: PathSupernet,
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
            assert not isinstance(window, ResolutionsWindow), "the configuration refuses both"
            return ThresholdStrategy(config, supernet, objective, window, train, seed, world)
