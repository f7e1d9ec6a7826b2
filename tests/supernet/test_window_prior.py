"""Draws under a prior over operations follow it, inside the window, against brute force."""

from __future__ import annotations

import random
from collections import Counter
from math import prod, sqrt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_window import SMALL, Case, assert_uniform, generator, members, windows

from configs.errors import WindowError
from supernet.architecture import Architecture
from supernet.catalog import build_space
from supernet.cost import CostTable
from supernet.window import FlopsWindow
from supernet.window_prior import Prior, PriorSampler
from supernet.window_stage import StageChoices
from supernet.window_steps import CoarseSteps

CREAM_PRIOR = (0.05, 0.2, 0.05, 0.5, 0.05, 0.15)


def weight(prior: Prior, architecture: Architecture) -> float:
    pairs = zip(prior, architecture.stages)
    return prod(layer[operation] for stage, chosen in pairs for layer, operation in zip(stage, chosen))


def random_prior(table: CostTable, seed: int) -> Prior:
    source = random.Random(seed)
    return [
        [{name: source.choice([0.0, 0.25, 1.0, 3.0]) for name in layer} for layer in s.layers] for s in table.stages
    ]


def assert_proportional(draws: list[Architecture], weights: dict[Architecture, float]) -> None:
    """Pearson's statistic stays within five standard deviations; what has no weight is never drawn."""
    counts, total = Counter(draws), sum(weights.values())
    assert set(counts) <= {one for one, value in weights.items() if value > 0}
    expected = {one: len(draws) * value / total for one, value in weights.items() if value > 0}
    statistic = sum((counts[one] - value) ** 2 / value for one, value in expected.items())
    spread = sqrt(2 * len(expected) + sum(1 / value for value in expected.values()))
    assert abs(statistic - (len(expected) - 1)) < 5 * spread


@settings(max_examples=25, deadline=None)
@given(windows(), st.integers(0, 2**32), st.sampled_from([4, 50, 2**14]))
def test_draws_are_proportional_to_the_product_of_the_weights(case: Case, seed: int, bins: int) -> None:
    table, minimum, maximum = case
    prior = random_prior(table, seed)
    weights = {one: weight(prior, one) for one in members(*case)}
    choices, fixed = [StageChoices.from_costs(stage) for stage in table.stages], table.fixed.macs
    steps = CoarseSteps(choices, lambda macs: (macs,), [minimum - fixed], [maximum - fixed], [bins])
    sampler = PriorSampler(steps, prior)
    drawn = [Architecture(table.space, stages) for stages in sampler.sample(2000, generator(seed))]
    if sum(weights.values()) == 0:
        assert not drawn
    else:
        assert len(drawn) == 2000
        assert_proportional(drawn, weights)


def test_equal_weights_are_uniform() -> None:
    table, minimum, maximum = SMALL, 0, 10**9
    population = members(table, minimum, maximum)
    even = [[dict.fromkeys(layer, 1.0) for layer in stage.layers] for stage in table.stages]
    assert_uniform(FlopsWindow(table, minimum, maximum).sample(generator(), 100 * len(population), even), population)


def test_without_a_bound_operations_have_the_shares_of_the_prior() -> None:
    """Cream's own prior on its own space; the release sampled uniformly whatever was asked (its `replace` bug)."""
    space = build_space("cream")
    window = space.window(0, 10**12)
    prior = [
        [{name: 6 * CREAM_PRIOR[name] if len(layer) > 1 else 1.0 for name in layer} for layer in stage.layers]
        for stage in window.table.stages
    ]
    drawn = window.sample(generator(), 1500, prior)
    counts = Counter(operation for one in drawn for stage in one.stages[1:6] for operation in stage)
    blocks = sum(counts.values())
    for operation, share in enumerate(CREAM_PRIOR):
        assert counts[operation] / blocks == pytest.approx(share, abs=5 * sqrt(share / blocks))


@pytest.mark.parametrize("bounds", [(0, 600), (0, 200), (200, 300), (600, 700), (285, 287)])
def test_every_draw_lies_in_the_window(bounds: tuple[int, int]) -> None:
    space = build_space("cream")
    window = space.window(*(bound * 10**6 for bound in bounds))
    prior = [
        [{name: CREAM_PRIOR[name] if len(layer) > 1 else 1.0 for name in layer} for layer in stage.layers]
        for stage in window.table.stages
    ]
    drawn = window.sample(generator(), 200, prior)
    assert len(set(drawn)) > 190
    assert all(architecture in window for architecture in drawn)


def test_a_prior_that_leaves_nothing_is_refused() -> None:
    nothing = [[dict.fromkeys(layer, 0.0) for layer in stage.layers] for stage in SMALL.stages]
    with pytest.raises(WindowError, match="the prior over operations leaves no architecture of the window of"):
        FlopsWindow(SMALL, 0, 10**9).sample(generator(), 1, nothing)
