"""The board against a plain reference, on random sequences of measured paths."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from configs.schema import Board
from runtime.checkpoint import load_file, save_file
from search.board import BoardEntry, PrioritizedBoard
from search.scores import Scored, ranked
from supernet.architecture import Architecture


def scored(name: int, accuracy: float, macs: int = 100) -> Scored:
    return Scored(Architecture("tiny", ((name,),)), accuracy, macs, params=10 * macs)


def entry(name: int, accuracy: float, macs: int = 100) -> BoardEntry:
    return BoardEntry(scored(name, accuracy, macs), torch.full((2, 1, 4, 4), name), torch.full((2, 3), name / 7))


def board(size: int, gap: float, *entries: BoardEntry) -> PrioritizedBoard:
    made = PrioritizedBoard(Board(SIZE=size, GAP=gap))
    for one in entries:
        assert made.admits(one.scored)
        made.enter(one)
    return made


def names(made: PrioritizedBoard) -> list[int]:
    return [one.scored.architecture.stages[0][0] for one in made.entries]


def test_while_there_is_room_everything_enters_best_first():
    assert names(board(3, 5.0, entry(0, 20.0), entry(1, 90.0), entry(2, 0.0))) == [1, 0, 2]


@pytest.mark.parametrize(
    ("accuracy", "macs", "enters"),
    [
        (45.01, 900, True),  # beats the worst (40) by more than the gap, at any cost
        (45.0, 900, False),  # by the gap exactly
        (45.0, 99, True),  # by less, and cheaper than the worst
        (40.01, 99, True),
        (40.01, 100, False),  # no cheaper
        (40.0, 1, False),  # cheaper, but no better
        (10.0, 1, False),
    ],
)
def test_a_full_board_is_entered_by_the_gap_or_by_a_cheaper_gain(accuracy: float, macs: int, enters: bool):
    full = board(2, 5.0, entry(0, 60.0), entry(1, 40.0, macs=100))
    assert full.admits(scored(2, accuracy, macs)) is enters
    if enters:
        full.enter(entry(2, accuracy, macs))
        assert names(full) == [0, 2]


def test_a_path_is_never_on_the_board_twice():
    made = board(3, 0.0, entry(0, 50.0))
    assert not made.admits(scored(0, 99.0, macs=1))
    assert Architecture("tiny", ((0,),)) in made
    assert Architecture("other", ((0,),)) not in made


def test_equal_entries_sort_without_looking_at_their_tensors():
    """The release sorted lists that held tensors, and crashed where accuracy and cost were equal."""
    made = board(4, 5.0, entry(2, 50.0), entry(0, 50.0), entry(1, 50.0), entry(3, 50.0, macs=99))
    assert names(made) == [3, 0, 1, 2]


def test_the_order_is_total():
    """However they arrive, the same paths rank alike: by accuracy, then cost, then the architecture itself."""
    scores = [scored(0, 50.0), scored(1, 50.0), scored(2, 50.0, macs=99), scored(3, 60.0, macs=999)]
    for permutation in itertools.permutations(scores):
        assert [one.architecture.stages[0][0] for one in ranked(permutation)] == [3, 2, 0, 1]


def test_the_state_returns_through_a_checkpoint(tmp_path):
    made = board(3, 5.0, entry(0, 50.0), entry(1, 70.0), entry(2, 50.0, macs=3))
    save_file({"board": made.state_dict()}, tmp_path / "step-1.pth.tar")
    restored = PrioritizedBoard(Board(SIZE=3, GAP=5.0))
    restored.load_state_dict(load_file(tmp_path / "step-1.pth.tar")["board"])
    assert [one.scored for one in restored.entries] == [one.scored for one in made.entries]
    for one, other in zip(restored.entries, made.entries):
        assert torch.equal(one.images, other.images)
        assert torch.equal(one.features, other.features)
    assert not restored.admits(scored(3, 1.0))


class PlainBoard:
    """The rule as a sentence: no duplicate; room, or better by the gap, or better and cheaper; the worst leaves."""

    def __init__(self, size: int, gap: float) -> None:
        self.size, self.gap = size, gap
        self.rows: list[tuple[int, float, int]] = []

    def worst(self) -> tuple[int, float, int]:
        lowest = min(accuracy for _, accuracy, _ in self.rows)
        costliest = max(macs for _, accuracy, macs in self.rows if accuracy == lowest)
        return max(row for row in self.rows if row[1:] == (lowest, costliest))

    def offer(self, name: int, accuracy: float, macs: int) -> bool:
        if any(row[0] == name for row in self.rows):
            return False
        if len(self.rows) == self.size:
            _, lowest, cost = worst = self.worst()
            if not (accuracy > lowest + self.gap or (accuracy > lowest and macs < cost)):
                return False
            self.rows.remove(worst)
        self.rows.append((name, accuracy, macs))
        return True


# eighths, so that the reference's sums of accuracies are exact
paths = st.tuples(st.integers(0, 8), st.integers(0, 80).map(lambda n: n / 8), st.integers(1, 4))


@given(st.integers(1, 4), st.integers(0, 24).map(lambda n: n / 8), st.lists(paths, max_size=30))
def test_it_follows_the_rule_on_every_sequence(size: int, gap: float, offers: list[tuple[int, float, int]]):
    made, plain = PrioritizedBoard(Board(SIZE=size, GAP=gap)), PlainBoard(size, gap)
    for name, accuracy, macs in offers:
        one = entry(name, accuracy, macs)
        admitted = made.admits(one.scored)
        if admitted:
            made.enter(one)
        assert admitted is plain.offer(name, accuracy, macs)
        rows = [(e.scored.architecture.stages[0][0], e.scored.accuracy, e.scored.macs) for e in made.entries]
        assert sorted(rows) == sorted(plain.rows)
        assert [e.scored for e in made.entries] == ranked(e.scored for e in made.entries)
        assert len(set(names(made))) == len(made) <= size
