"""Official TFRecord files into a table: every value, every refusal."""

from __future__ import annotations

import base64
import json
import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from configs.errors import DataError
from nasbench.nasbench101 import NASBench
from nasbench.nasbench101.importing import import_official
from nasbench.nasbench101.metrics import decode_metrics
from nasbench.nasbench101.table import METRICS, MOMENTS, ResultsTable
from runtime.tfrecords import write_tfrecords
from supernet.spaces.nasbench101.enumeration import all_orders
from tools.nasbench101.__main__ import main
from tools.speed.nasbench101 import make_metrics, make_records

SAMPLE = "data/nasbench101-official-layout.tfrecord"


def payloads_of(path: Path) -> list[bytes]:
    content, place, payloads = path.read_bytes(), 0, []
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        payloads.append(content[place + 12 : place + 12 + length])
        place += 16 + length
    return payloads


def write(path: Path, payloads: list[bytes]) -> Path:
    with path.open("wb") as file:
        write_tfrecords(file, payloads)
    return path


@pytest.fixture(scope="module")
def made() -> list[bytes]:
    return list(make_records(all_orders().cells[::100_000]))


def test_every_value_of_an_official_file_is_kept(shared_file: Callable[[str], Path], tmp_path: Path) -> None:
    """Read here by another route: fixed places in messages of fixed layout."""
    path = shared_file(SAMPLE)
    expected: dict = defaultdict(lambda: defaultdict(list))
    for payload in payloads_of(path):
        key, epochs, adjacency, operations, encoded = json.loads(payload)
        message = base64.b64decode(encoded)
        evaluations = [struct.unpack_from("<xdxdxdxdxd", message, 47 * entry + 2) for entry in range(3)]
        values = {
            f"{moment}_{metric}": value
            for moment, evaluation in zip(MOMENTS, evaluations[1:])
            for metric, value in zip(METRICS, evaluation[1:])
        }
        expected[key, adjacency, operations][epochs].append(values)
    table, records = import_official(path)
    table.write(tmp_path / "table.safetensors")
    benchmark = NASBench(tmp_path / "table.safetensors")
    assert (records, table.budgets, table.metrics.shape) == (600, (4, 12, 36, 108), (50, 4, 3, 2, 4))
    assert list(benchmark.hash_iterator()) == [key for key, _, _ in expected]
    for (key, adjacency, operations), trainings in expected.items():
        fixed, computed = benchmark.get_metrics_from_hash(key)
        assert computed == trainings
        assert "".join(map(str, fixed["module_adjacency"].ravel())) == adjacency
        assert fixed["module_operations"] == operations.split(",")


def test_the_order_of_records_does_not_matter_but_that_of_repeats(
    made: list[bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, _ = import_official(write(tmp_path / "plain", made))
    monkeypatch.setattr("runtime.tfrecords.BLOCK", 1000)  # repeats of a cell in different batches
    again, _ = import_official(tmp_path / "plain")
    np.testing.assert_array_equal(plain.metrics, again.metrics)
    shuffled, _ = import_official(write(tmp_path / "shuffled", made[::2] + made[1::2]))
    assert len(plain) == len(shuffled) == 5
    np.testing.assert_array_equal(plain.params, shuffled.params)
    np.testing.assert_array_equal(np.sort(plain.metrics, 2), np.sort(shuffled.metrics, 2))
    np.testing.assert_array_equal(plain.metrics[0, 0], shuffled.metrics[0, 0][[0, 2, 1]])


def test_trainings_that_were_not_made_are_nan(made: list[bytes], tmp_path: Path) -> None:
    kept = [made[0], *made[9:12], *made[12:14]]  # first cell: one at 4 epochs, three at 108; second: two at 4
    table, _ = import_official(write(tmp_path / "file", kept))
    assert (table.budgets, table.repeats.tolist()) == ((4, 108), [[1, 3], [2, 0]])
    made_ones = ~np.isnan(table.metrics).any((3, 4))
    assert made_ones.tolist() == [[[True, False, False], [True] * 3], [[True, True, False], [False] * 3]]


def test_messages_with_paths_and_unknown_fields_are_read() -> None:
    plain = make_metrics(108, 60.0, [0.9, 0.8, 0.7], 300)

    def with_path(text: bytes) -> bytes:
        inner = plain[2:47] + bytes([6 << 3 | 2, len(text)]) + text
        unknown = bytes([9 << 3 | 0, 0x85, 0x01, 10 << 3 | 5]) + b"wxyz"
        return bytes([1 << 3 | 2, len(inner)]) + inner + plain[47:] + unknown

    turned = plain[:141] + plain[144:] + plain[141:144]  # of the same length: time before parameters
    messages = [plain, with_path(b"model/1"), with_path(b"model/2"), turned, with_path(b"m")]
    values, params = decode_metrics(messages)
    assert params.tolist() == [300] * 5
    assert (values == values[0]).all()
    assert values[0].tolist() == [[30.0, 0.45, 0.4, 0.35], [60.0, 0.9, 0.8, 0.7]]
    for wrong in (plain[:-1], plain[:94], plain[141:], b""):
        with pytest.raises(ValueError, match=r"its metrics|its message"):
            decode_metrics([plain, wrong])


def damaged(record: bytes, place: int, value: object) -> bytes:
    parts = json.loads(record)
    parts[place] = value
    return json.dumps(parts).encode()


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: b"no json",
        lambda record: b"[1],[2]",
        lambda record: json.dumps({"hash": 1}).encode(),
        lambda record: json.dumps(json.loads(record)[:3]).encode(),
        lambda record: damaged(record, 0, "xyz"),
        lambda record: damaged(record, 0, "00" * 15),
        lambda record: damaged(record, 1, "108"),
        lambda record: damaged(record, 1, 0),
        lambda record: damaged(record, 2, "0" * 48),
        lambda record: damaged(record, 2, "1" * 49),
        lambda record: damaged(record, 3, "input,conv9x9,output"),
        lambda record: damaged(record, 3, "input,output"),
        lambda record: damaged(record, 4, "AA"),
        lambda record: damaged(record, 4, ""),
    ],
)
def test_records_of_another_content_are_refused_with_their_number(
    made: list[bytes], tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = write(tmp_path / "file", [*made[:12], damage(made[-1]), *made[12:20]])
    with pytest.raises(DataError, match="record 12 is none of NAS-Bench-101"):
        import_official(path)


def test_cells_that_contradict_each_other_are_refused(made: list[bytes], tmp_path: Path) -> None:
    other = damaged(made[0], 0, "ab" * 16)
    with pytest.raises(DataError, match="rows 0 and 1 are one cell under two hashes"):
        import_official(write(tmp_path / "twice", [made[0], other]))
    loose = damaged(damaged(made[0], 2, "000000000"), 3, "input,maxpool3x3,output")
    with pytest.raises(DataError, match="row 0 is no cell of NAS-Bench-101"):
        import_official(write(tmp_path / "loose", [loose]))
    with pytest.raises(DataError, match="holds no records"):
        import_official(write(tmp_path / "empty", []))


def test_the_command_leaves_nothing_half_written(
    made: list[bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, table = write(tmp_path / "file", made), tmp_path / "table.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    with pytest.raises(DataError, match="record 59 is cut off"):
        main(["import", str(path), "--out", str(table)])
    assert not list(tmp_path.glob("*table*"))
    path.write_bytes(content)
    main(["import", str(path), "--out", str(table)])
    assert "5 cells at 4, 12, 36, 108 epochs, up to 3 trainings each" in capsys.readouterr().out
    key = json.loads(made[0])[0]
    main(["query", "--table", str(table), "--hash", key])
    shown = json.loads(capsys.readouterr().out)
    assert (shown["hash"], len(shown["trainings"]["108"])) == (key, 3)
    assert len(ResultsTable.open(table)) == 5


def test_enumerate_counts_all_cells(capsys: pytest.CaptureFixture[str]) -> None:
    main(["enumerate", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["cells"] == sum(shown["vertices"].values()) == sum(shown["edges"].values()) == 423_624
