import json
from pathlib import Path

import pytest

from configs.errors import ConfigError
from tools import report


def write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    entry = {"text": "[[0],[1]]", "macs": 1_500_000, "params": 1234, "accuracy": 81.5}
    window = {"minimum": 1_000_000, "maximum": 3_000_000, "count": 42}
    pick = {"space": "tiny", "window": window, "evaluated": 7, "seconds": 90, "command": "c", "architectures": [entry]}
    write(tmp_path / "search" / "pick.json", pick)
    retrained = {"selection": "[[0],[1]]", "macs": 1_500_000, "params": 1234, "search": {"top1": 91.25}, "seconds": 30}
    write(tmp_path / "pick" / "result.json", retrained)
    write(tmp_path / "pick" / "test" / "result.json", {"test": {"top1": 90.5}, "seconds": 6})
    return tmp_path


def test_the_table_shows_costs_accuracies_and_minutes(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["--search", str(runs / "search"), "--trained", str(runs / "pick"), "--svg", str(runs / "table.svg")])
    printed = capsys.readouterr().out
    for shown in ("42 architectures in [1, 3] million MACs", "1.50", "1,234", "81.50", "91.25", "90.50", "0:02:06"):
        assert shown in printed
    assert (runs / "table.svg").read_text().startswith("<svg")


def test_an_unfinished_run_is_named(runs: Path) -> None:
    with pytest.raises(ConfigError, match=r"other.*not finished"):
        report.main(["--search", str(runs / "search"), "--trained", str(runs / "other")])


def test_trainings_of_several_networks_in_the_model_zoos_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = {"device": "npu", "processes": 8, "epochs": 100, "precision": "O2", "torch": "2.13.0+cpu"}
    speed = {"images_per_second": 3860.2411}
    write(tmp_path / "a/result.json", {**ran, "selection": "14", "search": {"top1": 53.5}, "speed": speed})
    write(tmp_path / "a/test/result.json", {"test": {"top1": 52.25}})
    quick = {**ran, "device": "cuda", "processes": 1, "precision": "O0", "speed": {"images_per_second": None}}
    write(tmp_path / "b/result.json", {**quick, "selection": "43", "search": {}})
    write(tmp_path / "c/pick.json", {**ran, "architectures": [{"accuracy": 61.0}], "speed": speed})
    report.main(["--zoo", *(str(tmp_path / name) for name in "abc")])
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 14 8p-NPU | 52.250 | 3860.241 | 100 | O2 | Torch2.13.0 |",
        "| 43 1p-GPU | - | - | 100 | - | Torch2.13.0 |",
        "| supernet 8p-NPU | 61.000 | 3860.241 | 100 | O2 | Torch2.13.0 |",
    ]
    with pytest.raises(ConfigError, match="no training that tells its speed"):
        report.main(["--zoo", str(tmp_path / "a/test")])


def test_boards_over_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [
        {"epoch": 0, "board/best": 30.0, "board/worst": 20.0},
        {"epoch": 0, "board/best": 35.04, "board/worst": 28.0},
        {"epoch": 0, "search/top1": 1.0},
        {"epoch": 1, "board/best": 50.0, "board/worst": 41.0},
    ]
    for name, count in (("a", 4), ("b", 1)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records[:count]))
    report.main(["--board", str(tmp_path / "a"), str(tmp_path / "b")])
    assert capsys.readouterr().out.splitlines() == [
        f"| epoch | {tmp_path}/a | {tmp_path}/b |",
        "| --- | ---: | ---: |",
        "| 1 | 28.0 to 35.0 | 20.0 to 30.0 |",
        "| 2 | 41.0 to 50.0 |  |",
    ]
    (tmp_path / "b/metrics.jsonl").write_text("")
    with pytest.raises(ConfigError, match="records no board"):
        report.main(["--board", str(tmp_path / "b")])
