"""The official packages beside ours: the same questions to the same file, the same answers."""

from __future__ import annotations

import bz2
import contextlib
import copy
import io
import math
import pickle
import random
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import OnePathError
from nasbench import nas_201_api, nats_bench
from nasbench.nasbench201.importing import import_official
from tools.speed.nasbench201_records import make_content, write_folder

INDICES = (0, 3, 11, 284, 15_624)
DATASETS = ("cifar10-valid", "cifar10", "cifar100", "ImageNet16-120")
SETS = ("train", "x-valid", "valid", "x-test", "ori-test")
EPOCHS = (None, 0, 5, 11, 12, 198, 199, 200, -1)
TRIALS = (False, True, 111, 777, 888, 5)
official_201 = pytest.importorskip("nas_201_api")
official_nats = pytest.importorskip("nats_bench")


def ask(question: Callable[[], Any], seed: int = 0) -> Any:
    """The answer, or the error that came instead."""
    random.seed(seed)
    try:
        return question()
    except Exception as error:
        return error


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, float) and math.isnan(theirs):
        return math.isnan(ours)
    if hasattr(theirs, "state_dict"):
        return same(ours.state_dict(), theirs.state_dict()) and repr(ours) == repr(theirs)
    return type(ours == theirs) in (bool, np.bool_) and bool(ours == theirs)


def check(pair: Any, method: str, *arguments: Any, seed: int = 0, **named: Any) -> bool:
    """Assert equal answers; where theirs raises, ours answers or raises an error for the user. True: theirs answers."""
    mine, other = (ask(lambda one=one: getattr(one, method)(*arguments, **named), seed) for one in pair)
    what = method, arguments, named
    if isinstance(other, Exception):
        assert not isinstance(mine, Exception) or isinstance(mine, OnePathError), (what, mine)
        return False
    assert not isinstance(mine, Exception), (what, mine)
    assert same(mine, other), (what, mine, other)
    return True


def shown(api: Any, index: int) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as written:
        api.show(index)
    return written.getvalue()


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    made = make_content(INDICES, np.random.default_rng(1), missing=0.4)
    times = made["arch2infos"][3]["full"]["all_results"]["cifar100", 777]["train_times"]
    times.update({epoch: 20.0 + epoch / 7 for epoch in times})  # epochs of unequal length
    odd = made["arch2infos"][11]["full"]["all_results"]
    odd["cifar10", 777]["flop"] += 1  # trials that disagree about their network
    odd["cifar10", 777]["latency"] = None
    odd["cifar10-valid", 777].update(train_times=None, eval_times={})
    del made["arch2infos"][284]["less"]["all_results"]["cifar100", 111]
    del made["arch2infos"][284]["less"]["dataset_seed"]["cifar100"]
    return made


@pytest.fixture(scope="module")
def table(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    torch.save(content, folder / "official.pth")
    import_official(folder / "official.pth", folder / "table.safetensors")
    return folder / "table.safetensors"


@pytest.fixture(scope="module")
def pair_201(content: dict[str, Any], table: Path) -> tuple[Any, Any]:
    return nas_201_api.NASBench201API(table, verbose=False), official_201.NASBench201API(content, verbose=False)


@pytest.fixture(scope="module")
def pair_nats(content: dict[str, Any], table: Path) -> tuple[Any, Any]:
    infos = {
        index: {"12": info["less"], "200": info["full"]} for index, info in copy.deepcopy(content["arch2infos"]).items()
    }
    theirs = official_nats.create({**content, "arch2infos": infos}, "tss", fast_mode=False, verbose=False)
    return nats_bench.create(str(table), "tss", verbose=False), theirs


@pytest.fixture(params=["201", "nats"])
def pair(request: pytest.FixtureRequest) -> tuple[Any, Any]:
    return request.getfixturevalue(f"pair_{request.param}")


def questions() -> Iterator[tuple[Any, ...]]:
    return product(INDICES, DATASETS, EPOCHS, ("12", 200), TRIALS)


def test_get_more_info_of_some(pair: tuple[Any, Any]) -> None:
    assert sum(check(pair, "get_more_info", *asked) for asked in [*questions()][::23]) > 20


@pytest.mark.differential
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_get_more_info(pair: tuple[Any, Any], seed: int) -> None:
    for asked in questions():
        check(pair, "get_more_info", *asked, seed=seed)


@pytest.mark.differential
def test_what_an_architecture_says(pair: tuple[Any, Any]) -> None:
    for index, hp in product(INDICES, ("12", "200")):
        both = [api.query_meta_info_by_index(index, hp) for api in pair]
        assert same(*both)
        for dataset in DATASETS:
            for asked in product((dataset,), SETS, EPOCHS, TRIALS):
                check(both, "get_metrics", *asked)
            for name in ("get_compute_costs", "get_latency", "get_total_epoch", "get_dataset_seeds", "get_net_param"):
                check(both, name, dataset)
            check(both, "get_net_param", dataset, 777)
        for name in ("get_dataset_names", "get_total_epoch", "arch_idx_str"):
            check(both, name)


@pytest.mark.differential
def test_what_a_trial_says(pair: tuple[Any, Any]) -> None:
    for asked in product(INDICES, DATASETS, ("12", "200")):
        if not check(pair, "query_by_index", *asked):
            continue
        trials = [api.query_by_index(*asked) for api in pair]
        for seed in trials[1]:
            both = trials[0][seed], trials[1][seed]
            for epoch in EPOCHS:
                check(both, "get_train", epoch)
                for name in SETS[1:]:
                    check(both, "get_eval", name, epoch)
            for name in ("get_times", "get_latency", "get_eval_set", "get_total_epoch", "get_net_param"):
                check(both, name)
            for structure in (None, len):
                check(both, "get_config", structure)
            assert same(*both)


@pytest.mark.differential
def test_costs_and_searches(pair: tuple[Any, Any]) -> None:
    for hp, dataset in product(("12", "200"), DATASETS):
        for setname in ("train", "valid", "test", "x-valid", "ori-test"):
            for limits in ((None, None), (100.0, None), (None, 0.3)):
                check(pair, "find_best", dataset, setname, *limits, hp=hp)
        check(pair, "find_best", dataset, "train", 1.0, 0.1, hp=hp)
        check(pair, "statistics", dataset, hp)
        for index in INDICES:
            for name in ("get_cost_info", "get_latency"):
                check(pair, name, index, dataset, hp)
            check(pair, "get_net_config", index, dataset)


@pytest.mark.differential
def test_simulations_and_random_draws(pair: tuple[Any, Any]) -> None:
    nats = hasattr(pair[1], "fast_mode")
    for index, hp, dataset, account in product(INDICES[:3], ("12", "200"), DATASETS, (True, False)):
        check(pair, "simulate_train_eval", index, dataset, hp=hp, account_time=account, seed=3)
        if nats:
            check(pair, "simulate_train_eval", index, dataset, 5, hp, seed=4)
    assert pair[0].used_time == pair[1].used_time > 0
    for seed in range(20):
        check(pair, "random", seed=seed)
    for api in pair:
        api.reset_time()
        assert api.used_time == 0


def test_names_and_texts(pair: tuple[Any, Any]) -> None:
    texts = [pair[1][3], pair[1][11]]
    for text in [*texts, "|none~0|", "", 3, 15_624, 15_625, -1]:
        check(pair, "query_index_by_arch", text)
    for index in INDICES:
        for name in ("arch", "__getitem__"):
            check(pair, name, index)
        for hp in ("12", "200"):
            check(pair, "query_info_str_by_arch", index, hp)
            check(pair, "query_by_arch", pair[1][index], hp)
    for text in texts:
        check(pair, "str2lists", text)
        assert pair[0].str2matrix(text).tolist() == pair[1].str2matrix(text).tolist()
    ours, theirs = pair
    assert (sorted(ours.avaliable_hps), ours.evaluated_indexes) == (
        sorted(theirs.avaliable_hps),
        theirs.evaluated_indexes,
    )
    assert (list(ours), len(ours), ours.archstr2index) == (list(theirs), len(theirs), theirs.archstr2index)
    check(pair, "get_net_param", 3, "cifar10", None, "200")


def test_show_prints_the_same(pair: tuple[Any, Any]) -> None:
    for index in (0, 3, 20_000):
        assert shown(pair[0], index) == shown(pair[1], index)
    whole = shown(pair[0], -1)  # theirs crashes
    for place, index in enumerate(INDICES):
        assert f"The ({place:5d}/    5) {index:06d}-th architecture!" in whole
        assert pair[0].query_info_str_by_arch(index, "200").splitlines()[2] in whole


@pytest.mark.differential
def test_the_folder_of_nats_bench(content: dict[str, Any], tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", content)
    folder = str(tmp_path / "folder")
    pair = [
        create(folder, "tss", fast_mode=True, verbose=False) for create in (nats_bench.create, official_nats.create)
    ]
    for asked in [*questions()][::7]:
        check(pair, "get_more_info", *asked, seed=1)
    for index in INDICES:
        check(pair, "query_meta_info_by_index", index, "200")
        check(pair, "get_unique_str", index)


def to_size(content: dict[str, Any]) -> dict[str, Any]:
    """As of the size space: settings 01, 12 and 90, architectures of five numbers of channels."""
    names = [":".join(map(str, channels)) for channels in product(range(8, 65, 8), repeat=5)]
    infos = {}
    for index, info in copy.deepcopy(content["arch2infos"]).items():
        infos[index] = {"01": copy.deepcopy(info["less"]), "12": info["less"], "90": info["full"]}
        for state in infos[index].values():
            state["arch_str"] = names[index]
            for result in state["all_results"].values():
                shape = {"name": "infer.shape.tiny", "channels": names[index], "genotype": "|nor_conv_3x3~0|"}
                result["arch_config"] |= {**shape, "arch_str": names[index]}
    return {**content, "meta_archs": names, "total_archs": len(names), "arch2infos": infos}


@pytest.mark.differential
def test_the_size_space(content: dict[str, Any], tmp_path: Path) -> None:
    made = to_size(content)
    with bz2.BZ2File(tmp_path / "NATS-sss.pickle.pbz2", "wb") as file:
        pickle.dump(made, file)
    ours = nats_bench.create(tmp_path / "NATS-sss.pickle.pbz2", "sss", verbose=False)
    pair = ours, official_nats.create(made, "sss", verbose=False)
    assert (len(ours), ours.is_size, ours.full_train_epochs) == (32_768, True, 90)
    for asked in product(INDICES, DATASETS, (None, 5), ("01", "12", "90"), (True, False, 777)):
        check(pair, "get_more_info", *asked)
    for index, hp in product(INDICES, ("01", "12", "90")):
        check(pair, "query_meta_info_by_index", index, hp)
        check(pair, "query_info_str_by_arch", made["meta_archs"][index], hp)
        check(pair, "get_net_config", index, "cifar100")
        check(pair, "simulate_train_eval", index, "cifar10", None, hp)
    assert shown(pair[0], 3) == shown(pair[1], 3)
    check(pair, "find_best", "cifar100", "valid", 50.0, None, "90")


@pytest.mark.differential
def test_real_records(shared_file: Callable[[str], Path]) -> None:
    folder = str(shared_file("data/nats-tss-sample/000011.pickle.pbz2").parent)
    pair = [
        create(folder, "tss", fast_mode=True, verbose=False) for create in (nats_bench.create, official_nats.create)
    ]
    for asked in product((0, 11, 284), DATASETS, EPOCHS, ("12", "200"), TRIALS):
        check(pair, "get_more_info", *asked, seed=1)
    for index in (0, 11, 284):
        assert shown(pair[0], index) == shown(pair[1], index)
        for hp in ("12", "200"):
            check(pair, "query_meta_info_by_index", index, hp)
            for dataset in DATASETS:
                check(pair, "get_cost_info", index, dataset, hp)


@pytest.mark.slow
def test_published_means(shared_file: Callable[[str], Path]) -> None:
    api = nats_bench.create(shared_file("data/nats-tss-sample/000011.pickle.pbz2").parent, "tss", verbose=False)
    found = {dataset: api.get_more_info(11, dataset, hp="200", is_random=False) for dataset in DATASETS}
    means = {
        dataset: {name: round(one, 4) for name, one in info.items() if "acc" in name} for dataset, info in found.items()
    }
    assert means["cifar10-valid"] == {"train-accuracy": 99.7813, "valid-accuracy": 87.94, "test-accuracy": 87.65}
    assert means["cifar10"]["test-accuracy"] == 91.5833
    assert [*means["cifar100"].values()][1:] == [67.4533, 67.6067, 67.53]
    assert [*means["ImageNet16-120"].values()][1:] == [30.4111, 30.1667, 30.2889]
    costs = api.get_cost_info(11, "cifar10", "200")
    assert (costs["params"], costs["flops"]) == (pytest.approx(0.802426), pytest.approx(113.95137))
