"""Ways of choosing from a trained supernet, by the names of PICKER.NAME."""

from __future__ import annotations

from collections.abc import Sequence

from configs.schema import Picker as PickerConfig
from runtime.seeds import make_generator
from search.pickers.evolution import EvolutionPicker
from search.pickers.listing import board_picker, exhaustive_picker, random_picker
from search.pickers.local_search import LocalSearchPicker
from search.pickers.picker import Picker, PickerError, score_all
from search.pickers.reinforce import ReinforcePicker
from search.pickers.window import Window
from search.scores import Scored

__all__ = ["Picker", "PickerError", "Window", "build_picker", "check_picker", "score_all"]


def check_picker(config: PickerConfig, window: Window, strategy: str) -> None:
    """Refuse before training what `build_picker` is bound to refuse after it.

    Raises:
        PickerError: the picker cannot work on this window, or with what this strategy keeps.
    """
    match config.name:
        case "exhaustive":
            exhaustive_picker(window, config.evaluations)
        case "board" if strategy == "uniform":
            board_picker([])


def build_picker(config: PickerConfig, window: Window, seed: int, prioritized: Sequence[Scored] = ()) -> Picker:
    """The configured picker.

    Args:
        prioritized: paths that training found good, best first; any outside the window are left out.

    Raises:
        PickerError: the picker cannot work on this window.
    """
    paths = list(dict.fromkeys(scored.architecture for scored in prioritized if scored.architecture in window))
    match config.name:
        case "evolution":
            return EvolutionPicker(config, window, seed, paths)
        case "local_search":
            return LocalSearchPicker(config, window, seed, paths)
        case "reinforce":
            return ReinforcePicker(config, window, seed, paths)
        case "random":
            return random_picker(window, config.evaluations, make_generator(seed, "random picker"))
        case "exhaustive":
            return exhaustive_picker(window, config.evaluations)
        case "board":
            return board_picker(paths)
