"""The comparison of picks with random architectures, on a finished study whose files are written here."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy import stats

from configs.errors import ConfigError
from runtime.seeds import make_generator
from supernet.catalog import build_space
from supernet.pick import Pick, PickedArchitecture
from tools import against_random
from tools.comparison import STUDENT, kendall_tau, mean_interval

SPACE = build_space("fashion")
WINDOW = SPACE.window(1_000_000, 3_000_000)
TESTS = {0: [92.0, 90.0, 91.0, 92.5], 1: [91.0, 90.0, 90.5, 91.0]}  # the pick's first
OUT = Path("study")


def write(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def arguments(*more: str) -> list[str]:
    recipes = Path(against_random.ROOT) / "configs" / "quickstart"
    named = {"--cfg": "train", "--retrain": "retrain", "--test": "test"}
    given = [text for name, job in named.items() for text in (name, str(recipes / f"{job}.yaml"))]
    return [*given, "--random", "3", "--seeds", "0", "1", "--jobs", "2", "--out", str(OUT), *more]


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[against_random.Contender]:
    """Two seeds, the pick and three random architectures each, all trained and tested."""
    monkeypatch.chdir(tmp_path)
    contenders = []
    for seed in TESTS:
        best = WINDOW.sample(make_generator(seed, "test"), 1)[0]
        cost = SPACE.cost(best)
        (OUT / f"seed-{seed}" / "search").mkdir(parents=True)
        pick = Pick(SPACE, (PickedArchitecture(best, 80.0, cost.macs, cost.params),))
        pick.write(OUT / f"seed-{seed}" / "search" / "pick.json", WINDOW, {})
        contenders += finish(seed)
    return contenders


def finish(seed: int) -> list[against_random.Contender]:
    """The result files of a seed's contenders; by the supernet's weights they rank as they test, backwards."""
    options = against_random._parser().parse_intermixed_args(arguments())
    contenders = against_random.Study(options).draw(seed)
    for one, top1 in zip(contenders, TESTS[seed]):
        cost = SPACE.cost(one.architecture)
        trained = {"selection": one.text, "architecture": one.architecture.to_list(), "search": {"top1": top1 + 1}}
        write(one.folder / "result.json", {**trained, "macs": cost.macs, "params": cost.params})
        write(one.folder / "test" / "result.json", {"test": {"top1": top1, "images": 10_000}})
    write(OUT / f"seed-{seed}" / "supernet.json", {one.text: -top1 for one, top1 in zip(contenders, TESTS[seed])})
    return contenders


def test_a_finished_study_is_compared_without_running_anything(
    study: list[against_random.Contender], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(against_random.subprocess, "run", None)
    against_random.main(arguments())
    result = json.loads((OUT / "comparison.json").read_text())
    first, second = result["seeds"]
    assert first["random_mean"] == pytest.approx(91.1666667)
    assert (first["difference"], second["difference"]) == pytest.approx((0.8333333, 0.5))
    assert first["random_deviation"] == pytest.approx(1.2583057)
    assert first["random_standard_error"] == pytest.approx(1.2583057 / 3**0.5)
    assert first["binomial"] == pytest.approx(100 * (0.92 * 0.08 / 10_000) ** 0.5)
    assert (first["rank"], second["rank"]) == (2, 1)
    assert first["tau_supernet"] == pytest.approx(-1.0)
    macs = [SPACE.cost(one.architecture).macs for one in study[:4]]
    assert first["tau_macs"] == pytest.approx(stats.kendalltau(macs, TESTS[0]).statistic)
    assert first["macs_rank"] == sorted(macs, reverse=True).index(macs[0]) + 1
    low, high = stats.t.interval(0.95, 1, loc=2 / 3, scale=stats.sem([0.8333333, 0.5]))
    assert result["mean_difference"] == pytest.approx(2 / 3)
    assert result["half_width_95"] == pytest.approx((high - low) / 2, rel=1e-3)
    printed = capsys.readouterr().out
    assert (OUT / "comparison.md").read_text().strip() == printed[printed.index("Pick minus") :].strip()
    for shown in (
        "+0.67 points",
        "(2 seeds, 95 % interval ± 2.12",
        "| 92.00 | 91.17 ± 1.26 | +0.83 ± 0.73 | 0.27 | 2 |",
    ):
        assert shown in printed


def test_the_drawn_are_distinct_in_the_window_and_without_the_pick(study: list[against_random.Contender]) -> None:
    for start in (0, 4):
        drawn = [one.architecture for one in study[start : start + 4]]
        assert len(set(drawn)) == 4
        assert all(one in WINDOW for one in drawn)
    assert {one.architecture for one in study[1:4]} != {one.architecture for one in study[5:8]}


def test_only_what_is_missing_is_run_and_a_failure_names_its_command(study: list[against_random.Contender]) -> None:
    """A lost test result: test.py really runs, and refuses a run folder without weights."""
    (study[2].folder / "test" / "result.json").unlink()
    with pytest.raises(against_random.StudyError, match=r"test\.py --cfg .*SEED=0 .*status 1: error: .*no checkpoint"):
        against_random.main(arguments())
    assert [path.name for path in OUT.rglob("*.log")] == ["random-02.log"]


def test_other_recipes_are_refused(study: list[against_random.Contender]) -> None:
    with pytest.raises(ConfigError, match="another --out"):
        against_random.main(arguments("TRAIN.EPOCHS=9"))


def test_the_result_of_another_architecture_is_refused(study: list[against_random.Contender]) -> None:
    (study[1].folder / "result.json").write_text((study[2].folder / "result.json").read_text())
    with pytest.raises(ConfigError, match=r"random-01 holds another architecture"):
        against_random.main(arguments())


def test_image_sizes_as_a_choice_are_refused(study: list[against_random.Contender]) -> None:
    with pytest.raises(ConfigError, match="at one image size"):
        against_random.main(arguments("SUPERNET.RESOLUTIONS=[28,20]"))


def test_more_architectures_than_the_window_holds_are_refused(study: list[against_random.Contender]) -> None:
    with pytest.raises(ConfigError, match=r"window holds 8525 architectures"):
        against_random.main(arguments("--random", "8525"))


def test_the_statistics_agree_with_scipy() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        first, second = torch.randint(0, 6, (2, 8), generator=generator).tolist()
        assert kendall_tau(first, second) == pytest.approx(stats.kendalltau(first, second).statistic)
    assert kendall_tau([1, 1, 1], [1, 2, 3]) is None
    assert pytest.approx([stats.t.ppf(0.975, freedom) for freedom in range(1, 11)], abs=5e-4) == STUDENT
    assert mean_interval([1.0]) == (1.0, None)
