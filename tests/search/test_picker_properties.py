"""Laws of all pickers on random windows and score tables: inside, once, evaluated; resumed and on any ranks alike.

Scores come from a random table with many ties, through the real objective's division over ranks.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from picker_samples import finish, limits, windows

from configs.schema import Picker as PickerConfig
from runtime.seeds import derive_seed
from runtime.world import World
from search.objective import SupernetObjective
from search.pickers import Picker, build_picker
from search.scores import Scored, ranked
from supernet.architecture import Architecture
from supernet.window import FlopsWindow

PICKERS = ["board", "evolution", "local_search", "reinforce", "random", "exhaustive"]
laws = settings(max_examples=20, deadline=None)
few = settings(max_examples=6, deadline=None)  # threads cost much


class Exchange:
    """What the threads of a simulated process group share."""

    def __init__(self, size: int) -> None:
        self.barrier, self.values = Barrier(size, timeout=10), [None] * size


@dataclass(frozen=True)
class ThreadWorld(World):
    """A rank that is a thread; ranks that gather different numbers of times fail by the barrier's time-out."""

    exchange: Exchange | None = None

    def gather(self, value: Any) -> list[Any]:
        self.exchange.values[self.rank] = value
        self.exchange.barrier.wait()
        values = list(self.exchange.values)
        self.exchange.barrier.wait()
        return values


class TableObjective(SupernetObjective):
    """The supernet's objective with accuracies from a table of seven values."""

    def __init__(self, window: FlopsWindow, table: int, world: World | None = None) -> None:
        self.space, self.table, self.world = window.table, table, world or World()
        self.evaluated: list[Scored] = []

    def __call__(self, architectures: Sequence[Architecture]) -> list[Scored]:
        scores = super().__call__(architectures)
        self.evaluated += scores
        return scores

    def _measure(self, architectures: Sequence[Architecture]) -> list[float]:
        return [float(derive_seed(self.table, str(architecture)) % 7) for architecture in architectures]


@dataclass(frozen=True)
class Case:
    """Everything that decides what a picker does."""

    config: PickerConfig
    window: FlopsWindow
    seed: int
    board: tuple[Scored, ...]
    table: int

    def build(self) -> Picker:
        return build_picker(self.config, self.window, self.seed, self.board)

    def objective(self, world: World | None = None) -> TableObjective:
        return TableObjective(self.window, self.table, world)


@st.composite
def cases(draw: st.DrawFn, name: str) -> Case:
    """Boards hold paths twice and paths of another window of the space as well."""
    window, keys = draw(windows()), draw(limits)
    if name == "exhaustive":
        assume(window.count <= 200)
        keys["EVALUATIONS"] = window.count
    everything = FlopsWindow(window.table, 0, 10**6)
    inside = window.unrank_many(draw(st.lists(st.integers(0, window.count - 1), min_size=1, max_size=4)))
    anywhere = everything.unrank_many(draw(st.lists(st.integers(0, everything.count - 1), max_size=4)))
    paths = draw(st.permutations([*inside, *anywhere]))
    board = tuple(Scored(path, 1.0, window.macs(path), 0) for path in paths)
    return Case(PickerConfig(NAME=name, **keys), window, draw(st.integers(0, 5)), board, draw(st.integers(0, 5)))


@pytest.mark.parametrize("name", PICKERS)
@laws
@given(st.data())
def test_everything_asked_lies_inside_is_asked_once_and_ends(name: str, data: st.DataObject) -> None:
    case = data.draw(cases(name))
    window, picker = case.window, case.build()
    generations = finish(picker, case.objective())
    flat = [path for generation in generations for path in generation]
    good = list(dict.fromkeys(one.architecture for one in case.board if one.architecture in window))
    expected = len(good) if name == "board" else min(case.config.evaluations, window.count)
    assert all(path in window for path in flat)
    assert len(set(flat)) == len(flat) == expected == picker.total
    assert picker.ask() == []
    if name == "board":
        assert flat == good
    if name == "exhaustive":
        assert flat == list(window)
    if name == "evolution":
        size = min(case.config.population, expected)
        assert generations[0][: len(good)] == good[:size]
        most = max(case.config.population, case.config.generation or 0)
        assert all(len(generation) <= most for generation in generations)


@pytest.mark.parametrize("name", PICKERS)
@laws
@given(st.data())
def test_what_is_ranked_was_evaluated_with_that_score(name: str, data: st.DataObject) -> None:
    """At any moment: asked for but not told yet is not ranked."""
    case = data.draw(cases(name))
    picker, objective = case.build(), case.objective()
    finish(picker, objective, generations=data.draw(st.integers(0, 5)))
    picker.ask()
    assert picker.scores == objective.evaluated
    ranking = ranked(picker.scores)
    assert all(one.macs == case.window.macs(one.architecture) for one in ranking)
    assert [one.accuracy for one in ranking] == sorted((one.accuracy for one in objective.evaluated), reverse=True)


@pytest.mark.parametrize("name", PICKERS)
@laws
@given(st.data())
def test_resumed_at_any_point_equals_uninterrupted(name: str, data: st.DataObject) -> None:
    """Several times over, between tell and ask or between ask and tell, through plain JSON."""
    case = data.draw(cases(name))
    whole = case.build()
    story = finish(whole, case.objective())
    told: list[list[Architecture]] = []
    picker = case.build()
    for stop in data.draw(st.lists(st.integers(0, 3), max_size=4)):
        told += finish(picker, case.objective(), generations=stop)
        if data.draw(st.booleans()):
            picker.ask()  # killed while its scores are measured
        state = json.loads(json.dumps(picker.state_dict()))
        picker = case.build()
        picker.load_state_dict(state)
    told += finish(picker, case.objective())
    assert told == story
    assert picker.scores == whole.scores


@pytest.mark.parametrize("name", PICKERS)
@few
@given(st.data())
def test_any_number_of_ranks_asks_and_scores_alike(name: str, data: st.DataObject) -> None:
    case, size = data.draw(cases(name)), data.draw(st.integers(2, 4))
    alone = case.build()
    story = finish(alone, case.objective())
    exchange = Exchange(size)

    def search(rank: int) -> tuple[list[list[Architecture]], list[Scored]]:
        picker = case.build()
        return finish(picker, case.objective(ThreadWorld(rank=rank, size=size, exchange=exchange))), picker.scores

    with ThreadPoolExecutor(size) as pool:
        results = list(pool.map(search, range(size)))
    assert results == [(story, alone.scores)] * size
