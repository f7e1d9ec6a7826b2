"""The published key of a cell: colours of its vertices, refined by their neighbours', as MD5 texts."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import md5


def hash_graph(matrix: Sequence[Sequence[int]], labels: Sequence[int]) -> str:
    """The key of a pruned cell of any size: 32 hexadecimal digits, the same for every order of its vertices.

    Args:
        matrix: upper-triangular entries, the integers 0 and 1.
        labels: -1 for the input, -2 for the output, else the place of the operation among the canonical ones.
    """
    everything = range(len(matrix))
    before = [[u for u in everything if matrix[u][v]] for v in everything]
    after = [[w for w in everything if matrix[v][w]] for v in everything]
    colours = [first_colour(len(after[v]), len(before[v]), labels[v]) for v in everything]
    for _ in everything:
        texts = (
            ("".join(sorted(colours[u] for u in before[v])), "".join(sorted(colours[w] for w in after[v])), colours[v])
            for v in everything
        )
        colours = [_digest("|".join(text)) for text in texts]
    return _digest(str(sorted(colours)))


def first_colour(feeds: int, fed: int, label: int) -> str:
    """A vertex's colour before refinement, by the numbers of edges that leave and enter it."""
    return _digest(str((feeds, fed, label)))


def _digest(text: str) -> str:
    return md5(text.encode()).hexdigest()
