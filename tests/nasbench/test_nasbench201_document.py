"""Every snippet of the published document, after the changed import; trained weights; bad files."""

from __future__ import annotations

import ast
import bz2
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import DataError, OnePathError
from nasbench import nas_201_api, nats_bench
from nasbench.nasbench201.unpickling import load_pickle, load_weights
from tools.speed.nasbench201_records import make_content, make_infos, write_folder

DOCUMENT = "reference/published/002_e2cba73de5210c32.txt"
INDICES = (0, 1, 2, 3, 112, 123)
FILE = "NAS-Bench-201-v1_1-096897.pth"
ARCHIVE = "NAS-BENCH-201-4-v1.0-archive"
STATEMENT = re.compile(
    r"(from|len|num|for|print|api|info|(res|cost)_metrics|results?|index|config|network|[xo]data|arch_config|archRes"
    r"|net_config|weights)( |\(|\.)"
)
PROSE = re.compile(r"[\u3040-\u30ff\u4e00-\u9fff]|\(\.\.\.\)")


def read_snippets(path: Path) -> str:
    """The document's statements. It lost the indentation of the lines inside of its two loops."""
    lines, looping = [], False
    for line in path.read_text(encoding="utf-8").splitlines():
        line = re.sub(r"^.*。 (?=num = )", "", line)
        if PROSE.search(line) or not STATEMENT.match(line):
            continue
        looping = looping and line.startswith("print")
        lines.append("    " + line if looping else line)
        looping = looping or line.startswith("for ")
    return "\n".join(lines)


def give_weights(infos: dict[str, Any], weights: Callable[[str, int], Any]) -> dict[str, Any]:
    for state in infos.values():
        state["clear_net_done"] = False
        for (dataset, seed), result in state["all_results"].items():
            result["net_state_dict"] = weights(dataset, seed)
    return infos


def few_weights(dataset: str, seed: int) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), float(seed)), "count": torch.tensor(len(dataset))}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return make_content(INDICES, np.random.default_rng(0))


@pytest.fixture
def home(content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$TORCH_HOME and the working folder, with the files that the document names."""
    torch.save(content, tmp_path / FILE)
    (tmp_path / ARCHIVE).mkdir()
    infos = make_infos(3, content["meta_archs"][3], np.random.default_rng(3))
    torch.save(give_weights(infos, few_weights), tmp_path / ARCHIVE / "000003-FULL.pth")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path


def test_the_documents_snippets_run(
    content: dict[str, Any], home: Path, shared_file: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    models = pytest.importorskip("nasbench.models")
    network = models.get_cell_based_tiny_net(nas_201_api.NASBench201API(content, False).get_net_config(123, "cifar10"))
    infos = make_infos(123, content["meta_archs"][123], np.random.default_rng(157))
    torch.save(give_weights(infos, lambda *_: network.state_dict()), home / "000157-FULL.pth")
    code = read_snippets(shared_file(DOCUMENT)).replace("$path_to_meta_nas_bench_file", FILE)
    code = code.replace("from nas_201_api ", "from nasbench.nas_201_api ").replace(
        "from models ", "from nasbench.models "
    )
    assert len(ast.parse(code).body) == 53
    names = {"os": os, "torch": torch, "CellStructure": models.CellStructure, "dict2config": models.dict2config}
    exec(compile(code, DOCUMENT, "exec"), names)
    assert names["weights"].keys() == {111}
    assert names["weights"][111]["weight"].tolist() == [[111.0] * 3] * 2
    printed = capsys.readouterr().out
    assert "There are 1 trials for this architecture" in printed
    assert printed.count("-th architecture! ----------") == len(INDICES)
    assert "ResultsCount(cifar10-valid, arch=" in printed


def test_reloaded_results_replace_those_of_the_table(content: dict[str, Any], home: Path) -> None:
    api, plain = (nas_201_api.NASBench201API(content, verbose=False) for _ in range(2))
    assert api.get_net_param(3, "cifar10", 777, "200") is None
    api.reload(home / ARCHIVE, np.int64(3))
    again = make_infos(3, content["meta_archs"][3], np.random.default_rng(3))
    theirs = again["full"]["all_results"]["cifar10", 777]
    info = api.get_more_info(3, "cifar10", None, 200, 777)
    assert (info["train-accuracy"], info["test-accuracy"]) == (
        theirs["train_acc1es"][199],
        theirs["eval_acc1es"]["ori-test@199"],
    )
    assert info != plain.get_more_info(3, "cifar10", None, 200, 777)
    weights = api.get_net_param(3, "cifar10", None, "200")
    assert {seed: one["weight"].unique().item() for seed, one in weights.items()} == {777: 777, 888: 888, 999: 999}
    best = max(INDICES, key=lambda one: api.get_more_info(one, "cifar10", hp=200, is_random=False)["test-accuracy"])
    assert api.find_best("cifar10", "test", hp="200")[0] == best
    own = api.query_meta_info_by_index(3, "200")
    own.reset_latency("cifar10", None, 5.0)
    assert (own.get_latency("cifar10"), api.get_latency(3, "cifar10", "200") == 5) == (5, False)
    api.clear_params(3)
    assert api.get_net_param(3, "cifar10", 777, "200") is None
    for folder, index, told in ((home / ARCHIVE, 2, "000002-FULL.pth is not there"), (home / "no", 3, "no folder")):
        with pytest.raises(DataError, match=told):
            api.reload(folder, index)


def test_records_of_nats_bench_with_weights(content: dict[str, Any], tmp_path: Path) -> None:
    write_folder(tmp_path / "simple", {**content, "arch2infos": {3: content["arch2infos"][3]}})
    infos = give_weights(make_infos(3, content["meta_archs"][3], np.random.default_rng(3)), few_weights)
    (tmp_path / "full").mkdir()
    with bz2.BZ2File(tmp_path / "full" / "000003.pickle.pbz2", "wb") as file:
        pickle.dump({"12": infos["less"], "200": infos["full"]}, file)
    api = nats_bench.create(str(tmp_path / "simple"), "tss", fast_mode=True, verbose=False)
    assert api.get_net_param(3, "cifar100", 888, 200) is None
    api.reload(tmp_path / "full", 3)
    assert api.get_net_param(3, "cifar100", 888, 200)["weight"].unique().item() == 888


def test_a_dict_with_weights_keeps_them(content: dict[str, Any]) -> None:
    infos = give_weights(make_infos(5, content["meta_archs"][5], np.random.default_rng(3)), few_weights)
    made = {**content, "arch2infos": {**content["arch2infos"], 5: infos}}
    api = nas_201_api.NASBench201API(made, verbose=False)
    assert api.get_net_param(5, "cifar10", 777, "200")["count"].item() == len("cifar10")
    assert len(api.evaluated_indexes) == len(INDICES) + 1


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


WRITERS: dict[str, Callable[[Any, Path], None]] = {
    "zip": torch.save,
    "legacy": lambda value, path: torch.save(value, path, _use_new_zipfile_serialization=False),
    "bz2": lambda value, path: path.write_bytes(bz2.compress(pickle.dumps(value))),
    "plain": lambda value, path: path.write_bytes(pickle.dumps(value)),
}


@pytest.mark.parametrize("layout", WRITERS)
def test_nothing_of_a_hostile_pickle_runs(layout: str, tmp_path: Path) -> None:
    content = make_content([0], np.random.default_rng(0)) | {"meta_archs": []}
    WRITERS[layout](content, tmp_path / "fine")
    assert load_pickle(tmp_path / "fine").keys() == content.keys()
    WRITERS[layout]({**content, "total_archs": Hostile(tmp_path / "ran")}, tmp_path / "hostile")
    for load in (load_pickle, load_weights, nas_201_api.NASBench201API):
        with pytest.raises(DataError, match="which no benchmark file needs"):
            load(tmp_path / "hostile")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    [
        b"\x80\x02cbuiltins\neval\n(X\x01\x00\x00\x001tR.",
        b"\x80\x02cnumpy\ndtype\n(X\x01\x00\x00\x00OtR.",
        b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
        b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x001X\x03\x00\x00\x00rottR.",
        b"(i__main__\nHostile\n.",
    ],
)
def test_other_ways_to_name_things_are_refused(value: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(value)
    with pytest.raises(OnePathError):
        nas_201_api.NASBench201API(tmp_path / "file", verbose=False)
