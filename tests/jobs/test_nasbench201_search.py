"""train.py on the cells of NAS-Bench-201, tiny: both strategies, going on after a death, picking, retraining."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from configs.errors import SpaceError
from runtime.checkpoint import list_checkpoints, load_file
from runtime.interruption import interruption
from search.journal import SearchJournal
from search.objective import SupernetObjective
from search.training import SupernetTraining
from supernet.spaces.nasbench201.cell import Cell, cell_from_names
from supernet.spaces.nasbench201.costs import NasBench201Description
from supernet.spaces.nasbench201.space import NasBench201Space

SPACE = NasBench201Space(NasBench201Description(channels=1, resolution=8, stem_channels=4, num_cells=1))
WINDOW = [SPACE.cost(Cell((3, 3, 3, 3, 3, operation))).macs for operation in (2, 3)]  # 7 cells
TINY = [
    *(f"FLOPS_{bound}={macs / 1e6}" for bound, macs in zip(("MINIMUM", "MAXIMUM"), WINDOW)),
    "NASBENCH201={STEM_CHANNELS: 4, NUM_CELLS: 1}",
    "DATA={NAME: digits, IMAGE_SIZE: 8, SEARCH_FRACTION: 0.1, AUGMENT: {CROP_PADDING: 1, FLIP: 0}}",
    "TRAIN={EPOCHS: 2, STEPS_PER_EPOCH: 6, BATCH_SIZE: 16, EVALUATION_BATCH_SIZE: 100, LR: 0.1, CLIP_GRADIENT: 0}",
    "SEARCH={DISTILLATION_EPOCH: 1, BOARD: {SIZE: 3, INTERVAL: 2, IMAGES: 60, RECALIBRATION_IMAGES: 32}}",
    "SEARCH.MATCHING={INTERVAL: 3, SLICE: 4}",
    "PICKER={IMAGES: 100, RECALIBRATION_IMAGES: 60, ABREAST: 3, KEEP: 5}",
    "RUNTIME={DEVICE: cpu, THREADS: 1, KEEP_CHECKPOINTS: 1, CHECKPOINT_INTERVAL: 4, LOG_INTERVAL: 3}",
    "SEED=3",
]


class Died(Exception):
    """What ends a search here."""


def run(patch: pytest.MonkeyPatch, script: str, cfg: str, folder: Path, *keys: str) -> None:
    patch.setattr("sys.argv", [script, "--cfg", cfg, *keys, f"SAVE_PATH={folder}"])
    with interruption.running():
        runpy.run_path(script)["main"]()


def search(patch: pytest.MonkeyPatch, folder: Path, *keys: str) -> dict[str, Any]:
    """train.py in this process; its pick."""
    run(patch, "train.py", "configs/train_nasbench201.yaml", folder, *TINY, *keys)
    return json.loads((folder / "pick.json").read_text())


@pytest.fixture(scope="module", params=["uniform", pytest.param("prioritized", marks=pytest.mark.slow)])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, dict[str, Any]]:
    """A strategy, the folder of a search with it that nothing ended, and its pick."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with pytest.MonkeyPatch.context() as patch:
        return request.param, folder, search(patch, folder, f"SEARCH.STRATEGY={request.param}")


def test_the_pick_ranks_all_cells_of_the_window(whole: tuple[str, Path, dict[str, Any]]) -> None:
    strategy, folder, pick = whole
    assert (pick["space"], pick["strategy"], pick["picker"]) == ("nasbench201", strategy, "exhaustive")
    assert pick["window"] == {"minimum": WINDOW[0], "maximum": WINDOW[1], "count": 7}
    assert pick["evaluated"] == 7
    ranked = [(-entry["accuracy"], entry["macs"]) for entry in pick["architectures"]]
    assert ranked == sorted(ranked)
    assert len({entry["text"] for entry in pick["architectures"]}) == 5
    for entry in pick["architectures"]:
        cell = cell_from_names(entry["architecture"])
        cost = SPACE.cost(cell)
        assert (entry["text"], entry["macs"], entry["params"]) == (str(cell), cost.macs, cost.params)
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert max(record.get("board/distilled_steps", 0) for record in records) == (6 if strategy == "prioritized" else 0)
    assert {"operations/2", "operations/3"} <= records[-2].keys() | records[0].keys()


def assert_same_weights(*folders: Path) -> None:
    first, second = (load_file(list_checkpoints(folder / "checkpoints")[0])["state_dict"] for folder in folders)
    assert all(value.equal(second[name]) for name, value in first.items())


@pytest.mark.slow
def test_a_training_that_died_goes_on_to_the_bit_and_cells_one_by_one_score_alike(
    whole: tuple[str, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, folder, pick = whole
    step = SupernetTraining.step

    def die(training: SupernetTraining, images: Any, labels: Any, paths: Any, position: Any) -> Any:
        if position.total == 9:
            raise Died
        return step(training, images, labels, paths, position)

    monkeypatch.setattr(SupernetTraining, "step", die)
    keys = [f"SEARCH.STRATEGY={strategy}", "RESUME_PATH=auto", "PICKER.ABREAST=1"]
    with pytest.raises(Died):
        search(monkeypatch, tmp_path / "run", *keys)
    monkeypatch.setattr(SupernetTraining, "step", step)
    assert search(monkeypatch, tmp_path / "run", *keys)["architectures"] == pick["architectures"]
    assert_same_weights(folder, tmp_path / "run")


@pytest.mark.parametrize("whole", ["uniform"], indirect=True)
def test_picking_that_died_goes_on(
    whole: tuple[str, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategy, _, pick = whole
    after_generation = SearchJournal.after_generation

    def die(journal: SearchJournal, picker: Any) -> None:
        after_generation(journal, picker)
        if len(picker.scores) == 6:
            raise Died

    monkeypatch.setattr("search.pickers.listing.BATCH", 3)
    monkeypatch.setattr(SearchJournal, "after_generation", die)
    keys = [f"SEARCH.STRATEGY={strategy}", "RESUME_PATH=auto"]
    with pytest.raises(Died):
        search(monkeypatch, tmp_path / "run", *keys)
    monkeypatch.setattr(SearchJournal, "after_generation", after_generation)
    measured: list[Cell] = []
    measure = SupernetObjective.__call__
    monkeypatch.setattr(
        SupernetObjective, "__call__", lambda objective, cells: measured.extend(cells) or measure(objective, cells)
    )
    assert search(monkeypatch, tmp_path / "run", *keys)["architectures"] == pick["architectures"]
    assert measured == [Cell((3,) * 6)]


@pytest.mark.slow
@pytest.mark.parametrize("whole", ["uniform"], indirect=True)
def test_the_pick_is_trained(
    whole: tuple[str, Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, folder, pick = whole
    keys = ["MODEL_SELECTION=-1", f"INPUT_ARCH={folder / 'pick.json'}#1", f"TRAIN.INHERIT={folder}"]
    tiny = [key for key in TINY if key.partition("=")[0] in ("NASBENCH201", "DATA", "RUNTIME")]
    recipe = "TRAIN={EPOCHS: 1, BATCH_SIZE: 64, LR: 0.01}"
    run(monkeypatch, "retrain.py", "configs/retrain/nasbench201_12.yaml", tmp_path / "run", *tiny, recipe, *keys)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["selection"].endswith(pick["architectures"][1]["text"])
    assert result["macs"] == pick["architectures"][1]["macs"]


def test_what_cells_cannot_do_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpaceError, match=r"nasbench201 shares weights only as SUPERNET\.ENCODING=separate"):
        search(monkeypatch, tmp_path / "run", "SUPERNET.ENCODING=superkernel")
    with pytest.raises(SpaceError, match=r"SEARCH\.STRATEGY threshold decides about layers, and nasbench201 has cells"):
        search(monkeypatch, tmp_path / "run", "SUPERNET.ENCODING=superkernel", "SEARCH.STRATEGY=threshold")
    assert not (tmp_path / "run").exists()
