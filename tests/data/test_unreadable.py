from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from configs.errors import DataError
from data.loading import Images
from runtime.console import logger

Open = Callable[..., Images]
KINDS = ("resident", "workers")


def damage(folder: Path, count: int) -> list[Path]:
    """Truncate one image, write text into the others."""
    chosen = sorted((folder / "train").glob("*/*.png"))[5 : 5 + count]
    for path in chosen:
        path.write_text("no image")
    whole = sorted((folder / "train").glob("*/*.png"))[0].read_bytes()
    chosen[0].write_bytes(whole[: len(whole) // 2])
    return chosen


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_images_are_replaced_and_named(
    open_images: Open, folder: Path, kind: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    damaged = damage(folder, 3)
    monkeypatch.setattr(logger, "propagate", True)
    with caplog.at_level(logging.WARNING):
        batches = list(open_images(LOADER=kind).evaluation("train", 50))
    assert len(batches[0].labels) == 37
    assert batches[0].images.flatten(1).unique(dim=0).shape[0] < 37, "replacements are other images of the split"
    assert damaged[0].name in caplog.text


def test_replacements_do_not_depend_on_loader_or_ranks(open_images: Open, folder: Path) -> None:
    damage(folder, 4)
    resident, workers = (next(iter(open_images(LOADER=kind).evaluation("train", 50))) for kind in KINDS)
    torch.testing.assert_close(resident.images, workers.images, rtol=0, atol=1e-5)
    assert torch.equal(resident.labels, workers.labels)
    ranks = [open_images(rank, 2, LOADER="workers").evaluation("train", 50) for rank in range(2)]
    shares = [next(iter(rank)).labels for rank in ranks]
    assert torch.equal(shares[0], workers.labels[0::2])
    assert torch.equal(shares[1], workers.labels[1::2])


@pytest.mark.parametrize(("kind", "workers"), [("resident", 2), ("workers", 0), ("workers", 1)])
def test_many_damaged_images_are_an_error(open_images: Open, folder: Path, kind: str, workers: int) -> None:
    damage(folder, 20)
    with pytest.raises(DataError, match=r"(1[0-9]|20) of (37|41) images are unreadable.*\.png"):
        list(open_images(LOADER=kind, WORKERS=workers).evaluation("train", 50))


@pytest.mark.parametrize("kind", KINDS)
def test_the_limit_is_a_key(open_images: Open, folder: Path, kind: str) -> None:
    damage(folder, 12)
    assert list(open_images(LOADER=kind, UNREADABLE_LIMIT=0.5).evaluation("train", 50))
    damage(folder, 1)
    with pytest.raises(DataError, match=r"images are unreadable, more than DATA\.UNREADABLE_LIMIT=0 lets pass"):
        list(open_images(LOADER=kind, UNREADABLE_LIMIT=0).evaluation("train", 50))


@pytest.mark.parametrize("kind", KINDS)
def test_only_damaged_images_are_an_error(open_images: Open, folder: Path, kind: str) -> None:
    for path in (folder / "val").glob("*/*.png"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="unreadable"):
        list(open_images(LOADER=kind).evaluation("test", 2))
