"""Records in the official layouts with metrics that are made up, as many as are wanted."""

from __future__ import annotations

import bz2
import pickle
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from supernet.spaces.nasbench201.cell import all_cells

CLASSES = {"cifar10-valid": 10, "cifar10": 10, "cifar100": 100, "ImageNet16-120": 120}
SPLITS = {
    "cifar10-valid": ("x-valid", "ori-test"),
    "cifar10": ("ori-test",),
    "cifar100": ("ori-test", "x-valid", "x-test"),
    "ImageNet16-120": ("ori-test", "x-valid", "x-test"),
}  # the first of them is evaluated after every one of 200 epochs, the others after the last only
SHORT, LONG = (111,), (777, 888, 999)  # seeds


def make_content(indices: Iterable[int], generator: np.random.Generator, missing: float = 0.0) -> dict[str, Any]:
    """What an official file of NAS-Bench-201 holds.

    Args:
        missing: the share of the second and third trials at 200 epochs that were not made.
    """
    names = [str(cell) for cell in all_cells()]
    infos = {index: make_infos(index, names[index], generator, missing) for index in indices}
    return {"meta_archs": names, "total_archs": len(names), "arch2infos": infos, "evaluated_indexes": [*infos]}


def make_infos(index: int, name: str, generator: np.random.Generator, missing: float = 0.0) -> dict[str, Any]:
    """One architecture's record, as NAS-Bench-201's own files have it."""
    long = {dataset: [s for s in LONG if s == LONG[0] or generator.random() >= missing] for dataset in SPLITS}
    short = {dataset: [*SHORT, *([LONG[0]] if dataset == "cifar10-valid" else [])] for dataset in SPLITS}
    return {
        "full": _make_state(index, name, 200, long, generator),
        "less": _make_state(index, name, 12, short, generator),
    }


def write_folder(folder: Path, content: dict[str, Any]) -> None:
    """As NATS-Bench's "simple" folder."""
    folder.mkdir()
    meta = {key: content[key] for key in ("meta_archs", "total_archs")} | {
        "arch2infos": None,
        "evaluated_indexes": set(),
    }
    _dump(folder / "meta.pickle.pbz2", meta)
    for index, infos in content["arch2infos"].items():
        record = OrderedDict({"12": infos["less"], "200": infos["full"]})
        _dump(folder / f"{index:06d}.pickle.pbz2", record)


def _dump(path: Path, value: Any) -> None:
    with bz2.BZ2File(path, "wb") as file:
        pickle.dump(value, file, protocol=4)


def _make_state(
    index: int, name: str, epochs: int, seeds: dict[str, list[int]], generator: np.random.Generator
) -> dict[str, Any]:
    params, latency = generator.random(2)
    results = {
        (dataset, seed): _make_result(name, dataset, epochs, seed, params, latency, generator)
        for dataset in SPLITS
        for seed in seeds[dataset]
    }
    return {
        "arch_index": index,
        "arch_str": name,
        "all_results": results,
        "dataset_seed": seeds,
        "clear_net_done": True,
    }


def _make_result(
    name: str, dataset: str, epochs: int, seed: int, params: float, latency: float, generator: np.random.Generator
) -> dict[str, Any]:
    def series(scale: float) -> dict[int, float]:
        return dict(enumerate((scale * generator.random(epochs)).tolist()))

    evaluated = {
        split: range(epochs) if epochs < 200 or place == 0 else [epochs - 1]
        for place, split in enumerate(SPLITS[dataset])
    }

    def at_epochs(scale: float) -> dict[str, float]:
        keys = [f"{split}@{epoch}" for split, known in evaluated.items() for epoch in known]
        return dict(zip(keys, (scale * generator.random(len(keys))).tolist()))

    seconds = {split: generator.random() for split in evaluated}
    return {
        "name": dataset,
        "train_acc1es": series(100),
        "train_acc5es": series(100) if epochs < 200 else None,
        "train_losses": series(3),
        "train_times": OrderedDict.fromkeys(range(epochs), 30 * generator.random()),
        "arch_config": {"channel": 16, "num_cells": 5, "arch_str": name, "class_num": CLASSES[dataset]},
        "params": np.float64(params),
        "flop": 200 * params,
        "seed": f"{seed:04d}",
        "epochs": epochs,
        "latency": [np.float64(latency / 50)],
        "eval_names": [*evaluated],
        "eval_acc1es": at_epochs(100),
        "eval_times": {f"{split}@{epoch}": value for split, value in seconds.items() for epoch in range(epochs)},
        "eval_losses": at_epochs(3),
        "net_state_dict": None,
    }
