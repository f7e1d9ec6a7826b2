"""Boards of the space `tiny` for the tests of matching."""

from __future__ import annotations

import torch
from tiny_search import SEED
from torch import Tensor

from configs.schema import Board
from runtime.seeds import make_generator
from search.board import BoardEntry, PrioritizedBoard
from search.matching import MatchingNetwork, path_softmax
from search.scores import Scored
from supernet.architecture import Architecture
from supernet.networks.path_supernet import PathSupernet, frozen_statistics

STUDENT = Architecture("tiny", ((1, 2), (2, 0, 1)))
TEACHERS = [Architecture("tiny", stages) for stages in (((0,), (1,)), ((2, 1), (2, 2)), ((1,), (0, 0, 0)))]
SLICE = 4


def build_matching(slice_size: int = SLICE, classes: int = 10) -> MatchingNetwork:
    return MatchingNetwork(slice_size, classes, make_generator(SEED, "matching"))


def make_board(
    supernet: PathSupernet, images: Tensor, paths: list[Architecture], slice_size: int = SLICE
) -> PrioritizedBoard:
    """A board whose entries, in this order, have images of their own and the path's own softmax."""
    kept = images[: slice_size * len(paths)].split(slice_size)
    features = [path_softmax(supernet, torch.cat(kept), path).split(slice_size)[n] for n, path in enumerate(paths)]
    return fill_board(paths, kept, features)


def fill_board(paths: list[Architecture], images: list[Tensor], features: list[Tensor]) -> PrioritizedBoard:
    """A board whose entries, in this order, have these images and features."""
    scores = [Scored(path, 50.0 - place, 1, 1) for place, path in enumerate(paths)]
    board = PrioritizedBoard(Board(SIZE=len(paths)))
    board.replace([BoardEntry(*parts) for parts in zip(scores, images, features)])
    return board


def student_softmax(supernet: PathSupernet, board: PrioritizedBoard) -> list[Tensor]:
    """The student's softmax on each entry's images, by the plainest means."""
    with torch.no_grad(), frozen_statistics(supernet):
        softmax = supernet(torch.cat([entry.images for entry in board.entries]), STUDENT).softmax(1)
    return list(softmax.split(len(board.entries[0].images)))
