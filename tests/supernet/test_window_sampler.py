"""The fast draws: their weights against brute force, member by member, and what is drawn against all members."""

from __future__ import annotations

from collections import Counter
from itertools import islice, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_window import SMALL, Case, assert_uniform, cream_table, everything, generator, members, table_of, windows

from configs.errors import WindowError
from supernet import window_sampler
from supernet.cost import CostTable
from supernet.window import FlopsWindow
from supernet.window_random import WORD_BITS, Shuffle, uniform_below
from supernet.window_sampler import WindowSampler
from supernet.window_stage import StageChoices
from supernet.window_table import Stages

RICH = table_of(
    (1, [{0: 3, 1: 8, 2: 20}, {0: 2, 1: 9, 2: 13}]),
    (1, [{0: 1, 1: 14}, {0: 6, 1: 7}]),
    (2, [{0: 0, 1: 9, 2: 11}, {0: 4, 1: 5, 2: 12}]),
    (1, [{0: 5, 1: 6, 2: 17}]),
    fixed=1000,
)
BOUNDS = 1040, 1046


def sampler_of(table: CostTable, minimum: int, maximum: int, bins: int) -> WindowSampler:
    choices = [StageChoices.from_costs(stage) for stage in table.stages]
    return WindowSampler(choices, table.fixed.macs, minimum, maximum, bins)


def decode_everything(sampler: WindowSampler) -> list[Stages]:
    """What each triple that the sampler may draw (prefix total, last stage's variant, prefix number) stands for."""
    weights = zip(sampler._range.tolist(), sampler._ways.tolist())
    cells = [(total, *pair) for total, sizes in enumerate(weights) for pair in product(*map(range, sizes))]
    totals, last, numbers = np.array(cells).T
    chosen = np.zeros((len(sampler._stages), len(cells)), np.int64)
    chosen[sampler._last] = sampler._first[totals] + last
    for index, rows in zip(reversed(sampler._order), reversed(sampler._rows)):
        chosen[index], totals, numbers = rows.choose(totals, numbers)
    assert not totals.any()
    assert not numbers.any()
    return list(islice(zip(*(stage.at(places) for stage, places in zip(sampler._stages, chosen))), len(cells)))


@settings(max_examples=80, deadline=None)
@given(windows(), st.integers(1, 40))
def test_the_numbers_are_a_superset_of_the_window_each_once(case: Case, bins: int) -> None:
    """So that uniform numbers are uniform members: no member is missing, none has two numbers."""
    sampler = sampler_of(*case, bins)
    decoded = decode_everything(sampler)
    assert max(Counter(decoded).values()) == 1
    assert set(decoded) >= {one.stages for one in members(*case)}
    assert set(decoded) <= {one.stages for one in everything(case[0])}
    assert sampler._total == len(decoded)


def test_narrow_buckets_propose_the_window_itself() -> None:
    sampler = sampler_of(RICH, *BOUNDS, bins=10**6)
    assert sorted(decode_everything(sampler)) == sorted(one.stages for one in members(RICH, *BOUNDS))
    assert sampler.acceptance == 1


@pytest.mark.parametrize("word_bits", [WORD_BITS, 7])
def test_proposals_inside_are_uniform(word_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With wide buckets, and with weights that are rounded up to units, as beyond int64."""
    monkeypatch.setattr(window_sampler, "WORD_BITS", word_bits)
    population = [one.stages for one in members(RICH, *BOUNDS)]
    sampler = sampler_of(RICH, *BOUNDS, bins=12)
    assert (sampler._shift > 0) == (word_bits == 7)
    assert 0.2 < sampler.acceptance < 0.8
    assert_uniform(list(sampler.propose(400 * len(population), generator(1))), population)


def test_weights_in_units_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole units, and the part of the last one that counts, make up each weight of brute force."""
    exact = sampler_of(RICH, *BOUNDS, bins=12)
    monkeypatch.setattr(window_sampler, "WORD_BITS", 7)
    rounded = sampler_of(RICH, *BOUNDS, bins=12)
    whole = rounded._partial - rounded._ends[:-1]
    assert ((whole << rounded._shift) + rounded._rest).tolist() == np.diff(exact._ends).tolist()
    assert (np.diff(rounded._ends) == whole + (rounded._rest > 0)).all()


def test_a_sampler_of_an_empty_window_proposes_nothing() -> None:
    for bounds in ((1, 2), (10**6, 10**7), (111, 111)):
        sampler = sampler_of(SMALL, *bounds, bins=8)
        assert list(sampler.propose(1000, generator())) == []
        assert sampler.acceptance == 0


def test_bounded_numbers_are_uniform_below_their_own_bounds() -> None:
    bounds = np.array([1, 2, 5, 3 * 2**60] * 20_000)
    numbers = uniform_below(bounds, generator(3))
    assert ((numbers >= 0) & (numbers < bounds)).all()
    assert_uniform(numbers[bounds == 5].tolist(), list(range(5)))
    assert_uniform((numbers[bounds == 3 * 2**60] >> 59).tolist(), list(range(6)))


@pytest.mark.parametrize("share", [1 / 64, 2.0])
def test_either_way_of_drawing_is_uniform(share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sampler, and the exact table where the sampler would lose too many proposals."""
    monkeypatch.setattr("supernet.window.LEAST_ACCEPTANCE", share)
    window, population = FlopsWindow(RICH, *BOUNDS), members(RICH, *BOUNDS)
    assert (window._sampler is None) == (share == 2.0)
    assert_uniform(window.sample(generator(6), 200 * len(population)), population)


def test_spaces_beyond_the_sampler_are_drawn_from_the_exact_table() -> None:
    table = table_of((1, [{0: 1, 1: 2}] * 30), (1, [{0: 1, 1: 2}]))
    window = FlopsWindow(table, 20, 30)
    assert window._sampler is None
    assert all(20 <= table.cost(one).macs <= 30 for one in window.sample(generator(), 50))


def test_drawing_needs_no_exact_table() -> None:
    window = FlopsWindow(cream_table(), 285_000_000, 287_000_000)
    drawn = window.sample(generator(), 5000)
    assert all(285_000_000 <= window.macs(one) <= 287_000_000 for one in drawn)
    assert "_table" not in vars(window)
    assert window.sample(generator(), 5000) == drawn


def test_marginals_equal_brute_force() -> None:
    population = members(SMALL, 140, 170)
    marginals = FlopsWindow(SMALL, 140, 170).marginals()
    for stage, (layers, depths) in enumerate(zip(marginals.operations, marginals.depths)):
        for layer, shares in enumerate(layers):
            seen = Counter(one.stages[stage][layer] for one in population if layer < len(one.stages[stage]))
            assert {name: share * len(population) for name, share in shares.items()} == {
                name: seen[name] for name in SMALL.stages[stage].layers[layer]
            }
        seen = Counter(len(one.stages[stage]) for one in population)
        assert {depth: share * len(population) for depth, share in depths.items()} == {d: seen[d] for d in depths}


@settings(max_examples=40, deadline=None)
@given(windows())
def test_marginals_add_up(case: Case) -> None:
    marginals = FlopsWindow(*case).marginals()
    for layers, depths in zip(marginals.operations, marginals.depths):
        assert sum(depths.values()) == 1
        for layer, shares in enumerate(layers):
            assert sum(shares.values()) == sum(share for depth, share in depths.items() if depth > layer)


@pytest.mark.slow
def test_cream_marginals_agree_with_samples() -> None:
    window = FlopsWindow(cream_table(), 285_000_000, 287_000_000)
    marginals, drawn = window.marginals(), window.sample(generator(8), 20_000)
    observed = Counter(
        (stage, layer, name) for one in drawn for stage, v in enumerate(one.stages) for layer, name in enumerate(v)
    )
    for stage, layers in enumerate(marginals.operations):
        for layer, shares in enumerate(layers):
            for name, share in shares.items():
                spread = float(share * (1 - share) / len(drawn)) ** 0.5
                assert abs(observed[stage, layer, name] / len(drawn) - share) <= 5 * spread


@pytest.mark.parametrize("size", [1, 2, 3, 10, 97, 1024])
def test_a_shuffle_holds_each_number_once(size: int) -> None:
    assert sorted(Shuffle(size, generator())[place] for place in range(size)) == list(range(size))


def test_shuffles_favour_no_order() -> None:
    source = generator(9)
    orders = [(shuffle[0], shuffle[1]) for shuffle in (Shuffle(4, source) for _ in range(3000))]
    assert_uniform(orders, [pair for pair in product(range(4), repeat=2) if pair[0] != pair[1]])
    large = Shuffle(10**21, generator(10))
    assert_uniform([large[place] * 8 // 10**21 for place in range(3000)], list(range(8)))


@settings(max_examples=30, deadline=None)
@given(windows(), st.integers(1, 9), st.integers(0, 2**32), st.data())
def test_parts_of_distinct_draws_are_disjoint_and_do_not_depend_on_the_ranks(
    case: Case, ranks: int, seed: int, data: st.DataObject
) -> None:
    window = FlopsWindow(*case)
    count = data.draw(st.integers(1, window.count))
    alone = window.sample_distinct(generator(seed), count)
    assert len(set(alone)) == count
    assert all(one in window for one in alone)
    parts = [window.sample_distinct(generator(seed), count, rank, ranks) for rank in range(ranks)]
    assert parts == [alone[rank::ranks] for rank in range(ranks)]
    with pytest.raises(WindowError, match=f"which holds {window.count:,}"):
        window.sample_distinct(generator(seed), window.count + 1)
