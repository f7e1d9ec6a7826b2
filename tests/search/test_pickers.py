"""Pickers by example: what each asks for, refuses and keeps, and that evolution is worth its name."""

from __future__ import annotations

import random
from collections import Counter
from statistics import mean

import pytest
from picker_samples import WIDE, additive, configure, finish, make_window

from runtime.checkpoint import load_file, save_file
from search.pickers import PickerError, build_picker, score_all
from search.scores import ranked
from supernet.architecture import Architecture


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
    """200 of 22 million architectures: over several objectives, on average much closer to the exact optimum."""
    window = make_window(WIDE, 150, 200)
    assert window.count > 10**6
    ratios = []
    for seed in range(8):
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
        assert found["evolution"] <= optimum + 1e-9
        ratios.append((optimum - found["evolution"]) / (optimum - found["random"]))
    assert mean(ratios) < 0.6


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


def test_local_search_ends_where_no_neighbour_is_better():
    """From a start to a local optimum, whose neighbours are then all known, and on to another start."""
    window, config = make_window(WIDE, 150, 200), configure("local_search", EVALUATIONS=200, POPULATION=5, GENERATION=1)
    picker, objective = build_picker(config, window, 1), additive(1)
    asked = [path for generation in finish(picker, objective) for path in generation]
    scores = {scored.architecture: scored.accuracy for scored in picker.scores}
    start = max(asked[:5], key=scores.__getitem__)
    assert asked[5] in window.neighbours(start)
    optima = [p for p in asked if all(scores.get(other, 2e9) <= scores[p] for other in window.neighbours(p))]
    assert 0 < len(optima) < 30
    assert max(scores, key=scores.__getitem__) in optima


def test_a_tournament_prefers_the_better_parents():
    """The means of the second half, over several objectives."""
    window, means = make_window(WIDE, 150, 200), []
    for size in (1, 15):
        keys = {"SURVIVAL": "youngest", "TOURNAMENT": size, "POPULATION": 20, "CROSSOVER": 0.0}
        pickers = [build_picker(configure("evolution", EVALUATIONS=100, **keys), window, seed) for seed in range(4)]
        for seed, picker in enumerate(pickers):
            finish(picker, additive(seed))
        means.append(mean(scored.accuracy for picker in pickers for scored in picker.scores[50:]))
    assert means[1] > means[0] + 0.5
