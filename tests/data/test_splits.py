from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from configs.errors import DataError
from data.splits import GlobalOrder, split_search, stratified_order, take_subset
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


def test_fewer_images_than_a_global_batch_are_refused() -> None:
    with pytest.raises(DataError, match=r"39 training images .* 40 \(20 on each of 2"):
        GlobalOrder(39, 20, seed=0, world_size=2)
