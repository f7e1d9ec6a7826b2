"""Cream's strategy inside a real, tiny search: when it teaches, what it measures, and that it resumes exactly."""

from __future__ import annotations

import pytest
import torch
from tiny_search import BOARD, TinySearch, assert_identical, build_search, snapshot
from torch.nn import functional

from data.loading import Images
from runtime.checkpoint import load_file, save_file
from runtime.journal import Position
from search.matching import distillation_loss, path_softmax
from search.strategies.prioritized import PrioritizedStrategy
from supernet.evaluation import recalibrate
from supernet.networks.path_supernet import PathSupernet, frozen_statistics


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
    teacher = strategy.matching.choose(search.supernet, path, strategy.board.entries, strategy.world)
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


def test_entries_hold_held_out_accuracies_and_their_own_features(digits: Images):
    """The release put a training batch's accuracy on the board, and the teacher's features."""
    search, strategy = build(digits, BOARD={**BOARD, "INTERVAL": 4, "CANDIDATES": 3})
    search.run(0, 4)
    assert len(strategy.board) == 3
    entries = strategy.board.entries
    images = torch.cat([entry.images for entry in entries])
    for number, entry in enumerate(entries):
        assert entry.scored.architecture in search.paths(0)[1:4]
        assert entry.scored.accuracy == pytest.approx(measure(search, entry.scored.architecture), abs=1e-4)
        softmax = path_softmax(search.supernet, images, entry.scored.architecture)
        assert torch.equal(entry.features, softmax.split(len(entry.images))[number])
    train, search_split = (
        torch.cat([x for x, _ in digits.evaluation(split, 512)]).flatten(1) for split in ("train", "search")
    )
    for entry in entries:
        kept = entry.images.flatten(1)
        assert all((train == image).all(1).any() for image in kept)
        assert not any((search_split == image).all(1).any() for image in kept)


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


def test_the_board_is_measured_again_after_each_epoch(digits: Images):
    search, strategy = build(digits)
    search.run(0, 3)
    stale = {scored.architecture: scored.accuracy for scored in strategy.prioritized}
    with torch.no_grad():
        search.supernet.classifier.weight.copy_(search.supernet.classifier.weight.flip(0))
    strategy.end_epoch()
    fresh = {scored.architecture: scored.accuracy for scored in strategy.prioritized}
    assert set(fresh) == set(stale)
    assert fresh != stale
    for path, accuracy in fresh.items():
        assert accuracy == pytest.approx(measure(search, path), abs=1e-4)
    assert list(fresh.values()) == sorted(fresh.values(), reverse=True)
    images = torch.cat([entry.images for entry in strategy.board.entries])
    softmax = path_softmax(search.supernet, images, strategy.prioritized[0].architecture)
    assert torch.equal(strategy.board.entries[0].features, softmax[: len(strategy.board.entries[0].images)])


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
        path, entries = search.paths(1)[0], strategy.board.entries
        before = strategy.matching.choose(search.supernet, path, entries, strategy.world)
        images, _ = next(iter(search.loader.epoch(1)))
        strategy.after_step(images, search.paths(1), Position(1, 0, 4), 0.1)
        after = strategy.matching.choose(search.supernet, path, entries, strategy.world)
        assert before is not None
        assert after is not None
        assert before.architecture == after.architecture
        assert (after.strength - before.strength).sign().item() == -slope


def test_looking_ahead_reads_held_out_images(digits: Images, monkeypatch: pytest.MonkeyPatch):
    """The release took its "validation" images from the training batch."""
    search, _ = build(digits)
    seen = []

    def record(supernet: PathSupernet, student: object, teacher: object, train: object, held: tuple, *_: object):
        seen.append((train, held))
        return torch.tensor(0.0)

    monkeypatch.setattr("search.strategies.prioritized.matching_gradient", record)
    search.run(0, 8)
    held_out = torch.cat([images for images, _ in search.objective.held_out]).flatten(1)
    assert len(seen) == 2
    for train, (images, labels) in seen:
        assert len(train) == 4
        assert len(images) == len(labels) > 0
        assert all((held_out == image).all(1).any() for image in images.flatten(1))
    assert not torch.equal(seen[0][1][0], seen[1][1][0])


def test_a_restored_search_continues_to_the_bit(digits: Images, tmp_path):
    search, _ = build(digits)
    search.run(0, 6)
    save_file(search.training.state_dict(), tmp_path / "step-6.pth.tar")
    losses = search.run(6, 10)
    restored, strategy = build(digits)
    restored.training.load_state_dict(load_file(tmp_path / "step-6.pth.tar"))
    assert len(strategy.board) == 3
    assert restored.run(6, 10) == losses
    assert_identical(restored.training.state_dict(), search.training.state_dict())
    assert strategy.distilled_steps == 6
