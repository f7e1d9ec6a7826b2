from __future__ import annotations

import multiprocessing
import pickle
import random
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from image_samples import TEST

from configs.errors import ConfigError, DataError
from data.loading import Images

Open = Callable[..., Images]
KINDS = ("resident", "workers")
AUGMENT = {"SCALE": None, "CROP_PADDING": 2, "ERASING": 0.5, "ERASING_MODE": "pixel", "COLOR_JITTER": 0.3}


def equal_batches(first: list, second: list) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(first, second)
    )


def fingerprints(images: torch.Tensor) -> list[float]:
    return images.double().flatten(1).mul(torch.arange(1, images[0].numel() + 1)).sum(1).tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_the_house_is_described(open_images: Open, kind: str) -> None:
    images = open_images(LOADER=kind)
    assert (images.classes, images.num_classes, images.channels, images.image_size) == (tuple(TEST), 3, 3, 12)
    assert images.sizes == {"train": 37, "search": 4, "test": 13}
    assert images.training(41, split="train+search").steps == 1
    with pytest.raises(ValueError, match="search"):
        images.training(1, split="search")


@pytest.mark.parametrize("kind", KINDS)
def test_two_ranks_see_what_one_sees_with_doubled_batches(open_images: Open, kind: str) -> None:
    alone = open_images(LOADER=kind, AUGMENT=AUGMENT).training(10)
    ranks = [open_images(rank, 2, LOADER=kind, AUGMENT=AUGMENT).training(5) for rank in range(2)]
    assert alone.steps == ranks[0].steps == 3
    for whole, *halves in zip(alone.epoch(2), *(rank.epoch(2) for rank in ranks), strict=True):
        assert torch.equal(whole.images, torch.cat([half.images for half in halves]))
        assert torch.equal(whole.labels, torch.cat([half.labels for half in halves]))


@pytest.mark.parametrize(("kind", "workers"), [("resident", 0), ("workers", 0), ("workers", 2)])
def test_resuming_inside_an_epoch_is_exact(open_images: Open, kind: str, workers: int) -> None:
    loader = open_images(LOADER=kind, WORKERS=workers, AUGMENT=AUGMENT).training(8)
    whole = list(loader.epoch(1))
    next(loader.epoch(0))  # an abandoned epoch leaves nothing behind
    assert equal_batches(list(loader.epoch(1, first_step=2)), whole[2:])
    fresh = open_images(LOADER=kind, WORKERS=workers, AUGMENT=AUGMENT).training(8)
    assert equal_batches(list(fresh.epoch(1, first_step=3)), whole[3:])
    assert not equal_batches(list(loader.epoch(2)), whole)


def test_an_image_that_an_epoch_left_over_is_augmented_as_there(open_images: Open) -> None:
    """Batches across the ends of epochs hold what the images one by one, which leave nothing over, would be."""
    images = open_images(LOADER="workers", AUGMENT=AUGMENT)
    ones, eights = images.training(1), images.training(8, across_epochs=True)
    assert eights.steps == Fraction(37, 8)
    found, expected = ([batch for epoch in range(3) for batch in loader.epoch(epoch)] for loader in (eights, ones))
    assert len(found) == 3 * 37 // 8
    pixels = torch.cat([batch.images for batch in found])
    assert torch.equal(pixels, torch.cat([batch.images for batch in expected])[: len(pixels)])


def test_worker_processes_give_what_the_main_process_gives(open_images: Open) -> None:
    augment: dict[str, object] = {**AUGMENT, "CROP_PADDING": 0, "SCALE": (0.3, 1.0), "POLICY": "rand-m5"}
    one, two = (
        open_images(LOADER="workers", WORKERS=workers, AUGMENT=augment).training(8, steps_per_epoch=2)
        for workers in (0, 2)
    )
    assert equal_batches(list(one.epoch(0)), list(two.epoch(0)))


@pytest.mark.parametrize("kind", KINDS)
def test_erased_boxes_are_the_mean_colour_or_noise(open_images: Open, kind: str) -> None:
    for mode, share in (("const", (0.01, 0.4)), ("pixel", (0.0, 0.001))):
        augment = {"SCALE": (0.5, 1.0), "ERASING": 1.0, "ERASING_MODE": mode, "COLOR_JITTER": 0.0}
        (batch,) = open_images(LOADER=kind, AUGMENT=augment).training(37).epoch(0)
        assert share[0] <= (batch.images == 0).float().mean().item() <= share[1]


def test_augmentation_leaves_the_global_generators_alone(open_images: Open) -> None:
    def state() -> tuple[object, ...]:
        return random.getstate(), pickle.dumps(np.random.get_state()), torch.get_rng_state().tolist()

    loader = open_images(LOADER="workers", AUGMENT=AUGMENT).training(8)
    before = state()
    assert len(list(loader.epoch(0))) == 4
    assert state() == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1, 2, 3])
def test_evaluation_sees_each_image_once_over_all_ranks(open_images: Open, kind: str, size: int) -> None:
    loaders = [open_images(rank, size, LOADER=kind).evaluation("test", 4) for rank in range(size)]
    batches = [list(loader) for loader in loaders]
    assert [sum(len(b.labels) for b in own) for own in batches] == [loader.count for loader in loaders]
    seen = torch.cat([batch.images for own in batches for batch in own])
    labels = torch.cat([batch.labels for own in batches for batch in own])
    assert len(set(fingerprints(seen))) == len(seen) == 13
    assert labels.bincount().tolist() == list(TEST.values())


@pytest.mark.parametrize("kind", KINDS)
def test_splits_are_never_mixed(open_images: Open, kind: str) -> None:
    images = open_images(LOADER=kind)
    seen = {split: {f for b in images.evaluation(split, 64) for f in fingerprints(b.images)} for split in images.sizes}
    assert {split: len(found) for split, found in seen.items()} == images.sizes
    assert len(set.union(*seen.values())) == sum(images.sizes.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_limit_takes_the_same_mixed_images_on_every_rank(open_images: Open, kind: str) -> None:
    first, second = (
        list(open_images(rank, 2, LOADER=kind).evaluation("train", 4, limit=9, shard=False)) for rank in range(2)
    )
    assert equal_batches(first, second)
    assert torch.cat([batch.labels for batch in first]).bincount().tolist() == [3, 3, 3]
    assert open_images(1, 2, LOADER=kind).evaluation("train", 4, limit=9).count == 4


@pytest.mark.parametrize("kind", KINDS)
def test_kept_batches_are_the_same_tensors_again(open_images: Open, kind: str) -> None:
    images = open_images(LOADER=kind)
    kept, read = (images.evaluation("test", 6, keep=keep) for keep in (True, False))
    next(iter(kept))  # an unfinished pass is not kept
    first, second = list(kept), list(kept)
    assert len(first) == 3
    assert all(a.images is b.images for a, b in zip(first, second, strict=True))
    assert equal_batches(list(read), list(read))
    assert equal_batches(list(read), first)


@pytest.mark.parametrize(("size", "fraction"), [(12, 1.0), (10, 0.875), (16, 1.0)])
def test_resident_and_workers_evaluate_alike(open_images: Open, size: int, fraction: float) -> None:
    resident, workers = (
        open_images(LOADER=kind, IMAGE_SIZE=size, CROP_FRACTION=fraction, MEAN=(0.1, 0.2, 0.3)).evaluation("test", 5)
        for kind in KINDS
    )
    for a, b in zip(resident, workers, strict=True):
        assert a.images.shape[1:] == (3, size, size)
        torch.testing.assert_close(a.images, b.images, rtol=0, atol=1e-5)
        assert torch.equal(a.labels, b.labels)


def test_a_dead_worker_is_an_error_and_no_hang(open_images: Open) -> None:
    batches = open_images(LOADER="workers", WORKERS=1).training(1).epoch(0)
    next(batches)
    (worker,) = multiprocessing.active_children()
    worker.kill()
    with pytest.raises(DataError, match="data loading process died"):
        list(batches)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_images_for_a_batch_are_refused_with_numbers(open_images: Open, kind: str) -> None:
    with pytest.raises(DataError, match="37 training images are fewer than one global batch of 40"):
        open_images(0, 2, LOADER=kind).training(20)


def test_an_empty_search_split_is_refused_when_asked_for(open_images: Open) -> None:
    images = open_images(SEARCH_FRACTION=0.0)
    assert images.sizes["search"] == 0
    with pytest.raises(DataError, match="SEARCH_FRACTION"):
        images.evaluation("search", 4)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"MEAN": (0.5,)}, "DATA.MEAN has 1 numbers; image_folder images have 3"),
        ({"AUGMENT": {"CROP_PADDING": 4}}, "CROP_PADDING and SCALE"),
        ({"AUGMENT": {"POLICY": "rand-m9"}}, "LOADER=workers"),
    ],
)
def test_contradicting_keys_are_refused(open_images: Open, keys: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        open_images(**keys)
