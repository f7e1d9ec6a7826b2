"""The benchmarks run and report what they claim; how fast anything is, no test says."""

from __future__ import annotations

import json
import time
from itertools import groupby

import pytest

from configs.errors import ConfigError
from tools.speed import cream, data, depthwise, nasbench101, retrain, step
from tools.speed.__main__ import main
from tools.speed.timing import Timing, take_turns

SMALL = ["--resolution", "16", "--batch-size", "2", "--repeats", "2", "--seconds", "0.01", "--threads", "1", "--json"]


def measure(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    step.main([*SMALL, "--device", "cpu", *arguments])
    return json.loads(capsys.readouterr().out)


def test_a_step_of_each_encoding_is_measured_beside_the_plain_network(capsys: pytest.CaptureFixture[str]) -> None:
    result = measure(capsys, "--space", "fashion", "--path", "[[0],[1],[2]]")
    assert (result["path"], result["resolution"], result["batch_size"]) == ("[[0],[1],[2]]", 16, 2)
    rates = result["images_per_second"]
    assert list(rates) == ["supernet, superkernel", "supernet, separate", "plain network"]
    for rate in rates.values():
        assert 0 < rate["lowest"] <= rate["median"] <= rate["highest"]
        assert rate["ratios"]["plain network"] > 0
    assert rates["plain network"]["ratios"]["plain network"] == 1.0


def test_spnas_is_measured_beside_timm(capsys: pytest.CaptureFixture[str]) -> None:
    rates = measure(capsys, "--space", "spnas")["images_per_second"]
    assert "timm spnasnet_100" in rates
    assert rates["timm spnasnet_100"]["ratios"]["timm spnasnet_100"] == 1.0


def test_a_prioritized_step_is_measured_beside_the_uniform_one(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--board-images", "16", "--paths", "2", "--batch-size", "4", "--encoding", "superkernel"]
    cream.main([*SMALL, "--device", "cpu", "--space", "fashion", *few])
    result = json.loads(capsys.readouterr().out)
    assert (result["space"], result["encoding"], result["batch_size"]) == ("fashion", "superkernel", 4)
    parts, rates = result["milliseconds"], result["images_per_second"]
    updates = [parts[name] for name in ("matching update", "board update", "drawing a path")]
    assert min(parts.values()) > 0 or parts["drawing a path"] == 0
    whole = parts["prioritized step"] + sum(updates)
    assert rates["prioritized"]["median"] == pytest.approx(4e3 / whole, rel=0.01)
    assert rates["uniform"]["median"] == pytest.approx(4e3 / parts["uniform step"], rel=0.01)
    assert 0 < result["ratio"] < 1


def test_retraining_is_measured_beside_timm(capsys: pytest.CaptureFixture[str]) -> None:
    retrain.main([*SMALL, "--device", "cpu", "--mode", "eager", "--precision", "O2"])
    result = json.loads(capsys.readouterr().out)
    assert (result["precision"], result["dtype"]) == ("O2", "bfloat16")
    ratios = result["ratios"]["eager"]
    assert list(result["images_per_second"]) == [f"{name}, eager" for name in ("ours", *ratios)]
    assert len(ratios) == 2
    assert min(ratios.values()) > 0


def test_loading_is_measured_beside_timm(capsys: pytest.CaptureFixture[str]) -> None:
    few = ["--resolution", "16", "--batch-size", "4", "--images", "8", "--shorter-side", "32"]
    data.main([*few, "--repeats", "1", "--seconds", "0.01", "--json"])
    result = json.loads(capsys.readouterr().out)
    rates = result["images_per_second_and_core"]
    assert list(rates) == ["image folder", "shards", "shards, shorter side 32", "timm's loader, folder"]
    assert rates["timm's loader, folder"]["ratio"] == result["decoding_alone"]["Pillow"]["ratio"] == 1.0
    assert 70 < result["kilobytes"]["as_given"] < 130, "ImageNet's mean is about 110 kB"
    assert result["kilobytes"]["shrunk"] < 5


def test_depthwise_convolutions_are_measured_beside_the_librarys(capsys: pytest.CaptureFixture[str]) -> None:
    depthwise.main(["--batch-size", "2", "--repeats", "1", "--seconds", "0.001", "--threads", "1", "--json"])
    for row in json.loads(capsys.readouterr().out):
        assert row["ratio"] == pytest.approx(row["torch"] / row["ours"])


def test_queries_of_nasbench101_are_measured(capsys: pytest.CaptureFixture[str]) -> None:
    nasbench101.main(["--cells", "20", "--queries", "50", "--json"])
    speed = json.loads(capsys.readouterr().out)
    assert speed["records"] == 240
    assert speed["query_many_hashes_per_second"] > 0


def test_contestants_take_turns() -> None:
    calls: list[str] = []

    def contestant(name: str, seconds: float) -> None:
        calls.append(name)
        time.sleep(seconds)

    timings = take_turns(
        {"slow": lambda: contestant("slow", 0.02), "fast": lambda: contestant("fast", 0.002)}, 3, seconds=0.02
    )
    assert timings["fast"].median < timings["slow"].median
    assert timings["fast"].ratio(timings["slow"]) > 1.0
    timed = "".join(name[0] for name in calls[4:])
    assert timed.count("sf") == 3, "a turn of one follows a turn of the other"
    assert timed.startswith("s")


def test_a_ratio_compares_each_repeat_with_its_own() -> None:
    drifting, rival = Timing((1.0, 2.0, 4.0)), Timing((2.0, 4.0, 8.0))
    assert (drifting.median, drifting.ratio(rival), rival.ratio(drifting)) == (2.0, 2.0, 0.5)


def test_long_turns_are_cut_into_slices() -> None:
    calls: list[str] = []

    def contestant(name: str) -> None:
        calls.append(name)
        time.sleep(0.1)

    take_turns({"first": lambda: contestant("f"), "second": lambda: contestant("s")}, 1, seconds=0.9)
    slices = [name for name, _ in groupby(calls[4:])]
    assert len(slices) > 2
    assert slices == ["f", "s"] * (len(slices) // 2)


def test_an_unknown_benchmark_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["tools.speed", "stepp"])
    with pytest.raises(ConfigError, match=r"step, retrain, cream, window, depthwise.*'stepp'"):
        main()
