"""A big pickle of records by index, read one record at a time.

Unpickled as a whole, an official file takes several times its size in memory, because the unpickler remembers every
object in case a later one refers to it. Here a first pass only finds where each record begins and ends, and which
objects are referred to from another record: names of fields, above all. The second unpickles one record after the
other, and between them keeps only those objects.
"""

from __future__ import annotations

import io
import pickle
import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any

from nasbench.nasbench201.unpickling import SafeUnpickler, open_pickle

BLOCK = 1 << 22  # bytes read at once
AHEAD = 1 << 12  # bytes that are looked at together
LONGEST_HEAD = 1 << 26
PROTOCOL = b"\x80\x02"  # later ones number what they remember without writing the numbers down
RECORDS = re.compile(rb"X\n\x00\x00\x00arch2infos(?:q.|r.{4})\}(?:q.|r.{4})\(", re.DOTALL)  # the key, a dictionary
RECORD = re.compile(rb"(?:K.|M..|J.{4})\}(?:q(.)|r(.{4}))", re.DOTALL)  # an index, a dictionary and its number
INDICES, OPEN, CLOSE, STOP = b"KMJ", b"(", b"u", b"."


class NotSplittable(Exception):
    """The file is not built as the official ones are; it can only be read as a whole."""


@dataclass(frozen=True)
class Layout:
    """What the first pass found.

    Attributes:
        head: what the file says before the records. memo: the objects in it, by number.
        spans: where each record, an index and its value, begins and ends in the pickle, and its first object's number.
        shared: numbers of the objects that are referred to from other records, ascending.
    """

    head: dict[str, Any]
    memo: dict[int, Any]
    spans: list[tuple[int, int, int]]
    shared: list[int]

    def has_shared(self, record: int) -> bool:
        """Whether later records refer to an object of this one."""
        ends = [first for _, _, first in self.spans[record + 1 : record + 2]] or [1 << 32]
        return bisect_left(self.shared, self.spans[record][2]) < bisect_left(self.shared, ends[0])


def find_records(path: Path) -> Layout:
    """The first pass.

    Raises:
        NotSplittable: records are not where official files have them. What broken files raise, as `open_pickle`.
    """
    with open_pickle(path) as file:
        scanner = _Scanner(file)
        head, memo = scanner.read_head()
        spans, shared = scanner.find_spans()
        return Layout(head, memo, spans, sorted(shared))


def read_records(path: Path, layout: Layout, start: int) -> Iterator[tuple[int, Any]]:
    """The second pass: index and value of each record from the given one on; raises what broken files raise."""
    memo = dict(layout.memo)
    with open_pickle(path) as file:
        place = 0
        for number, (begin, end, _) in enumerate(layout.spans):
            if number < start and not layout.has_shared(number):
                continue
            while place < begin:
                place += len(file.read(min(begin - place, BLOCK)))
            record, memo = _load(PROTOCOL + file.read(end - begin) + b"\x86.", memo)  # a pair
            memo = {key: memo[key] for key in layout.shared if key in memo}
            place = end
            if number >= start:
                yield record


def _load(content: bytes, memo: dict[int, Any]) -> tuple[Any, dict[int, Any]]:
    """The value of a pickle that refers to objects of others, and all objects by number."""
    unpickler = _RememberingUnpickler(io.BytesIO(content))
    unpickler.memo = memo
    return unpickler.load(), memo


class _RememberingUnpickler(pickle._Unpickler):
    """Python's own unpickler, whose memory can be looked at; that of the fast one is an array over all numbers."""

    memo: dict[int, Any]
    find_class = SafeUnpickler.find_class


class _Scanner:
    """Goes through a pickle's instructions without carrying them out."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.buffer, self.before, self.at = file, b"", 0, 0

    def read_head(self) -> tuple[dict[str, Any], dict[int, Any]]:
        """Load what comes before the records, and go to the first of them."""
        found = None
        while found is None:
            if not self._fill() or len(self.buffer) > LONGEST_HEAD or not self.buffer.startswith(PROTOCOL):
                raise NotSplittable
            found = RECORDS.search(self.buffer)
        self.at = found.end()
        head, memo = _load(self.buffer[: self.at - 1] + CLOSE + STOP, {})
        if not isinstance(head, dict) or "meta_archs" not in head or head.get("arch2infos") != {}:
            raise NotSplittable
        return head, memo

    def find_spans(self) -> tuple[list[tuple[int, int, int]], set[int]]:
        """Where records begin and end, and the objects they share; then go to the end of the pickle."""
        spans: list[tuple[int, int, int]] = []
        shared: set[int] = set()
        while self._peek() in INDICES:
            begin = self.before + self.at
            first, outside = self._skip_record()
            shared |= outside
            spans.append((begin, self.before + self.at, first))
            if self._peek() == CLOSE:
                self.at += 1
                if self._peek() == OPEN:  # records come in batches
                    self.at += 1
                    continue
                break
        while (operation := self._next()) != STOP:
            self._skip(operation)
        while self.file.read(BLOCK):  # to the end, where checksums are
            pass
        return spans, shared

    def _skip_record(self) -> tuple[int, set[int]]:
        """Go past a record; its first object's number, and those of the objects outside that it refers to."""
        if len(self.buffer) - self.at < AHEAD:
            self._fill()
        found = RECORD.match(self.buffer, self.at)
        if found is None:
            raise NotSplittable
        first = int.from_bytes(found[1] or found[2], "little")
        self.at, depth = found.end(), 0
        outside: set[int] = set()
        while True:
            operation = self._next()
            if operation in b"(ute":
                depth += 1 if operation == OPEN else -1
                if depth == 0 and self._peek() in b"KMJu":
                    return first, outside
            elif operation in b"hj":
                number = int.from_bytes(self._take(1 if operation == b"h" else 4), "little")
                if number < first:
                    outside.add(number)
            else:
                self._skip(operation)

    def _skip(self, operation: bytes) -> None:
        """Go past the arguments of an instruction that is neither of those above nor in a run."""
        if operation == b"c":
            self.at = self.buffer.index(b"\n", self.buffer.index(b"\n", self.at) + 1) + 1
        elif operation == b"X":
            self._take(int.from_bytes(self._take(4), "little"))
        elif operation == b"\x8a":
            self._take(self._take(1)[0])
        elif operation in b"hj":
            self._take(1 if operation == b"h" else 4)
        elif operation in b"GKqrJM":  # a part of a run, but for its arguments
            raise EOFError("the file is cut off")
        elif operation not in b"(ute":
            raise NotSplittable

    def _next(self) -> bytes:
        """The next instruction that is not part of a run."""
        run = _run()
        while True:
            while found := run.match(self.buffer, self.at):
                self.at = found.end()
            if len(self.buffer) - self.at >= AHEAD or not self._fill():
                return self._take(1)

    def _peek(self) -> bytes:
        operation = self._take(1)
        self.at -= 1
        return operation

    def _take(self, count: int) -> bytes:
        while len(self.buffer) - self.at < count:
            if not self._fill():
                raise EOFError("the file is cut off")
        self.at += count
        return self.buffer[self.at - count : self.at]

    def _fill(self) -> bool:
        """Read on; False at the end of the file."""
        block = self.file.read(BLOCK)
        self.buffer, self.before, self.at = self.buffer[self.at :] + block, self.before + self.at, 0
        return bool(block)


@cache
def _run() -> re.Pattern[bytes]:
    """Instructions that neither open nor close anything and refer to nothing, with texts below 256 bytes."""
    texts = b"|".join(re.escape(bytes([size])) + rb"\x00\x00\x00.{%d}" % size for size in range(256))
    plain = rb"G.{8}|[Kq].|[rJ].{4}|M..|X(?:" + texts + rb")|[N\x88\x89}\])Rbas\x81\x85\x86\x87]"
    return re.compile(rb"(?:" + plain + rb"){1,1000}", re.DOTALL)
