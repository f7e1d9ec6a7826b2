"""TFRecord files: checksums, framing, and what is said of broken ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from configs.errors import DataError
from runtime import tfrecords
from runtime.tfrecords import masked_crc32c, read_tfrecords, write_tfrecords


def unmask(value: int) -> int:
    rotated = (value - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated << 15 | rotated >> 17) & 0xFFFFFFFF


@pytest.mark.parametrize(
    ("text", "crc"),
    [
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (b"", 0),
    ],
)
def test_checksums_are_those_of_rfc_3720(text: bytes, crc: int) -> None:
    (masked,) = masked_crc32c(np.frombuffer(text, np.uint8)[None]).tolist()
    assert unmask(masked) == crc


def write(path: Path, payloads: list[bytes]) -> bytes:
    with path.open("wb") as file:
        write_tfrecords(file, payloads)
    return path.read_bytes()


def read(path: Path) -> list[bytes]:
    batches = list(read_tfrecords(path))
    assert [batch.first for batch in batches] == np.cumsum([0, *(len(batch.payloads) for batch in batches)])[
        :-1
    ].tolist()
    return [payload for batch in batches for payload in batch.payloads]


@given(st.lists(st.binary(max_size=300), max_size=12), st.integers(20, 400))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, payloads: list[bytes], block: int) -> None:
    path = tmp_path_factory.mktemp("records") / "file"
    write(path, payloads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tfrecords, "BLOCK", block)
        assert read(path) == payloads


@given(st.data())
def test_every_flipped_bit_is_found_and_its_record_named(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    payloads = [bytes([number]) * (20 + number) for number in range(4)]
    path = tmp_path_factory.mktemp("records") / "file"
    content = bytearray(write(path, payloads))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    ends = np.cumsum([16 + len(payload) for payload in payloads])
    with pytest.raises(DataError, match=rf"record {np.searchsorted(ends, place, 'right')} is"):
        read(path)


def test_a_cut_file_is_refused_with_the_record(tmp_path: Path) -> None:
    path = tmp_path / "file"
    content = write(path, [b"a" * 50] * 10)
    for kept in (66 * 7 + 1, 66 * 7 + 12, 66 * 8 - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(DataError, match="record 7 is cut off or corrupt"):
            read(path)
    path.write_bytes(content[: 66 * 7])
    assert len(read(path)) == 7


def test_another_file_is_refused_without_reading_all_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"\xff" * 1_000_000)
    monkeypatch.setattr(tfrecords, "BLOCK", 200_000)
    with pytest.raises(DataError, match="record 0 is cut off or corrupt"):
        read(path)
    with pytest.raises(DataError, match="cannot be read: No such file"):
        read(tmp_path / "nowhere")
