"""Pickers: the laws of ask and tell on random small windows, and that evolution is worth its name."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.schema import Picker as PickerConfig
from runtime.checkpoint import load_file, save_file
from search.pickers import Picker, PickerError, build_picker, score_all
from search.scores import Scored, ranked
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
    }
)


@pytest.mark.parametrize("name", ["evolution", "random"])
@settings(max_examples=15, deadline=None)
@given(windows(), limits, st.integers(0, 5), st.data())
def test_what_is_asked_lies_inside_is_asked_once_and_ends(
    name: str, window: FlopsWindow, keys: dict, seed: int, data: st.DataObject
):
    """Also where the window holds fewer architectures than PICKER.EVALUATIONS, and with paths from a board."""
    config = configure(name, **keys)
    numbers = data.draw(st.lists(st.integers(0, window.count - 1), unique=True, max_size=6))
    board = additive(0)(window.unrank_many(numbers))
    picker = build_picker(config, window, seed, board)
    expected = min(config.evaluations, window.count)
    assert picker.total == expected
    asked = finish(picker, additive(seed))
    flat = [path for generation in asked for path in generation]
    assert all(path in window for path in flat)
    assert len(set(flat)) == len(flat) == expected
    assert [scored.architecture for scored in picker.scores] == flat
    assert picker.ask() == []
    if config.name == "evolution":
        size = min(config.population, expected)
        assert asked[0][: len(board)] == [scored.architecture for scored in board][:size]
        assert all(len(generation) <= config.population for generation in asked)


@pytest.mark.parametrize("name", ["evolution", "random"])
@settings(max_examples=10, deadline=None)
@given(windows(), limits, st.integers(0, 5), st.integers(0, 4))
def test_a_restored_picker_goes_on_as_the_other(name: str, window: FlopsWindow, keys: dict, seed: int, stop: int):
    """Everything derives from SEED and what was told: asking again, or in another process, gives the same."""
    config = configure(name, **keys)
    board = additive(0)(window.unrank_many(range(min(3, window.count))))
    picker = build_picker(config, window, seed, board)
    finish(picker, additive(seed), generations=stop)
    assert picker.ask() == picker.ask()
    restored = build_picker(config, window, seed, board)
    restored.load_state_dict(picker.state_dict())
    assert restored.scores == picker.scores
    assert finish(restored, additive(seed)) == finish(picker, additive(seed))


def test_the_state_returns_through_a_checkpoint(tmp_path):
    window, config = make_window(WIDE, 150, 200), configure("evolution", EVALUATIONS=30, POPULATION=10)
    picker = build_picker(config, window, 1)
    finish(picker, additive(1), generations=2)
    save_file({"picker": picker.state_dict()}, tmp_path / "step-1.pth.tar")
    restored = build_picker(config, window, 1)
    restored.load_state_dict(load_file(tmp_path / "step-1.pth.tar")["picker"])
    assert restored.scores == picker.scores
    assert restored.ask() == picker.ask()


def test_the_seed_decides_and_another_seed_differs():
    window, config = make_window(WIDE, 150, 200), configure("evolution", EVALUATIONS=24, POPULATION=8)
    stories = [finish(build_picker(config, window, seed), additive(1)) for seed in (1, 1, 2)]
    assert stories[0] == stories[1] != stories[2]


def test_evolution_learns_from_what_it_is_told():
    """Told other scores, it asks for other children; its first generation is the same."""
    window, config = make_window(WIDE, 150, 200), configure("evolution", EVALUATIONS=24, POPULATION=8)
    one, other = (finish(build_picker(config, window, 1), additive(objective)) for objective in (1, 2))
    assert one[0] == other[0]
    assert one[1:] != other[1:]


def test_evolution_finds_what_random_search_does_not():
    """200 of 22 million architectures: closer to the exact optimum than random, for each of several objectives."""
    window = make_window(WIDE, 150, 200)
    assert window.count > 10**6
    for seed in range(3):
        objective = additive(seed)
        blocks = [
            [{o: random.Random(f"{seed} {s} {b} {o}").random() for o in layer} for b, layer in enumerate(stage)]
            for s, stage in enumerate(WIDE)
        ]
        optimum, _ = window.top_k(blocks, 1)[0]
        found = {}
        for name in ("evolution", "random"):
            picker = build_picker(configure(name, EVALUATIONS=200, POPULATION=20), window, seed)
            finish(picker, objective)
            found[name] = ranked(picker.scores)[0].accuracy
        assert found["random"] < found["evolution"] <= optimum + 1e-9
        assert optimum - found["evolution"] < 0.5 * (optimum - found["random"])


def test_exhaustive_covers_the_window_in_order():
    window = make_window(WIDE[:1], 30, 60)
    picker = build_picker(configure("exhaustive", EVALUATIONS=window.count), window, 0)
    flat = [path for generation in finish(picker, additive(0)) for path in generation]
    assert flat == list(window)
    assert picker.total == window.count > 64


def test_exhaustive_refuses_what_it_could_not_finish():
    window = make_window(WIDE, 150, 200)
    with pytest.raises(PickerError, match=rf"all {window.count:,} architectures.*PICKER.EVALUATIONS 1,000.*evolution"):
        build_picker(configure("exhaustive", EVALUATIONS=1000), window, 0)


def test_the_board_picker_scores_the_board_again():
    window = make_window(WIDE, 150, 200)
    board = additive(3)(window.unrank_many([5, 1, 9]))
    picker = build_picker(configure("board"), window, 0, board)
    assert finish(picker, additive(4)) == [[scored.architecture for scored in board]]
    assert picker.scores == additive(4)([scored.architecture for scored in board])


def test_the_board_picker_refuses_an_empty_board():
    with pytest.raises(PickerError, match=r"training kept none: use SEARCH\.STRATEGY prioritized"):
        build_picker(configure("board"), make_window(WIDE, 150, 200), 0)


def test_random_is_uniform_and_distinct():
    """Draws of 3 of 10 architectures: over many seeds each is drawn alike often, and so is each pair."""
    window = make_window([[{0: 1, 1: 2, 2: 3, 3: 4, 4: 5}], [{0: 1, 1: 2}]])
    assert window.count == 10
    singles: Counter[Architecture] = Counter()
    draws = 1000
    for seed in range(draws):
        drawn = build_picker(configure("random", EVALUATIONS=3), window, seed).ask()
        assert len(set(drawn)) == 3
        singles.update(drawn)
    expected = 0.3 * draws
    statistic = sum((singles[path] - expected) ** 2 for path in window) / expected
    assert statistic < 9 + 5 * (2 * 9) ** 0.5


def test_score_all_tells_every_generation_and_reports_it():
    window, config = make_window(WIDE, 150, 200), configure("evolution", EVALUATIONS=25, POPULATION=10)
    picker, sizes = build_picker(config, window, 0), []
    scores = list(score_all(picker, additive(0), lambda one: sizes.append(len(one.scores))))
    assert sizes == [10, 20, 25]
    assert scores == picker.scores
