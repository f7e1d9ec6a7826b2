"""The published keys of many cells at once: `hash_graph`, vectorised."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from runtime.progress import track
from supernet.spaces.nasbench101.cell import LABELS, MASK_SHIFT, VERTICES_SHIFT, edge_bit
from supernet.spaces.nasbench101.hashing import first_colour
from supernet.spaces.nasbench101.md5 import md5_texts

BATCH = 8192  # cells hashed together
HEX = np.array([f"{value:02x}" for value in range(256)], "S2")
Bytes = NDArray[np.uint8]
Colours = NDArray[np.bytes_]  # S32: hexadecimal, because the keys sort and join the texts


def hash_cells(codes: NDArray[np.uint32], threads: int | None = None, announce: bool = False) -> Bytes:
    """The keys (N, 16) of cells (N,), in threads, because numpy computes outside of Python's lock.

    Args:
        codes: `Cell.code`, ascending.
        threads: None: one for each core.
        announce: show progress.
    """
    borders = np.flatnonzero(np.diff(codes >> VERTICES_SHIFT)) + 1
    parts = [
        group[start : start + BATCH] for group in np.split(codes, borders) for start in range(0, len(group), BATCH)
    ]
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        hashed = pool.map(_hash_part, parts)
        return np.concatenate([np.empty((0, 16), np.uint8), *track(hashed, len(parts), "hashing", "parts", announce)])


def _hash_part(codes: NDArray[np.uint32]) -> Bytes:
    """Keys of cells with one number of vertices."""
    vertices = int(codes[0] >> VERTICES_SHIFT)
    adjacency = np.zeros((len(codes), vertices, vertices), bool)
    for target in range(vertices):
        for source in range(target):
            adjacency[:, source, target] = codes >> np.uint32(MASK_SHIFT + edge_bit(source, target)) & 1
    labels = np.full((len(codes), vertices), -1)
    labels[:, -1] = -2
    for vertex in range(1, vertices - 1):
        labels[:, vertex] = (codes & LABELS) // 3 ** (vertices - 2 - vertex) % 3
    return _hash_graphs(adjacency, labels)


def _hash_graphs(adjacency: NDArray[np.bool_], labels: NDArray[np.int64]) -> Bytes:
    fed, feeds = adjacency.sum(1), adjacency.sum(2)
    colours = _first_colours(feeds, fed, labels)
    groups = list(_groups(adjacency, fed, feeds))
    for _ in range(labels.shape[1]):
        refined = np.empty_like(colours)
        for cells, vertex, before, after in groups:
            sources, targets = (np.sort(colours[cells[:, None], group], 1) for group in (before, after))
            text = _join([sources, b"|", targets, b"|", colours[cells, vertex, None]])
            refined[cells, vertex] = HEX[md5_texts(text)].view("S32").ravel()
        colours = refined
    listed = [piece for column in np.sort(colours, 1).T for piece in (b"', '", column[:, None])]
    return md5_texts(_join([b"['", *listed[1:], b"']"]))


def _first_colours(feeds: NDArray[np.int64], fed: NDArray[np.int64], labels: NDArray[np.int64]) -> Colours:
    labelled = (0, 1, 2, -2, -1)  # as numpy counts places, from the end too
    degrees = range(labels.shape[1])
    table = [[[first_colour(out, into, label) for label in labelled] for into in degrees] for out in degrees]
    return np.array(table, "S32")[feeds, fed, labels]


def _groups(
    adjacency: NDArray[np.bool_], fed: NDArray[np.int64], feeds: NDArray[np.int64]
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Vertices of equal degrees, whose texts have one length: cells (M,), vertices (M,), neighbours (M, degree)."""
    for entering, leaving in np.unique(np.stack([fed.ravel(), feeds.ravel()], 1), axis=0):
        cells, vertex = np.nonzero((fed == entering) & (feeds == leaving))
        before = np.nonzero(adjacency[cells, :, vertex])[1].reshape(len(cells), entering)
        after = np.nonzero(adjacency[cells, vertex])[1].reshape(len(cells), leaving)
        yield cells, vertex, before, after


def _join(pieces: Sequence[bytes | Colours]) -> Bytes:
    """Texts (N, length) of constant pieces and of colours (N, k)."""
    count = next(len(piece) for piece in pieces if isinstance(piece, np.ndarray))
    columns = [
        np.ascontiguousarray(piece).view(np.uint8).reshape(count, 32 * piece.shape[1])
        if isinstance(piece, np.ndarray)
        else np.frombuffer(piece, np.uint8)[None].repeat(count, 0)
        for piece in pieces
    ]
    return np.concatenate(columns, 1)
