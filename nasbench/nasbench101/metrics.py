"""The published records' protocol buffers: `ModelMetrics` with its `EvaluationData`, many at once.

    message EvaluationData { double current_epoch = 1, training_time = 2, train_accuracy = 3, validation_accuracy = 4,
                             test_accuracy = 5; string checkpoint_path = 6; }
    message ModelMetrics { repeated EvaluationData evaluation_data = 1; int32 trainable_parameters = 2;
                           double total_time = 3; }

Messages of one length nearly always have one layout. The first of them is parsed field by field; the others are
compared with its structure, and their values are taken from the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.protobuf import BYTES, FIXED64, VARINT, Field, read_fields

EVALUATION, PARAMETERS = 1, 2  # fields of ModelMetrics
VALUES = (2, 3, 4, 5)  # fields of EvaluationData: training time, train, validation and test accuracy
MOMENTS = (1, 2)  # of the evaluations at the start, half of the budget and its end, the last two
STRUCTURE, CONTINUATION, FREE = 0xFF, 0x80, 0x00  # bits of a byte that two messages of a layout share
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """Where a message has what.

    Attributes:
        shared: (L,) the bits of each byte that are structure.
        doubles: (64,) the places of the bytes of 2 x 4 values.
        parameters: the places of the varint's bytes.
    """

    shared: Bytes
    doubles: NDArray[np.intp]
    parameters: range


def decode_metrics(messages: Sequence[bytes]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Values (N, 2, 4), halfway and final training time (s) and train, validation, test accuracy, and parameters (N,).

    Raises:
        ValueError: a message is malformed or lacks one of them.
    """
    values, parameters = np.empty((len(messages), 2, len(VALUES))), np.empty(len(messages), np.int64)
    lengths = np.fromiter(map(len, messages), np.int64, len(messages))
    for length in np.unique(lengths).tolist():
        left = np.flatnonzero(lengths == length)
        rows = np.frombuffer(b"".join([messages[place] for place in left.tolist()]), np.uint8).reshape(
            len(left), length
        )
        while len(left):
            layout = _read_layout(messages[left[0]])
            alike = ((rows ^ rows[0]) & layout.shared == 0).all(1)
            values[left[alike]] = rows[alike].take(layout.doubles, 1).view("<f8").reshape(-1, 2, len(VALUES))
            bits = (rows[alike][:, layout.parameters] & 0x7F).astype(np.int64)
            parameters[left[alike]] = (bits << 7 * np.arange(bits.shape[1])).sum(1)
            left, rows = left[~alike], rows[~alike]
    return values, parameters


def _read_layout(message: bytes) -> Layout:
    shared = np.full(len(message), STRUCTURE, np.uint8)
    evaluations: list[dict[int, int]] = []
    parameters = range(0)
    for field in read_fields(message, 0, len(message)):
        if (field.number, field.kind) == (EVALUATION, BYTES):
            evaluations.append(_read_evaluation(message, field, shared))
            continue
        shared[field.value : field.end] = CONTINUATION if field.kind == VARINT else FREE
        if (field.number, field.kind) == (PARAMETERS, VARINT):
            parameters = range(field.value, field.end)
    try:
        starts = [evaluations[moment][number] for moment in MOMENTS for number in VALUES]
    except (IndexError, KeyError):
        raise ValueError("its metrics lack the halfway or the final evaluation") from None
    if not parameters:
        raise ValueError("its metrics lack trainable_parameters")
    return Layout(shared, np.add.outer(starts, range(8)).ravel(), parameters)


def _read_evaluation(message: bytes, field: Field, shared: Bytes) -> dict[int, int]:
    """Where the doubles of an EvaluationData start, by number."""
    starts = {}
    for inner in read_fields(message, field.value, field.end):
        shared[inner.value : inner.end] = CONTINUATION if inner.kind == VARINT else FREE
        if inner.kind == FIXED64:
            starts[inner.number] = inner.value
    return starts
