"""A window of MACs and latency against brute force on small tables, and on Cream's space against its exact parts."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_window import SMALL, Case, assert_uniform, everything, generator, members, score, windows
from test_window_prior import assert_proportional, random_prior, weight

from configs.errors import WindowError
from supernet.architecture import Architecture
from supernet.cost import Cost, CostTable, StageCosts
from supernet.window import FlopsWindow
from supernet.window_latency import LatencyCosts, LatencyWindow


@pytest.fixture(params=[(512, 512), (3, 2)], ids=["fine", "coarse"], autouse=True, scope="module")
def bins(request: pytest.FixtureRequest) -> Iterator[None]:
    """Grids that tell all these costs apart, and such as leave most to the exact costs."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("supernet.window_latency.DRAW_BINS", request.param)
        patched.setattr("supernet.window_latency.VARIATION_BINS", request.param)
        yield


def latencies_of(table: CostTable, seed: int) -> LatencyCosts:
    """Random units; of layers that may be left out also less than what leaving them out takes."""
    source = random.Random(seed)
    stages = tuple(
        StageCosts(
            stage.minimum_depth, tuple({one: Cost(source.randint(-2, 9), 0) for one in layer} for layer in stage.layers)
        )
        for stage in table.stages
    )
    return LatencyCosts(CostTable(table.space, 32, Cost(source.randint(0, 20), 0), stages), Decimal("0.01"), "table")


def both_members(case: Case, latencies: LatencyCosts, limit: int) -> list[Architecture]:
    return [one for one in members(*case) if latencies.table.cost(one).macs <= limit]


def bounded(case: Case, seed: int) -> tuple[LatencyWindow, list[Architecture]]:
    """A window that holds some, and all of them."""
    latencies = latencies_of(case[0], seed)
    limit = random.Random(seed).choice([latencies.table.cost(one).macs for one in members(*case)])
    return LatencyWindow(*case, latencies, limit), both_members(case, latencies, limit)


@settings(max_examples=12, deadline=None)
@given(windows(), st.integers(0, 2**32))
def test_count_and_members_equal_brute_force(case: Case, seed: int) -> None:
    window, expected = bounded(case, seed)
    assert window.count == len(expected)
    assert list(window) == sorted(expected)
    assert [one in window for one in everything(case[0])] == [one in set(expected) for one in everything(case[0])]


@settings(max_examples=12, deadline=None)
@given(windows(), st.integers(0, 2**32))
def test_top_k_equals_sorting(case: Case, seed: int) -> None:
    window, population = bounded(case, seed)
    source = random.Random(seed)
    scores = [[{one: source.randint(-4, 4) / 4 for one in layer} for layer in s.layers] for s in case[0].stages]
    total = [(score(scores, one), one) for one in population]
    ordered = sorted(total, key=lambda pair: (-pair[0], pair[1]))
    for k in (1, 5, len(ordered) + 1):
        assert window.top_k(scores, k) == ordered[:k]


@settings(max_examples=12, deadline=None)
@given(windows(), st.integers(0, 2**32), st.floats(0, 1), st.sampled_from([0, 2**12]))
def test_variation_stays_inside(case: Case, seed: int, probability: float, listed: int) -> None:
    window, population = bounded(case, seed)
    source = generator(seed)
    first, second = window.sample(source, 2)
    assert {first, second} <= set(population)
    mutant = window.mutate(first, probability, source)
    assert mutant in window
    assert (mutant != first) == (len(population) > 1)
    assert window.crossover(first, second, source) in window


@settings(max_examples=12, deadline=None)
@given(windows(), st.integers(0, 2**32))
def test_draws_under_a_prior_are_proportional(case: Case, seed: int) -> None:
    window, population = bounded(case, seed)
    prior = random_prior(case[0], seed)
    weights = {one: weight(prior, one) for one in population}
    if sum(weights.values()):
        assert_proportional(window.sample(generator(seed), 1000, prior), weights)
    else:
        with pytest.raises(WindowError, match="the prior over operations leaves no"):
            window.sample(generator(seed), 1, prior)


LATENCIES = latencies_of(SMALL, 1)


@pytest.fixture(scope="module")
def small(bins: None) -> LatencyWindow:
    """A window from which both bounds take something."""
    ordered = sorted(LATENCIES.table.cost(one).macs for one in members(SMALL, 140, 170))
    window = LatencyWindow(SMALL, 140, 170, LATENCIES, ordered[len(ordered) // 2])
    assert 10 < window.count < 0.9 * FlopsWindow(SMALL, 140, 170).count
    return window


def test_samples_are_uniform(small: LatencyWindow) -> None:
    population = list(small)
    assert_uniform(small.sample(generator(1), 200 * len(population)), population)


@pytest.mark.parametrize("listed", [0, 2**12])
def test_mutants_are_uniform(small: LatencyWindow, listed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """From proposals, and from the list of members."""
    monkeypatch.setattr("supernet.window_latency.LISTED", listed)
    parent, *others = small
    source = generator(2)
    assert_uniform([small.mutate(parent, 1.0, source) for _ in range(5 * len(others))], others)


def test_distinct_draws_are_shared_among_ranks(small: LatencyWindow) -> None:
    for count in (3, small.count):
        parts = [small.sample_distinct(generator(), count, rank, 2) for rank in range(2)]
        together = [*parts[0], *parts[1]]
        assert len(set(together)) == len(together) == count
        assert all(one in small for one in together)
    with pytest.raises(WindowError, match="which holds"):
        small.sample_distinct(generator(), small.count + 1)


def test_members_have_no_numbers(small: LatencyWindow) -> None:
    with pytest.raises(WindowError, match="members are numbered in windows without a latency bound"):
        small.unrank(0)
    with pytest.raises(WindowError, match="shares of operations"):
        small.marginals()


def test_an_empty_window_names_both_ranges() -> None:
    units = {one: LATENCIES.table.cost(one).macs for one in everything(SMALL)}
    inside = members(SMALL, 140, 150)
    least = min(units[one] for one in inside)
    milliseconds = f"{min(units.values()) / 100:.2f} to {max(units.values()) / 100:.2f} ms"
    assert min(units.values()) < least
    with pytest.raises(WindowError) as caught:
        LatencyWindow(SMALL, 140, 150, LATENCIES, least - 1)
    message = str(caught.value)
    assert f"feasible are {milliseconds} and 0.000132 to 0.000202 million MACs" in message
    assert f"with MACs between these bounds {least / 100:.2f} ms or more" in message
    assert LatencyWindow(SMALL, 140, 150, LATENCIES, least).count >= 1
    with pytest.raises(WindowError, match="feasible costs go from"):
        LatencyWindow(SMALL, 1, 2, LATENCIES, 10**6)
