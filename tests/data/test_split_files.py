"""Published lists of a data set's parts, and the halves of the test images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.errors import DataError
from configs.schema import Data
from data.loading import Images, load_images
from data.splits import HALVES, halve_test
from runtime.world import World

TRAIN, TEST = 1438, 359  # images of digits


def open_digits(seed: int = 0, **keys: object) -> Images:
    config = Data.model_validate({"NAME": "digits", "SEARCH_FRACTION": 0.5, **keys})
    return load_images(config, seed, 8, world=World(), device=torch.device("cpu"))


def labels_of(images: Images, split: str) -> list[int]:
    return torch.cat([labels for _, labels in images.evaluation(split, 100)]).tolist()


def write(path: Path, **lists: object) -> str:
    path.write_text(json.dumps(lists))
    return str(path)


def test_a_published_list_says_what_is_held_out(tmp_path: Path) -> None:
    """In both notations, whatever SEED."""
    places = np.random.default_rng(0).permutation(TRAIN).tolist()
    plain = write(tmp_path / "plain.json", train=places[:1000], valid=places[1000:])
    typed = write(
        tmp_path / "typed.txt",
        train=["int", [str(place) for place in places[:1000]]],
        valid=["int", [str(place) for place in places[1000:]]],
    )
    first, second = open_digits(1, SPLIT_FILE=plain), open_digits(2, SPLIT_FILE=typed)
    assert first.sizes == second.sizes == {"train": 1000, "search": TRAIN - 1000, "test": TEST}
    assert labels_of(first, "search") == labels_of(second, "search")
    whole = labels_of(open_digits(SEARCH_FRACTION=0), "train")
    assert labels_of(first, "search") == [whole[place] for place in sorted(places[1000:])]


def test_a_published_list_says_the_halves_of_the_test_images(tmp_path: Path) -> None:
    path = write(tmp_path / "halves.json", xvalid=list(range(100)), xtest=list(range(100, TEST)))
    images = open_digits(SPLIT_FILE=path)
    assert [len(labels_of(images, half)) for half in HALVES] == [100, TEST - 100]
    assert labels_of(images, "xvalid") + labels_of(images, "xtest") == labels_of(images, "test")


def test_halves_and_the_split_follow_their_own_seed() -> None:
    labels = np.arange(40) % 10
    first, second = halve_test(labels, 3)
    assert sorted([*first, *second]) == list(range(40))
    assert (np.bincount(labels[first]) == 2).all()
    assert not np.array_equal(first, halve_test(labels, 4)[0])
    by_seed = [labels_of(open_digits(seed), "search") for seed in (1, 2)]
    by_split_seed = [labels_of(open_digits(seed, SPLIT_SEED=1), "search") for seed in (1, 2)]
    assert by_seed[0] != by_seed[1]
    assert by_split_seed == [by_seed[0]] * 2


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({"train": [0], "test": [1]}, "has the lists train, test; it should have train and valid, or xvalid and xtest"),
        ({"train": [0, 1], "valid": [1, 2]}, "train and valid name 2 [+] 2 images; they should name each of 0 to 1437"),
        ({"xvalid": ["a"], "xtest": [1]}, "something else than places"),
        ({"xvalid": {"a": 3}, "xtest": [1]}, "something else than places"),
        ({}, "the lists of nothing"),
    ],
)
def test_a_wrong_list_is_refused(lists: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        open_digits(SPLIT_FILE=write(tmp_path / "split.json", **lists))


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.txt").write_text("[1, 2]")
    with pytest.raises(DataError, match="holds no lists by name"):
        open_digits(SPLIT_FILE=str(tmp_path / "split.txt"))
    with pytest.raises(DataError, match="cannot be read as JSON"):
        open_digits(SPLIT_FILE=str(tmp_path / "nothing.txt"))


def test_lists_are_not_of_folders(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / split / "cat").mkdir(parents=True)
        (tmp_path / split / "cat" / "0.png").write_bytes(b"")
    path = write(tmp_path / "split.json", train=[0], valid=[])
    with pytest.raises(DataError, match=r"give torchvision's layout, or remove DATA.SPLIT_FILE"):
        open_digits(NAME="cifar10", PATH=str(tmp_path), SPLIT_FILE=path)
