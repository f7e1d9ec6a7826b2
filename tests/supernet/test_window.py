"""The window against brute force on small tables, and against published facts on Cream's space."""

import random
from collections import Counter
from itertools import product
from math import prod, sqrt

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from configs.errors import SpaceError, WindowError
from supernet.architecture import Architecture
from supernet.cost import Cost, CostTable, StageCosts
from supernet.window import FlopsWindow
from supernet.window_random import uniform_integers
from supernet.window_stage import StageChoices, StageSums
from supernet.window_table import WindowTable, cost_unit

CREAM_OPERATIONS = [(3, 4), (3, 6), (5, 4), (5, 6), (7, 4), (7, 6)]
CREAM_STAGES = [(24, 2, 5), (40, 2, 5), (80, 2, 5), (96, 1, 6), (192, 2, 6)]
CREAM_TOTAL = ((6**6 - 6) // 5) ** 3 * ((6**7 - 6) // 5) ** 2


Case = tuple[CostTable, int, int]


def table_of(*stages: tuple[int, list[dict[int, int]]], fixed: int = 0, space: str = "small") -> CostTable:
    layers = [tuple({name: Cost(macs, 0) for name, macs in layer.items()} for layer in stage) for _, stage in stages]
    depths = [minimum for minimum, _ in stages]
    return CostTable(space, 32, Cost(fixed, 0), tuple(map(StageCosts, depths, layers)))


def variants_of(stage: StageCosts) -> list[tuple[int, ...]]:
    depths = range(stage.minimum_depth, stage.maximum_depth + 1)
    return [variant for depth in depths for variant in product(*stage.layers[:depth])]


def everything(table: CostTable) -> list[Architecture]:
    return [Architecture(table.space, stages) for stages in product(*map(variants_of, table.stages))]


def members(table: CostTable, minimum: int, maximum: int) -> list[Architecture]:
    return [one for one in everything(table) if minimum <= table.cost(one).macs <= maximum]


def genes_agree(parent: Architecture, child: Architecture, other: Architecture) -> bool:
    """Whether each gene of the child is one of the two parents'."""
    for one, two, mine in zip(parent.stages, other.stages, child.stages):
        owners = [[variant[layer] for variant in (one, two) if layer < len(variant)] for layer in range(len(mine))]
        if len(mine) not in (len(one), len(two)) or any(gene not in own for gene, own in zip(mine, owners)):
            return False
    return True


def assert_uniform(draws: list, population: list) -> None:
    """Pearson's statistic stays within five standard deviations of its expectation; nothing foreign is drawn."""
    counts, expected = Counter(draws), len(draws) / len(population)
    assert set(counts) <= set(population)
    statistic = sum((counts[one] - expected) ** 2 for one in population) / expected
    freedom = len(population) - 1
    assert abs(statistic - freedom) < 5 * sqrt(2 * freedom)


@st.composite
def windows(draw: st.DrawFn) -> Case:
    """A small table with skips (0), equal costs, fixed stages and a common divisor, and a window with members."""
    unit = draw(st.sampled_from([1, 7, 64]))
    macs = st.sampled_from([0, 1, 2, 3, 5, 8, 13]).map(lambda cost: cost * unit)
    layer = st.dictionaries(st.integers(0, 5), macs, min_size=1, max_size=3)
    stage = st.lists(layer, min_size=1, max_size=3)
    stages = [(draw(st.integers(1, len(layers))), layers) for layers in draw(st.lists(stage, min_size=1, max_size=3))]
    table = table_of(*stages, fixed=draw(st.integers(0, 100)))
    assume(prod(len(variants_of(stage)) for stage in table.stages) <= 1000)
    costs = sorted({table.cost(one).macs for one in everything(table)})
    minimum, maximum = sorted((draw(st.sampled_from(costs)), draw(st.sampled_from(costs))))
    return table, minimum - draw(st.integers(0, 3)), maximum + draw(st.integers(0, 3))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@settings(max_examples=80, deadline=None)
@given(windows())
def test_count_members_and_ranks_equal_brute_force(case: Case) -> None:
    expected = members(*case)
    window = FlopsWindow(*case)
    listed = list(window)
    assert window.count == len(expected) == len(listed)
    assert set(listed) == set(expected)
    assert [window.rank(one) for one in listed] == list(range(window.count))
    assert window.unrank_many(range(window.count)) == listed
    assert window.unrank(window.count - 1) == listed[-1]
    assert [one in window for one in everything(case[0])] == [one in set(expected) for one in everything(case[0])]
    costs = [case[0].cost(one).macs for one in everything(case[0])]
    assert FlopsWindow.feasible_range(case[0]) == (min(costs), max(costs))
    assert [window.macs(one) for one in everything(case[0])] == costs


@settings(max_examples=80, deadline=None)
@given(windows(), st.integers(0, 2**32), st.floats(0, 1))
def test_mutants_are_other_members_and_children_mix_their_parents(case: Case, seed: int, probability: float) -> None:
    window, source = FlopsWindow(*case), generator(seed)
    first, second = window.sample(source, 2)
    mutant = window.mutate(first, probability, source)
    assert mutant in window
    assert (mutant != first) == (window.count > 1)
    child = window.crossover(first, second, source)
    assert child in window
    assert genes_agree(first, child, second)


@settings(max_examples=30, deadline=None)
@given(windows(), st.data())
def test_neighbours_are_the_members_one_gene_away(case: Case, data: st.DataObject) -> None:
    window = FlopsWindow(*case)
    one = window.unrank(data.draw(st.integers(0, window.count - 1)))
    around = window.neighbours(one)
    assert len(around) == len(set(around))
    assert set(around) == {other for other in members(*case) if is_one_gene_away(one, other)}


def is_one_gene_away(one: Architecture, other: Architecture) -> bool:
    changed = [pair for pair in zip(one.stages, other.stages) if pair[0] != pair[1]]
    if len(changed) != 1:
        return False
    distance = sum(a != b for a, b in zip(*changed[0]))
    return distance + abs(len(changed[0][0]) - len(changed[0][1])) == 1


@settings(max_examples=60, deadline=None)
@given(windows(), st.integers(0, 2**32))
def test_top_k_equals_sorting(case: Case, seed: int) -> None:
    table, source = case[0], random.Random(seed)
    scores = [[{name: source.randint(-4, 4) / 4 for name in layer} for layer in stage.layers] for stage in table.stages]
    total = {one: score(scores, one) for one in members(*case)}
    ordered = sorted(((value, one) for one, value in total.items()), key=lambda pair: (-pair[0], pair[1]))
    window = FlopsWindow(*case)
    for k in (1, 5, len(ordered) + 1):
        assert window.top_k(scores, k) == ordered[:k]


def score(scores: list, architecture: Architecture) -> float:
    picked = zip(scores, architecture.stages)
    return sum(layer[operation] for stage, variant in picked for layer, operation in zip(stage, variant))


SMALL = table_of(
    (1, [{0: 10, 1: 20, 4: 20}, {0: 0, 1: 10, 2: 30}]),
    (1, [{0: 7}]),
    (2, [{0: 5, 3: 15}, {0: 10, 1: 20}, {0: 0, 1: 10}]),
    fixed=100,
)


def test_samples_are_uniform_over_the_window() -> None:
    window = FlopsWindow(SMALL, 140, 170)
    population = members(SMALL, 140, 170)
    assert 30 < len(population) < len(everything(SMALL))
    assert_uniform(window.sample(generator(1), 200 * len(population)), population)


@pytest.mark.parametrize("tries", [0, 64])
def test_mutants_are_uniform_over_the_members_that_agree_with_the_parent(
    tries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the exact table alone, and by proposals first."""
    monkeypatch.setattr("supernet.window.TRIES", tries)
    window, source = FlopsWindow(SMALL, 140, 150), generator(2)
    parent = window.unrank(7)
    others = [one for one in window if one != parent]
    assert len(others) > 10
    assert_uniform([window.mutate(parent, 1.0, source) for _ in range(40 * len(others))], others)


def test_a_mutation_without_free_genes_frees_as_few_as_it_needs() -> None:
    wide, source = FlopsWindow(SMALL, 0, 1000), generator(3)
    parent = Architecture("small", ((0, 1), (0,), (3, 0, 0)))
    for _ in range(100):
        mutant = wide.mutate(parent, 0.0, source)
        changed = [(one, two) for one, two in zip(parent.stages, mutant.stages) if one != two]
        assert len(changed) == 1
        one, two = changed[0]
        assert len(one) != len(two) or sum(map(int.__ne__, one, two)) == 1
        assert one[: len(two)] == two[: len(one)] or len(one) == len(two)
    narrow = FlopsWindow(table_of((1, [{0: 1, 1: 2}]), (1, [{0: 1, 1: 2}])), 3, 3)
    swapped = narrow.mutate(Architecture("small", ((0,), (1,))), 0.0, source)
    assert swapped == Architecture("small", ((1,), (0,)))


def test_the_share_of_changed_genes_follows_the_probability() -> None:
    layers = [dict.fromkeys(range(100), 1)] * 10
    window, source = FlopsWindow(table_of((10, layers)), 0, 10), generator(4)
    parent = window.unrank(0)
    mutants = [window.mutate(parent, 0.3, source).stages[0] for _ in range(300)]
    changed = np.mean([sum(map(int.__ne__, parent.stages[0], mutant)) for mutant in mutants])
    assert abs(changed - 3.0) < 0.4


def test_crossover_is_uniform_over_the_mixtures() -> None:
    window, source = FlopsWindow(SMALL, 140, 170), generator(5)
    first, second = Architecture("small", ((0, 1), (0,), (3, 0, 1))), Architecture("small", ((1,), (0,), (3, 1)))
    population = [one for one in window if genes_agree(first, one, second)]
    assert len(population) > 4
    assert_uniform([window.crossover(first, second, source) for _ in range(40 * len(population))], population)


def test_parents_outside_the_window_are_brought_into_it() -> None:
    window = FlopsWindow(SMALL, 150, 160)
    cheap = Architecture("small", ((0,), (0,), (0, 0)))
    assert cheap not in window
    assert window.mutate(cheap, 0.1, generator()) in window
    with pytest.raises(WindowError, match="no common child"):
        window.crossover(cheap, cheap, generator())


def test_the_generator_decides_everything() -> None:
    window = FlopsWindow(SMALL, 140, 170)

    def story(seed: int) -> list:
        source = generator(seed)
        parents = window.sample(source, 20)
        mutants = [window.mutate(parent, 0.2, source) for parent in parents]
        return parents + mutants + [window.crossover(one, two, source) for one, two in zip(parents, mutants)]

    assert story(7) == story(7)
    assert story(7) != story(8)


def test_uniform_integers_reach_every_value_of_bounds_of_any_size() -> None:
    assert uniform_integers(1, 3, generator()) == [0, 0, 0]
    assert_uniform(uniform_integers(33, 5000, generator()), list(range(33)))
    bound = 3 * 2**70
    draws = uniform_integers(bound, 3000, generator())
    assert all(0 <= draw < bound for draw in draws)
    assert_uniform([draw * 6 // bound for draw in draws], list(range(6)))
    assert_uniform([draw % 8 for draw in draws], list(range(8)))


def test_strangers_are_refused() -> None:
    window = FlopsWindow(SMALL, 140, 170)
    cheap = Architecture("small", ((0,), (0,), (0, 0)))
    with pytest.raises(WindowError, match=r"\[0.00014, 0.00017\] million MACs"):
        window.rank(cheap)
    foreign = [((0,), (0,), (0,)), ((9,), (0,), (0, 0)), ((0,), (0,)), ((0, 0, 0), (0,), (0, 0))]
    for stages in foreign:
        assert Architecture("small", stages) not in window
        with pytest.raises(SpaceError, match="not in the space small"):
            window.macs(Architecture("small", stages))
    assert Architecture("other", cheap.stages) not in FlopsWindow(SMALL, 0, 1000)
    for number in (-1, window.count):
        with pytest.raises(IndexError):
            window.unrank(number)


@pytest.mark.parametrize(
    ("minimum", "maximum", "expected"),
    [
        (0, 9_999_999, "from 10 to 60 million MACs"),
        (60_000_001, 99_000_000, "from 10 to 60 million MACs"),
        (10_500_000, 19_000_000, "from 10 to 60 million MACs; the nearest are 10 below and 20.5 above"),
        (20_500_001, 59_999_999, "the nearest are 20.5 below and 60 above"),
        (30_000_000, 20_000_000, "the minimum is above the maximum"),
    ],
)
def test_an_empty_window_names_the_feasible_range(minimum: int, maximum: int, expected: str) -> None:
    table = table_of((1, [{0: 0, 1: 10_500_000, 2: 50_000_000}]), (1, [{0: 4_000_000}]), fixed=6_000_000)
    with pytest.raises(WindowError) as caught:
        FlopsWindow(table, minimum, maximum)
    assert expected in str(caught.value)
    assert "in small at resolution 32" in str(caught.value)


@pytest.mark.parametrize("stages", [1, 3, 8])
def test_counts_and_numbers_beyond_64_bits_are_exact(stages: int) -> None:
    """Every member's cost is the number of its odd operations, so that binomials count the windows."""
    layers = 120 // stages
    table = table_of(*[(layers, [{0: 0, 1: 64}] * layers)] * stages)
    assert FlopsWindow(table, 0, 10**6).count == 2**120
    binomial = [1]
    for k in range(120):
        binomial.append(binomial[-1] * (120 - k) // (k + 1))
    window = FlopsWindow(table, 50 * 64, 70 * 64)
    assert window.count == sum(binomial[50:71]) > 2**100
    drawn = window.sample(generator(), 20)
    assert all(50 <= sum(map(sum, one.stages)) <= 70 for one in drawn)
    assert [window.unrank(window.rank(one)) for one in drawn] == drawn
    numbers = [0, 1, 2**63, 2**64 + 1, window.count - 1]
    assert [window.rank(one) for one in window.unrank_many(numbers)] == numbers


def test_the_best_paths_are_exact_with_costs_of_many_digits() -> None:
    source = random.Random(0)
    stages = [
        [{o: source.randrange(10**6, 10**8, 1000) for o in range(3)} for _ in range(depth)] for depth in (3, 3, 2)
    ]
    table = table_of(*((1, layers) for layers in stages))
    scores = [[{o: source.gauss(0, 1) for o in layer} for layer in stage] for stage in stages]
    low, high = 250_000_000, 251_000_000
    expected = sorted(((score(scores, one), one) for one in members(table, low, high)), reverse=True)
    found = FlopsWindow(table, low, high).top_k(scores, len(expected) + 1)
    assert [one for _, one in found] == [one for _, one in expected]
    assert [value for value, _ in found] == pytest.approx([value for value, _ in expected])
    assert len(expected) > 20


def test_the_best_of_many_equals_need_no_enumeration() -> None:
    table = table_of(*[(1, [{0: 64, 1: 64, 2: 128}] * 8)] * 5)
    flat = [[dict.fromkeys(layer, 0.1) for layer in stage.layers] for stage in table.stages]
    best = FlopsWindow(table, 0, 10**4).top_k(flat, 3)
    assert [value for value, _ in best] == pytest.approx([4.0] * 3)
    assert [one.stages[-1][-2:] for _, one in best] == [(0, 0), (0, 1), (0, 2)]
    with pytest.raises(ValueError, match="finite"):
        FlopsWindow(table, 0, 10**4).top_k([[dict.fromkeys(layer, np.inf) for layer in s] for s in flat], 1)


def make_divisible(value: float) -> int:
    rounded = max(8, int(value + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * value else rounded


def mbconv(width: int, out: int, kernel: int, expansion: int, size: int, stride: int) -> Cost:
    hidden, after = width * expansion, size // stride
    excite = 2 * hidden * make_divisible(hidden / 4)
    return Cost(width * hidden * size**2 + hidden * (kernel**2 + out) * after**2 + excite, 0)


def cream_table() -> CostTable:
    """Cream's space at 224, from the layer shapes."""
    stages = [StageCosts(1, ({0: Cost(16 * 9 * 112**2 + 2 * 16 * 8 + 16 * 16 * 112**2, 0)},))]
    width, size = 16, 112
    for out, stride, depth in CREAM_STAGES:
        first, rest = (width, out, size, stride), (out, out, size // stride, 1)
        shapes = [first] + [rest] * (depth - 1)
        layers = [
            {
                index: mbconv(w, o, kernel, expansion, s, step)
                for index, (kernel, expansion) in enumerate(CREAM_OPERATIONS)
            }
            for w, o, s, step in shapes
        ]
        stages.append(StageCosts(1, tuple(layers)))
        width, size = out, size // stride
    stages.append(StageCosts(1, ({0: Cost(192 * 320 * 49, 0)},)))
    return CostTable("cream", 224, Cost(3 * 16 * 9 * 112**2 + 320 * 1280 + 1280 * 1000, 0), tuple(stages))


@pytest.fixture(scope="module")
def cream() -> FlopsWindow:
    return FlopsWindow(cream_table(), 285_000_000, 287_000_000)


def test_cream_reproduces_its_published_size(cream: FlopsWindow) -> None:
    """2.5e21 architectures, 1.8e-8 of them in 285-287 M; all costs are multiples of 64 MACs."""
    sums = [StageSums(StageChoices.from_costs(stage)) for stage in cream.table.stages]
    assert cost_unit(sums) == 64
    assert FlopsWindow(cream.table, 0, 10**9).count == CREAM_TOTAL > 2**64
    assert f"{CREAM_TOTAL:.1e}" == "2.5e+21"
    assert 1.75e-8 < cream.count / CREAM_TOTAL < 1.9e-8
    published = Architecture("cream", ((0,), (0,), (3, 3), (3, 1, 3), (3, 3, 3, 3), (3, 3, 3), (0,)))
    assert cream.macs(published) == 276_262_016


def test_cream_windows_add_up(cream: FlopsWindow) -> None:
    """Nothing is lost or counted twice at the bounds of adjacent windows."""
    parts = [FlopsWindow(cream.table, *bounds).count for bounds in ((0, 284_999_999), (287_000_001, 10**9))]
    assert sum(parts) + cream.count == CREAM_TOTAL


def test_cream_samples_lie_inside(cream: FlopsWindow) -> None:
    drawn = cream.sample(generator(), 2000)
    assert all(285_000_000 <= cream.macs(one) <= 287_000_000 for one in drawn)
    assert len(set(drawn)) == len(drawn)
    for one in drawn[:20]:
        assert cream.unrank(cream.rank(one)) == one
        mutant = cream.mutate(one, 0.1, generator())
        assert mutant in cream
        assert mutant != one
        assert cream.crossover(one, mutant, generator()) in cream


def test_cream_samples_agree_with_independent_marginals(cream: FlopsWindow) -> None:
    """The share of each depth of a stage equals the exact count of the space with that depth fixed."""
    drawn = cream.sample(generator(1), 4000)
    stage = StageChoices.from_costs(cream.table.stages[1])
    others = [StageSums(StageChoices.from_costs(other)) for other in cream.table.stages[2:]]
    fixed = cream.table.fixed.macs + cream.table.stages[0].layers[0][0].macs
    for depth in (2, 4):
        sums = [StageSums(StageChoices((depth,), stage.layers)), *others]
        share = WindowTable(sums, fixed, cream.minimum, cream.maximum).count / cream.count
        observed = sum(len(one.stages[1]) == depth for one in drawn) / len(drawn)
        assert abs(observed - share) < 5 * sqrt(share * (1 - share) / len(drawn)) + 1e-12


def test_cream_refuses_an_empty_window(cream: FlopsWindow) -> None:
    for minimum, maximum in ((1, 2), (743_900_000, 743_950_000), (900_000_000, 950_000_000)):
        with pytest.raises(WindowError, match=r"from 76\.082176 to 743\.980544 million MACs"):
            FlopsWindow(cream.table, minimum, maximum)


def test_cream_best_paths_are_ordered_and_inside(cream: FlopsWindow) -> None:
    """With the costs as scores the best paths are the costliest that the window admits."""
    scores = [
        [{name: float(cost.macs) for name, cost in layer.items()} for layer in s.layers] for s in cream.table.stages
    ]
    best = cream.top_k(scores, 20)
    assert [value + cream.table.fixed.macs for value, _ in best] == [cream.macs(one) for _, one in best]
    assert [one for _, one in best] == [one for _, one in sorted(best, key=lambda pair: (-pair[0], pair[1]))]
    sums = [StageSums(StageChoices.from_costs(stage)) for stage in cream.table.stages]
    dearest = cream.macs(best[0][1])
    assert dearest <= cream.maximum
    assert WindowTable(sums, cream.table.fixed.macs, dearest + 1, cream.maximum).count == 0
