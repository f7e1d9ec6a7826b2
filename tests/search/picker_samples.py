"""Small windows, objectives and settings for tests of pickers."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import product

from hypothesis import strategies as st

from configs.schema import Picker as PickerConfig
from search.pickers import Picker
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.cost import Cost, CostTable, StageCosts
from supernet.window import FlopsWindow

LAYERS = 12
WIDE = [[{operation: 10 + 5 * operation for operation in range(4)} for _ in range(LAYERS // 3)] for _ in range(3)]


def make_window(stages: Sequence[Sequence[dict[int, int]]], minimum: int = 0, maximum: int = 10**6) -> FlopsWindow:
    """Each stage has at least one block; `stages[s][b]` maps operations to MACs."""
    layers = [tuple({name: Cost(macs, 0) for name, macs in layer.items()} for layer in stage) for stage in stages]
    table = CostTable("small", 8, Cost(0, 0), tuple(StageCosts(1, stage) for stage in layers))
    return FlopsWindow(table, minimum, maximum)


def configure(name: str, **keys: object) -> PickerConfig:
    return PickerConfig(NAME=name, **keys)


def additive(seed: int) -> Callable[[Sequence[Architecture]], list[Scored]]:
    """An objective in which every block adds its own random share of the accuracy."""

    def share(place: int, layer: int, operation: int) -> float:
        return random.Random(f"{seed} {place} {layer} {operation}").random()

    def score(path: Architecture) -> Scored:
        shares = [share(s, b, o) for s, stage in enumerate(path.stages) for b, o in enumerate(stage)]
        return Scored(path, sum(shares), len(shares), 0)

    return lambda paths: [score(path) for path in paths]


def finish(picker: Picker, objective: Callable, generations: int = 10**9) -> list[list[Architecture]]:
    """Ask, score and tell until the picker is done, or for some generations; what it asked for."""
    asked = []
    while len(asked) < generations and (candidates := picker.ask()):
        asked.append(candidates)
        picker.tell(objective(candidates))
    return asked


layers = st.dictionaries(st.integers(0, 3), st.integers(1, 9), min_size=2, max_size=3)
spaces = st.lists(st.lists(layers, min_size=1, max_size=2), min_size=1, max_size=3)


@st.composite
def windows(draw: st.DrawFn) -> FlopsWindow:
    """A window of 1 to some 1,700 architectures, with bounds that some architectures reach exactly."""
    space = draw(spaces)
    per_stage = [[sum(c) for d in range(1, len(s) + 1) for c in product(*(x.values() for x in s[:d]))] for s in space]
    costs = sorted({sum(parts) for parts in product(*per_stage)})
    middle = len(costs) // 2
    return make_window(space, draw(st.sampled_from(costs[: middle + 1])), draw(st.sampled_from(costs[middle:])))


limits = st.fixed_dictionaries(
    {
        "EVALUATIONS": st.integers(1, 30),
        "POPULATION": st.integers(1, 12),
        "MUTATION": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
        "CROSSOVER": st.sampled_from([0.0, 0.5, 1.0]),
        "GENERATION": st.sampled_from([None, 1, 3]),
        "SURVIVAL": st.sampled_from(["best", "youngest"]),
        "TOURNAMENT": st.integers(1, 3),
    }
)
