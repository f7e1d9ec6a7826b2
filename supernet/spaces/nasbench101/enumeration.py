"""All cells of NAS-Bench-101, told apart exactly: by permuting vertices, not by comparing hashes.

A cell's canonical order is the first in the official generator's: vertices ascending, masks ascending, labels
lexicographic. All orders of a cell are reached from one by permuting the vertices between input and output, so the
smallest code among them is the canonical one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from supernet.spaces.nasbench101.cell import (
    LABELS,
    MASK,
    MASK_SHIFT,
    MAX_EDGES,
    MAX_VERTICES,
    OPERATIONS,
    VERTICES_SHIFT,
    Cell,
    edge_bit,
)

Codes = NDArray[np.uint32]
BACKWARDS = 1 << 40  # the weight of an edge that would lead to an earlier vertex


@dataclass(frozen=True)
class Orders:
    """Every labelled cell inside the domain, 1,293,208 of them, by code, and the canonical order of each."""

    codes: Codes
    canonical: Codes

    @cached_property
    def cells(self) -> Codes:
        """The codes of the different cells, 423,624, in the official generator's order."""
        return self.codes[self.codes == self.canonical]


@cache
def all_orders() -> Orders:
    """Enumerate the space; about a second once, and 10 MB kept."""
    codes, canonical = [], []
    for vertices in range(2, MAX_VERTICES + 1):
        masks = _used_masks(vertices)
        labels = np.arange(len(OPERATIONS) ** (vertices - 2), dtype=np.uint32)
        codes.append(vertices << VERTICES_SHIFT | masks[:, None] << MASK_SHIFT | labels)
        canonical.append(_canonical(vertices, masks, labels))
    return Orders(*(np.concatenate([part.ravel() for part in parts]) for parts in (codes, canonical)))


def canonical_cell(cell: Cell) -> Cell:
    """The canonical order of a cell's vertices."""
    mask, labels = (np.array([value], np.uint32) for value in (cell.mask, cell.code & LABELS))
    return Cell(int(_canonical(cell.vertices, mask, labels)[0, 0]))


def _used_masks(vertices: int) -> Codes:
    """Masks of at most 9 edges in which each vertex is on a path from the first to the last, ascending.

    Edges lead to later vertices, so that is where each but the last feeds another and each but the first is fed.
    """
    masks: Codes = np.arange(1 << vertices * (vertices - 1) // 2, dtype=np.uint32)
    masks = masks[np.bitwise_count(masks) <= MAX_EDGES]
    for vertex in range(vertices):
        fed = sum(1 << edge_bit(source, vertex) for source in range(vertex))
        feeds = sum(1 << edge_bit(vertex, target) for target in range(vertex + 1, vertices))
        for edges in filter(None, (fed, feeds)):
            masks = masks[masks & np.uint32(edges) != 0]
    return masks


def _canonical(vertices: int, masks: Codes, labels: Codes) -> Codes:
    """The canonical codes of all masks (K,) with all labels (L,), as (K, L)."""
    edges = [(source, target) for target in range(vertices) for source in range(target)]  # in the order of their bits
    present = (masks[:, None] >> np.arange(len(edges), dtype=np.uint32) & 1).astype(np.float64)
    interior = range(1, vertices - 1)
    digits = np.stack([labels // 3 ** (vertices - 2 - vertex) % 3 for vertex in interior] or [labels])
    smallest = np.full((len(masks), len(labels)), MASK << MASK_SHIFT | LABELS, np.uint32)
    for moved in permutations(interior):
        to = (0, *moved, vertices - 1)
        weights = [1 << edge_bit(to[x], to[y]) if to[x] < to[y] else BACKWARDS for x, y in edges]
        permuted = (present @ np.array(weights, np.float64)).astype(np.int64)  # exact: sums stay below 2 ** 53
        forwards = np.flatnonzero(permuted < BACKWARDS)
        powers = np.array([3 ** (vertices - 2 - to[vertex]) for vertex in interior] or [1], np.uint32)
        relabelled = (powers[:, None] * digits).sum(0, dtype=np.uint32)
        candidates = permuted[forwards, None].astype(np.uint32) << MASK_SHIFT | relabelled
        smallest[forwards] = np.minimum(smallest[forwards], candidates)
    return smallest | np.uint32(vertices << VERTICES_SHIFT)
