"""Cream's strategy inside a real, tiny search: when it teaches, what it measures, and that it resumes exactly."""

from __future__ import annotations

import pytest
import torch
from tiny_search import TinySearch, assert_identical, build_search, snapshot
from torch.nn import functional

from data.loading import Images
from runtime.position import Position
from search.matching import distillation_loss, path_softmax
from search.strategies.prioritized import PrioritizedStrategy
from supernet.architecture import Architecture
from supernet.evaluation import recalibrate
from supernet.networks.path_supernet import frozen_statistics


def build(digits: Images, **keys: object) -> tuple[TinySearch, PrioritizedStrategy]:
    search = build_search(digits, search=keys)
    assert isinstance(search.strategy, PrioritizedStrategy)
    return search, search.strategy


@pytest.fixture(scope="module")
def trained(digits: Images) -> tuple[TinySearch, PrioritizedStrategy]:
    """A search after its first, undistilled epoch, shared by tests that leave it as it is."""
    search, strategy = build(digits)
    search.run(0, 4)
    return search, strategy


def measure(search: TinySearch, path: object) -> float:
    """Accuracy in percent of a path on the search split, by the plainest means."""
    network = search.space.extract(search.supernet, path)
    recalibrate(network, (images for images, _ in search.objective.recalibration))
    right = [(network(images).argmax(1) == labels) for images, labels in search.objective.held_out]
    return 100.0 * torch.cat(right).float().mean().item()


def test_distillation_starts_in_its_epoch_and_the_board_fills(digits: Images):
    search, strategy = build(digits, DISTILLATION_EPOCH=2)
    sizes = []
    for first in range(0, 8, 2):
        search.run(first, first + 2)
        sizes.append(len(strategy.board))
    assert sizes == [2, 3, 3, 3]
    assert strategy.distilled_steps == 0
    search.run(8, 11)
    assert strategy.distilled_steps == 3
    metrics = strategy.metrics()
    assert metrics["board/size"] == 3
    assert metrics["board/distilled_steps"] == 3
    assert metrics["board/best"] == strategy.prioritized[0].accuracy
    assert metrics["board/worst"] == strategy.prioritized[-1].accuracy


def test_an_empty_board_teaches_nobody(digits: Images):
    search, strategy = build(digits, DISTILLATION_EPOCH=0, BOARD={"INTERVAL": 1000})
    search.run(0, 3)
    assert strategy.metrics() == {"board/size": 0, "board/distilled_steps": 0}
    assert strategy.prioritized == []


@pytest.mark.parametrize(("epoch", "taught"), [(0, False), (1, True)])
def test_the_loss_is_equation_5(trained: tuple, digits: Images, epoch: int, taught: bool):
    """CE before; 1/2 [rho KD + (2 - rho) CE] after, with no gradient into the teacher or rho."""
    search, strategy = trained
    images, labels = next(iter(search.loader.epoch(1)))
    path = next(one for one in search.paths(1) if one not in strategy.board)
    position = Position(epoch, 0, 4)
    with frozen_statistics(search.supernet):
        loss = strategy.loss(images, labels, path, position)
        logits = search.supernet(images, path)
    cross_entropy = functional.cross_entropy(logits, labels, label_smoothing=0.1)
    if not taught:
        assert loss.item() == cross_entropy.item()
        return
    teacher = strategy.matching.choose(search.supernet, path, strategy.board, strategy.world)
    assert teacher is not None
    rho = teacher.strength.item()
    distillation = distillation_loss(logits, path_softmax(search.supernet, images, teacher.architecture))
    expected = 0.5 * (rho * distillation + (2 - rho) * cross_entropy)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    parameters = [*search.supernet.parameters(), *strategy.matching.parameters()]
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True)
    wanted = torch.autograd.grad(expected, parameters, allow_unused=True)
    assert [g is None for g in gradients] == [g is None for g in wanted]
    assert all(torch.allclose(g, w, atol=1e-5) for g, w in zip(gradients, wanted) if g is not None)


def test_the_training_batch_has_no_say_in_the_board(digits: Images):
    scores = []
    for poison in (1.0, float("nan")):
        search, strategy = build(digits, MATCHING={"INTERVAL": 1000})
        search.run(0, 3)
        images, _ = next(iter(search.loader.epoch(0)))
        strategy.after_step(images * poison, search.paths(0), Position(0, 3, 4), 0.1)
        scores.append(strategy.prioritized)
    assert len(scores[0]) == 3
    assert scores[0] == scores[1]


def test_only_the_step_itself_moves_the_supernet(digits: Images):
    """Updating board and matching network leaves parameters, statistics and mode alone."""
    search, strategy = build(digits)
    search.run(0, 5)
    before, weights = snapshot(search.supernet), snapshot(strategy.matching)
    images, _ = next(iter(search.loader.epoch(1)))
    strategy.after_step(images, search.paths(1), Position(1, 1, 4), 0.1)
    strategy.end_epoch()
    assert_identical(snapshot(search.supernet), before)
    assert search.supernet.training
    assert not torch.equal(weights["linear.weight"], strategy.matching.linear.weight)


def test_matching_goes_downhill(digits: Images, monkeypatch: pytest.MonkeyPatch):
    """Where a larger rho would raise the held-out loss the chosen weight falls, and else it rises."""
    for slope in (1.0, -1.0):
        search, strategy = build(digits, MATCHING={"INTERVAL": 1, "LR": 0.01})
        search.run(0, 4)
        monkeypatch.setattr(
            "search.strategies.prioritized.matching_gradient", lambda *_, value=slope: torch.tensor(value)
        )
        path = search.paths(1)[0]
        before = strategy.matching.choose(search.supernet, path, strategy.board, strategy.world)
        images, _ = next(iter(search.loader.epoch(1)))
        strategy.after_step(images, search.paths(1), Position(1, 0, 4), 0.1)
        after = strategy.matching.choose(search.supernet, path, strategy.board, strategy.world)
        assert before is not None
        assert after is not None
        assert before.architecture == after.architecture
        assert (after.strength - before.strength).sign().item() == -slope


def test_top1_is_taught_by_the_best_other_path_at_half_strength(digits: Images):
    """And no matching network is trained."""
    search, strategy = build(digits, TEACHER="top1")
    search.run(0, 4)
    before = snapshot(strategy.matching)
    best, second, *_ = [scored.architecture for scored in strategy.prioritized]
    position = Position(1, 0, 4)
    for path, wanted in [(search.paths(1)[0], best), (second, best), (best, second)]:
        teacher = strategy.choose_teacher(path, position)
        assert teacher is not None
        assert teacher.architecture == (wanted if path != wanted else second)
        assert teacher.strength.item() == 0.5
        assert strategy.choose_teacher(path, Position(0, 3, 4)) is None
    search.run(4, 8)
    assert strategy.distilled_steps == 4
    assert_identical(snapshot(strategy.matching), before)


GOOD, BAD, STUDENT = (Architecture("tiny", ((number, number), (number, number))) for number in (1, 2, 0))


def train_two_teachers(search: TinySearch) -> None:
    """One path learns the labels, one wrong labels, on weights that they share in the stem and the head alone.

    The student has just begun: a good teacher still helps it, a bad one harms it.
    """
    optimizer = torch.optim.Adam(search.supernet.parameters(), 0.02)
    for epoch in range(15):
        for images, labels in search.loader.epoch(epoch):
            loss = functional.cross_entropy(search.supernet(images, GOOD), labels)
            loss = loss + functional.cross_entropy(search.supernet(images, BAD), (labels + 1) % 10)
            if epoch >= 8:
                loss = loss + functional.cross_entropy(search.supernet(images, STUDENT), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def test_matching_learns_to_prefer_the_better_teacher(digits: Images):
    """Of two board paths, one of which teaches wrong labels and is preferred at first."""
    keys = {"LR": 0.02, "SLICE": 16}
    search = build_search(digits, encoding="separate", train={"BATCH_SIZE": 64}, search={"MATCHING": keys})
    strategy = search.strategy
    assert isinstance(strategy, PrioritizedStrategy)
    train_two_teachers(search)
    strategy.update_board([GOOD, BAD], Position(1, 0, 4))
    board = strategy.board
    assert [scored.architecture for scored in strategy.prioritized] == [GOOD, BAD]
    differences = path_softmax(search.supernet, board.images, STUDENT).view_as(board.features) - board.features
    with torch.no_grad():
        strategy.matching.linear.weight.copy_(0.05 * (differences[1] - differences[0]).view(1, -1))

    def weights() -> list[float]:
        return strategy.matching(differences).tolist()

    history = [weights()]
    for epoch in range(1, 5):
        for step, (images, _) in enumerate(search.loader.epoch(epoch)):
            strategy.update_matching(images, STUDENT, Position(epoch, step, 4), lr=0.01)
            history.append(weights())
    assert history[0][0] < history[0][1] - 0.3
    assert history[2][1] < history[1][1] < history[0][1], "the bad teacher, while it is chosen, loses weight"
    assert history[-1][0] > history[-1][1] + 0.3
    teacher = strategy.choose_teacher(STUDENT, Position(5, 0, 4))
    assert teacher is not None
    assert teacher.architecture == GOOD
