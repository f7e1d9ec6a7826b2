from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.splits import GlobalOrder, split_search, stratified_order, take_subset
from runtime.position import steps_before
from runtime.seeds import make_generator

label_lists = st.lists(st.integers(0, 5), min_size=1, max_size=200).map(np.array)


@settings(deadline=None)
@given(label_lists, st.integers(0, 9), st.floats(0, 1))
def test_every_prefix_holds_the_classes_in_proportion(labels: np.ndarray, seed: int, share: float) -> None:
    order = stratified_order(labels, make_generator(seed, "test"))
    assert sorted(order) == list(range(len(labels)))
    taken = int(share * len(labels))
    counts = np.bincount(labels)
    found = np.bincount(labels[order[:taken]], minlength=len(counts))
    share_of_class = counts / len(labels)
    assert (abs(found - taken * share_of_class) <= 1 + np.count_nonzero(counts) * share_of_class).all()


@settings(deadline=None)
@given(label_lists, st.floats(0, 0.99), st.integers(0, 9))
def test_the_search_split_is_disjoint_complete_and_deterministic(
    labels: np.ndarray, fraction: float, seed: int
) -> None:
    train, search = split_search(labels, fraction, seed)
    assert len(search) == round(fraction * len(labels))
    assert sorted([*train, *search]) == list(range(len(labels)))
    again = split_search(labels, fraction, seed)
    assert np.array_equal(train, again[0])
    assert np.array_equal(search, again[1])


def test_equal_classes_are_held_out_exactly_and_by_seed() -> None:
    labels = np.tile(np.arange(10), 50)
    _, search = split_search(labels, 0.1, seed=0)
    assert np.bincount(labels[search]).tolist() == [5] * 10
    assert not np.array_equal(search, split_search(labels, 0.1, seed=1)[1])


def test_a_subset_is_fixed_and_mixed() -> None:
    labels = np.repeat(np.arange(4), 25)
    subset = take_subset(labels, 8, seed=3, split="search")
    assert np.bincount(labels[subset]).tolist() == [2] * 4
    assert np.array_equal(subset, take_subset(labels, 8, seed=3, split="search"))


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), st.integers(0, 30), st.integers(0, 3), st.integers(0, 3))
def test_ranks_together_see_the_batch_of_one_process(
    world: int, batch: int, extra: int, epoch: int, first_step: int
) -> None:
    count = world * batch + extra
    alone = [p for _, p, _ in GlobalOrder(count, world * batch, seed=5).epoch(epoch)]
    ranks = [list(GlobalOrder(count, batch, 5, rank, world).epoch(epoch, first_step)) for rank in range(world)]
    together = [torch.cat([positions for _, positions, _ in step]) for step in zip(*ranks)]
    assert len(together) == max(0, count // (world * batch) - first_step)
    assert all(torch.equal(a, b) for a, b in zip(alone[first_step:], together, strict=True))
    assert len(torch.cat(alone).unique()) == sum(len(step) for step in alone)


def test_epochs_differ_and_steps_can_be_limited() -> None:
    order = GlobalOrder(100, 10, seed=0, limit=3)
    assert order.steps == len(list(order.epoch(0))) == 3
    assert not torch.equal(next(order.epoch(0))[1], next(order.epoch(1))[1])
    assert GlobalOrder(100, 10, seed=0, limit=30).steps == 10


@settings(deadline=None)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(0, 9), st.integers(1, 4))
def test_batches_across_epochs_are_cut_from_the_stream_of_permutations(
    world: int, batch: int, extra: int, epochs: int
) -> None:
    """Each image once in each epoch of the stream; ranks partition it; a resumed epoch is the rest of a whole one."""
    whole = world * batch
    count = whole + extra
    alone = GlobalOrder(count, whole, 5, across_epochs=True)
    shares = [[*alone.epoch(epoch)] for epoch in range(epochs)]
    assert [len(steps) for steps in shares] == [
        steps_before(epoch + 1, alone.steps) - steps_before(epoch, alone.steps) for epoch in range(epochs)
    ]
    flat = [share for steps in shares for share in steps]
    assert len(flat) == epochs * count // whole
    assert all(len(share.positions) == whole for share in flat)
    stream, number = (torch.cat(values) for values in zip(*((s.positions, s.epochs) for s in flat)))
    assert torch.equal(number, torch.arange(epochs).repeat_interleave(count)[: len(number)])
    permutations = [next(iter(GlobalOrder(count, count, 5).epoch(epoch))).positions for epoch in range(epochs)]
    assert torch.equal(stream, torch.cat(permutations)[: len(stream)])
    ranks = [GlobalOrder(count, batch, 5, rank, world, across_epochs=True) for rank in range(world)]
    first = min(1, len(shares[-1]))
    for share, *parts in zip(shares[-1][first:], *(order.epoch(epochs - 1, first) for order in ranks), strict=True):
        assert share.step == parts[0].step
        assert torch.equal(share.positions, torch.cat([part.positions for part in parts]))
        assert torch.equal(share.epochs, torch.cat([part.epochs for part in parts]))


def test_the_published_numbers_of_steps() -> None:
    order = GlobalOrder(40_000, 256, 0, across_epochs=True)
    assert [steps_before(epoch, order.steps) for epoch in (54, 108)] == [8_437, 16_875]
    assert steps_before(108, GlobalOrder(40_000, 256, 0).steps) == 108 * 156
    assert [len([*order.epoch(epoch)]) for epoch in range(4)] == [156, 156, 156, 157]


def test_fewer_images_than_a_global_batch_are_refused() -> None:
    with pytest.raises(DataError, match=r"39 training images .* 40 \(20 on each of 2"):
        GlobalOrder(39, 20, seed=0, world_size=2)
