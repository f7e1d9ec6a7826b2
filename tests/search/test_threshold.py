"""Single-Path NAS's strategy: warm-up, steering, what is handed to the picker, resuming, precision, faults."""

from __future__ import annotations

import copy
import json
import math
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_search import NESTED, TINY, TinySearch, assert_identical, build_search, tiny_space

import train
from configs.errors import ConfigError, SpaceError
from configs.schema import Config, Picker, Search
from data.loading import Images
from runtime.position import Position
from runtime.precision import Precision
from search.pickers import build_picker
from search.strategies import check_strategy
from search.strategies.steering import Steering
from search.strategies.threshold import ThresholdStrategy

SPACE = tiny_space(NESTED)
BOUNDS = (70_000, 100_000)
BOARD = {"SIZE": 3, "IMAGES": 40, "RECALIBRATION_IMAGES": 32}
TRAIN = {"EPOCHS": 3, "STEPS_PER_EPOCH": 4, "LR": 0.1}


def build(digits: Images, train: dict[str, Any] = TRAIN, **keys: Any) -> TinySearch:
    threshold = {"WARMUP_EPOCHS": 1, "LR": 1.0, **keys.pop("threshold", {})}
    search = {"STRATEGY": "threshold", "THRESHOLD": threshold, "BOARD": BOARD}
    return build_search(digits, train=train, search=search, space=SPACE, **{"bounds": BOUNDS, **keys})


def strategy_of(search: TinySearch) -> ThresholdStrategy:
    assert isinstance(search.strategy, ThresholdStrategy)
    return search.strategy


@pytest.mark.parametrize("bounds", [pytest.param((70_000, 110_000), marks=pytest.mark.slow), (140_000, 190_000)])
def test_lambda_leads_the_decisions_into_the_window(digits: Images, bounds: tuple[int, int]) -> None:
    """From everything on, 0.245 M MACs; and there they stay."""
    steps = {"EPOCHS": 4, "STEPS_PER_EPOCH": 20, "LR": 0.1, "SCHEDULE": "cosine"}
    search = build(digits, steps, bounds=bounds, threshold={"LR": 2.0})
    search.run(0, 20)
    assert strategy_of(search).metrics()["threshold/macs"] == pytest.approx(0.245376)
    search.run(20, 70)
    inside = 0
    for step in range(70, 80):
        search.run(step, step + 1)
        inside += bounds[0] <= round(1e6 * strategy_of(search).metrics()["threshold/macs"]) <= bounds[1]
    assert inside >= 8
    assert all(bounds[0] <= scored.macs <= bounds[1] for scored in search.strategy.prioritized)


def test_warm_up_drops_indicators_by_seed_and_position(digits: Images) -> None:
    """Without the cost term: the loss is the cross entropy of the network that is left."""
    strategy = strategy_of(build(digits, threshold={"KEEP": 0.6}))
    kept = [strategy._kept(Position(0, step, 400)) for step in range(400)]
    share = torch.stack([one for one in kept if one is not None])
    assert set(share.unique().tolist()) == {0.0, 1.0}
    assert share.mean().item() == pytest.approx(0.6, abs=0.02)
    again = strategy_of(build(digits))._kept(Position(0, 7, 400))
    assert again is not None
    assert torch.equal(again, share[7])
    assert strategy._kept(Position(1, 0, 400)) is None

    images, labels = torch.randn(8, 1, 8, 8), torch.arange(8)
    decided = strategy.decisions(share[7])
    architecture = strategy.decisions.read_out(decided)
    assert architecture != strategy.decisions.read_out(strategy.decisions())
    loss = strategy.loss(images, labels, architecture, Position(0, 7, 400))
    logits = strategy.supernet(images, architecture)
    expected = torch.nn.functional.cross_entropy(logits, labels, label_smoothing=strategy.train.label_smoothing)
    torch.testing.assert_close(loss, expected)


def test_the_cost_term_is_lambda_times_the_logarithm_of_millions_of_macs(digits: Images) -> None:
    strategy = strategy_of(build(digits))
    images, labels, path = torch.randn(8, 1, 8, 8), torch.arange(8), strategy.decisions.read_out(strategy.decisions())
    after, before = Position(1, 0, 4), Position(0, 0, 4)
    strategy.config = strategy.config.model_copy(update={"keep": 1.0})
    plain = strategy.loss(images, labels, path, before)
    assert strategy.loss(images, labels, path, after).item() == pytest.approx(plain.item(), abs=1e-6)
    strategy.steering.follow(torch.tensor(0.245376), 4)
    weight = strategy.steering.weight.item()
    assert weight == pytest.approx(0.05 + 0.5 / 4 * math.log(0.245376 / 0.1 / math.exp(-0.05)))
    cost = strategy.loss(images, labels, path, after).item() - plain.item()
    assert cost == pytest.approx(weight * math.log(0.245376), abs=1e-5)


@pytest.mark.parametrize(
    ("bounds", "million", "sign"),
    [
        ((70_000, 100_000), 0.2, 1),
        ((70_000, 100_000), 0.08, 0),
        ((70_000, 100_000), 0.05, -1),
        ((0, 100_000), 0.022, 0),
        ((70_000, 10**9), 0.245, 0),
        ((0, 10**9), 0.1, 0),
    ],
)
def test_lambda_has_the_sign_of_the_distance(bounds: tuple[int, int], million: float, sign: int) -> None:
    """A bound that all architectures keep leads nowhere."""
    steering = Steering(0.05, 0.5, SPACE.window(*bounds), torch.device("cpu"))
    sizes = []
    for _ in range(3):
        steering.follow(torch.tensor(million), 10)
        assert steering.weight.sign().item() == sign
        assert steering.haste.item() == pytest.approx(1.0 if sign else 0.1)
        sizes.append(abs(steering.weight.item()))
    assert sizes == sorted(sizes)
    assert len(set(sizes)) == (3 if sign else 1)


@pytest.mark.parametrize("bounds", [(240_000, 10**6), (30_000, 40_000)])
def test_the_picker_starts_from_the_decided_network_or_its_nearest(
    digits: Images, bounds: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    """All decisions are on: inside the first window, outside the second; which of both is logged."""
    search = build(digits, bounds=bounds)
    strategy = strategy_of(search)
    read_out = strategy.decisions.read_out(strategy.decisions())
    with caplog.at_level("INFO"):
        strategy.end_epoch()
    found = [scored.architecture for scored in strategy.prioritized]
    assert all(one in search.window for one in found)
    assert (found[0] == read_out) == (read_out in search.window)
    assert ("inside the window" in caplog.text) == (read_out in search.window)
    assert ("nearest by its margins" in caplog.text) == (read_out not in search.window)
    assert strategy.facts() == {"read_out": SPACE.text(read_out)}
    picker = build_picker(Picker(NAME="board"), search.window, 0, strategy.prioritized)
    assert picker.ask() == found
    assert len(found) == min(3, search.window.count)


@pytest.mark.parametrize(
    ("level", "dtype"),
    [("O0", "bfloat16"), ("O2", "float16"), pytest.param("O1", "bfloat16", marks=pytest.mark.slow)],
)
def test_a_search_goes_on_to_the_bit(digits: Images, level: str, dtype: str) -> None:
    """Interrupted in the middle of the second epoch; thresholds and lambda are fp32 and move."""
    build_one = lambda: build(digits, precision=Precision(level, dtype, torch.device("cpu")))  # noqa: E731
    whole, resumed = build_one(), build_one()
    whole.run(0, 5)
    state = copy.deepcopy(whole.training.state_dict())
    assert state["strategy_state"]["thresholds"].dtype == torch.float32
    assert state["strategy_state"]["thresholds"].any()
    assert state["strategy_state"]["steering"]["strength"] > 0.05
    resumed.training.load_state_dict(state)
    assert whole.run(5, 8) == resumed.run(5, 8)
    assert_identical(whole.training.state_dict(), resumed.training.state_dict())
    assert [one.to_json() for one in whole.strategy.prioritized] == [
        one.to_json() for one in resumed.strategy.prioritized
    ]


def test_half_weights_are_read_out_as_they_run(digits: Images) -> None:
    search = build(digits, precision=Precision("O2", "float16", torch.device("cpu")))
    strategy, images = strategy_of(search), torch.randn(4, 1, 8, 8)
    search.run(0, 6)
    with torch.no_grad():
        decided = strategy.decisions()
        gated = search.supernet(images, strategy.decisions.path(decided))
        plain = search.supernet(images, strategy.decisions.read_out(decided))
    torch.testing.assert_close(gated, plain, rtol=0.01, atol=0.01)


def test_a_step_that_is_skipped_moves_no_threshold(digits: Images) -> None:
    search = build(digits)
    search.run(0, 6)
    strategy = strategy_of(search)
    before = strategy.thresholds.detach().clone()
    images, labels = next(search.loader.epoch(1, 2))
    images[0] = torch.nan
    search.training.step(images, labels, search.paths(1), Position(1, 2, 4))
    assert search.training.guard.take_faults()[-1]
    assert torch.equal(strategy.thresholds, before)
    search.run(7, 8)
    assert strategy.thresholds.isfinite().all()
    assert not torch.equal(strategy.thresholds, before)


def test_the_path_of_a_step_makes_no_difference(digits: Images) -> None:
    first, second = build(digits), build(digits)
    assert not first.strategy.follows_paths
    images, labels = next(first.loader.epoch(0))
    paths = first.paths(0)
    losses = [
        search.training.step(images, labels, paths[number:], Position(0, 0, 4)).item()
        for number, search in enumerate((first, second))
    ]
    assert losses[0] == losses[1]


def test_the_job_writes_a_pick_inside_the_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """train.py, stopped after its training and continued: the same decided network, named in pick.json."""
    (tmp_path / "nested.yaml").write_text(NESTED)
    recipe = Path(train.__file__).with_name("configs") / "train_spnas.yaml"
    run = [
        *("--cfg", str(recipe), f"SAVE_PATH={tmp_path / 'run'}", f"SUPERNET.SPACE={tmp_path / 'nested.yaml'}"),
        *("DATA={NAME: digits, SEARCH_FRACTION: 0.1, AUGMENT: {SCALE: null}}", "RUNTIME={DEVICE: cpu, THREADS: 1}"),
        *("TRAIN={EPOCHS: 2, STEPS_PER_EPOCH: 3, BATCH_SIZE: 8}", "SEARCH.BOARD={SIZE: 2, IMAGES: 32}"),
        *("FLOPS_MINIMUM=0.07", "FLOPS_MAXIMUM=0.1", "SEARCH.THRESHOLD.WARMUP_EPOCHS=1", "RUNTIME.LOG_INTERVAL=3"),
    ]
    for more in ([], ["RESUME_PATH=auto"]):
        monkeypatch.setattr(sys, "argv", ["train.py", *run, *more])
        train.main()
        pick = json.loads((tmp_path / "run" / "pick.json").read_text())
        assert (pick["strategy"], pick["encoding"], pick["evaluated"]) == ("threshold", "superkernel", 2)
        assert all(70_000 <= entry["macs"] <= 100_000 for entry in pick["architectures"])
        assert SPACE.cost(SPACE.parse(pick["read_out"])).macs > 100_000
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "threshold/macs" in record] == [3, 6]
    assert not any(name.startswith("operations/") for record in records for name in record)


def test_what_threshold_cannot_work_with_is_refused_before_the_images() -> None:
    with pytest.raises(SpaceError, match="block 0 of stage 0 of tiny mixes activations or squeeze-and-excite"):
        check_strategy(Search(STRATEGY="threshold"), tiny_space(TINY))
    table = {"LATENCY_TABLE": "nowhere.json"}
    with pytest.raises(ConfigError, match=r"nowhere\.json cannot be read"):
        check_strategy(Search(STRATEGY="threshold", THRESHOLD=table), SPACE)
    check_strategy(Search(STRATEGY="uniform", THRESHOLD=table), tiny_space(TINY))
    for supernet, message in (
        ({"ENCODING": "separate"}, "SUPERNET.ENCODING is separate, set it to superkernel"),
        ({"RESOLUTIONS": [8, 16]}, "decides no image size"),
    ):
        with pytest.raises(ValueError, match=message):
            Config(SEARCH={"STRATEGY": "threshold"}, SUPERNET=supernet)
