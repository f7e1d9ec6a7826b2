"""From a trained supernet to ranked architectures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from search.pickers import Picker
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.pick import Pick, PickedArchitecture
from supernet.spaces.mbconv import MBConvSpace


def score_all(
    picker: Picker, objective: Callable[[Sequence[Architecture]], list[Scored]], after: Callable[[Picker], None]
) -> Iterator[Scored]:
    """Ask, score, tell, until the picker is done; `after` is called each time, to save what has been scored."""
    while candidates := picker.ask():
        scores = objective(candidates)
        picker.tell(scores)
        after(picker)
        yield from scores


def make_pick(space: MBConvSpace, ranking: Sequence[Scored]) -> Pick:
    """The result of a search: the ranking, with its space."""
    entries = (PickedArchitecture(**vars(scored)) for scored in ranking)
    return Pick(space, tuple(entries))
