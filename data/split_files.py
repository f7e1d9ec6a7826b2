"""Published lists of which images belong to which part of a data set, such as NAS-Bench-201's.

The file is JSON, two names with the places of images: `{"train": […], "valid": […]}` divides the training images
(`cifar-split.txt` of AutoDL-Projects), `{"xvalid": […], "xtest": […]}` the test images (`cifar100-test-split.txt`). A
list may be `["int", […]]`, and a place a text, as there.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from configs.errors import DataError
from data.datasets import Dataset
from data.examples import ImageArray
from data.splits import HALVES

TRAINING = ("train", "valid")


def apply_split_file(dataset: Dataset, path: str) -> Dataset:
    """The data set divided as a file says.

    Raises:
        DataError: the file cannot be read or is no such list; or the images stand in another order than the lists mean.
    """
    if not isinstance(dataset.train, ImageArray) or dataset.held_out is not None:
        raise DataError(
            f"DATA.SPLIT_FILE={path} numbers images in the order of the data set's own files, and DATA.PATH holds "
            "folders or TFRecords: give torchvision's layout, or remove DATA.SPLIT_FILE"
        )
    lists = _read(path)
    if lists.keys() == set(TRAINING):
        _, held_out = _divide(path, lists, TRAINING, len(dataset.train.labels))
        return replace(dataset, held_out=held_out)
    if lists.keys() == set(HALVES):
        return replace(dataset, test_halves=_divide(path, lists, HALVES, len(dataset.test.labels)))
    raise DataError(
        f"DATA.SPLIT_FILE={path} has the lists {', '.join(lists) or 'of nothing'}; it should have "
        f"{' and '.join(TRAINING)}, or {' and '.join(HALVES)}"
    )


def _read(path: str) -> dict[str, Any]:
    try:
        lists = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"DATA.SPLIT_FILE={path} cannot be read as JSON: {error}") from error
    if not isinstance(lists, dict):
        raise DataError(f"DATA.SPLIT_FILE={path} holds no lists by name")
    return lists


def _divide(path: str, lists: dict[str, Any], names: tuple[str, str], count: int) -> tuple[np.ndarray, np.ndarray]:
    """The sorted places of both parts, which together are all `count` images."""
    try:
        first, second = (np.sort(np.array(_plain(lists[name]), dtype=np.int64)) for name in names)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"DATA.SPLIT_FILE={path} holds something else than places of images: {error}") from error
    if not np.array_equal(np.sort(np.concatenate([first, second])), np.arange(count)):
        raise DataError(
            f"DATA.SPLIT_FILE={path}: {' and '.join(names)} name {len(first)} + {len(second)} images; they should name "
            f"each of 0 to {count - 1} once"
        )
    return first, second


def _plain(places: Any) -> Any:
    """`["int", […]]` as `[…]`."""
    return places[1] if isinstance(places, list) and len(places) == 2 and places[0] == "int" else places
