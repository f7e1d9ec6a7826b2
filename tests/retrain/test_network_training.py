"""Retraining one network on digits: it learns, regularises and averages as configured, and resumes to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from configs.errors import CheckpointError
from configs.loading import load_config
from configs.schema import Augment, Train
from data.loading import Images
from retrain.journal import RetrainJournal
from retrain.training import NetworkTraining
from runtime.checkpoint import load_file, save_file
from runtime.context import start
from runtime.position import Position
from runtime.precision import Precision
from runtime.seeds import make_generator
from runtime.world import World
from supernet.catalog import Selection
from supernet.evaluation import evaluate

STEPS = 20  # an epoch
PLAIN = {"EPOCHS": 3, "LR": 0.2, "BATCH_SIZE": 32, "LABEL_SMOOTHING": 0.1}
EVERYTHING = {**PLAIN, "EMA_DECAY": 0.9, "DROPOUT": 0.2, "DROP_PATH": 0.2, "CLIP_GRADIENT": 0.5}
MIXED = {"MIXUP": 0.4, "CUTMIX": 0.5}


def build(
    selection: Selection, train: Mapping[str, Any] = PLAIN, augment: Mapping[str, Any] | None = None
) -> NetworkTraining:
    config = Train(**train)
    network = selection.space.build_network(selection.architecture, make_generator(0, "network"))
    network.set_regularization(config.dropout, config.drop_path)
    precision = Precision("O0", "bfloat16", torch.device("cpu"))
    return NetworkTraining(config, Augment(**(augment or {})), network, 10, precision, World(), 0)


def advance(training: NetworkTraining, digits: Images, first: int, last: int) -> list[float]:
    """The steps `first` … `last` - 1 since the start; their losses."""
    loader, losses = digits.training(32, steps_per_epoch=STEPS), []
    for epoch in range(first // STEPS, -(-last // STEPS)):
        begin, end = max(0, first - epoch * STEPS), min(STEPS, last - epoch * STEPS)
        for step, (images, labels) in zip(range(begin, end), loader.epoch(epoch, begin)):
            losses.append(training.step(images, labels, Position(epoch, step, STEPS)).item())
    return losses


def assert_identical(first: Any, second: Any) -> None:
    assert type(first) is type(second)
    if isinstance(first, Mapping):
        assert list(first) == list(second)
        for key in first:
            assert_identical(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second):
            assert_identical(one, other)
    else:
        assert torch.equal(first, second) if isinstance(first, Tensor) else first == second


@pytest.mark.parametrize("augment", [{}, MIXED], ids=["plain", "mixed"])
def test_it_learns_digits_with_everything_switched_on(selection: Selection, digits: Images, augment: dict):
    training = build(selection, EVERYTHING, augment)
    losses = advance(training, digits, 0, 3 * STEPS)
    assert sum(losses[-10:]) < 0.95 * sum(losses[:10])
    held_out = digits.evaluation("search", 144)
    assert evaluate(training.best_network, held_out, World()).top1 > 25.0  # chance is 10
    assert training.best_network is not training.network


def test_a_plain_step_is_a_plain_step(selection: Selection, digits: Images):
    """Without regularisation, the loss is the smoothed cross entropy, and the step is torch's own."""
    training = build(selection)
    twin = selection.space.build_network(selection.architecture, make_generator(0, "network")).train()
    optimizer = torch.optim.SGD(twin.parameters(), 0.2, momentum=0.9, nesterov=True)
    for group in optimizer.param_groups:
        group["weight_decay"] = 0.0
    training.optimizer.param_groups[0]["weight_decay"] = 0.0
    images, labels = next(iter(digits.training(32).epoch(0)))
    loss = functional.cross_entropy(twin(images), labels, label_smoothing=0.1)
    loss.backward()
    optimizer.step()
    assert training.step(images, labels, Position(0, 0, STEPS)).item() == pytest.approx(loss.item(), rel=1e-6)
    assert_identical(training.network.state_dict(), twin.state_dict())
    assert training.best_network is training.network


@pytest.mark.parametrize(
    "change",
    [{"DROPOUT": 0.5}, {"DROP_PATH": 0.5}, {"CLIP_GRADIENT": 0.01}, {"LABEL_SMOOTHING": 0.0}, {"OPTIMIZER": "adamw"}],
    ids=lambda change: next(iter(change)),
)
def test_each_switch_changes_the_step(selection: Selection, digits: Images, change: dict):
    plain, other = build(selection), build(selection, {**PLAIN, **change})
    for training in (plain, other):
        advance(training, digits, 0, 2)
    assert not torch.equal(plain.network.classifier.weight, other.network.classifier.weight)


def test_clipping_bounds_the_gradient(selection: Selection, digits: Images):
    training = build(selection, {**PLAIN, "CLIP_GRADIENT": 0.01})
    advance(training, digits, 0, 1)
    squares = [parameter.grad.square().sum() for parameter in training.network.parameters()]
    assert torch.stack(squares).sum().sqrt().item() == pytest.approx(0.01, rel=1e-3)


def test_mixup_keeps_label_smoothing(selection: Selection, digits: Images, monkeypatch: pytest.MonkeyPatch):
    """The mixed targets are smoothed once: each row sums to 1, and no entry is below smoothing / classes."""
    targets, cross_entropy = [], functional.cross_entropy

    def record(logits: Tensor, target: Tensor, **keys: Any) -> Tensor:
        targets.append(target)
        assert keys.get("label_smoothing", 0.0) == 0.0
        return cross_entropy(logits, target, **keys)

    monkeypatch.setattr(functional, "cross_entropy", record)
    advance(build(selection, PLAIN, MIXED), digits, 0, 3)
    for target in targets:
        assert target.shape == (32, 10)
        assert torch.allclose(target.sum(1), torch.ones(32))
        assert target.min().item() == pytest.approx(0.01)
        assert target.max().item() <= 0.91 + 1e-6
    assert any(((target > 0.02).sum(1) == 2).any() for target in targets)


def test_averaged_weights_follow_the_weights(selection: Selection, digits: Images):
    """average = d average + (1 - d) weights; d rises from 0 to EMA_DECAY, so that the start is forgotten."""
    training = build(selection, {**PLAIN, "EMA_DECAY": 0.6})
    average = {name: value.clone() for name, value in training.network.state_dict().items()}
    decays = []
    for step in range(5):
        advance(training, digits, step, step + 1)
        decays.append(training.averaged.get_decay(step))
        for name, value in training.network.state_dict().items():
            if value.is_floating_point():
                average[name] = decays[-1] * average[name] + (1 - decays[-1]) * value
    assert decays[0] == 0.0
    assert decays == sorted(decays)
    assert decays[-1] == 0.6
    for name, value in training.best_network.state_dict().items():
        if value.is_floating_point():
            assert torch.allclose(value, average[name], rtol=1e-5, atol=1e-6), name
    assert not torch.equal(training.best_network.conv_stem.weight, training.network.conv_stem.weight)


def test_drop_path_rises_over_the_blocks_and_spares_evaluation(selection: Selection, digits: Images):
    network = build(selection, {**PLAIN, "DROPOUT": 0.5, "DROP_PATH": 0.5}).network
    blocks = [block for stage in network.blocks for block in stage]
    rates = [block.drop_path_rate for block in blocks if not isinstance(block, nn.Identity)]
    assert rates == pytest.approx([0.0, 0.2, 0.3, 0.4])
    images, _ = next(iter(digits.evaluation("search", 16)))
    plain = selection.space.build_network(selection.architecture, make_generator(0, "network"))
    assert torch.equal(network.eval()(images), plain.eval()(images))


def test_a_restored_training_continues_to_the_bit(selection: Selection, digits: Images, tmp_path: Path):
    """Averaged weights, momentum, mixing, dropout and stochastic depth included."""
    whole = build(selection, EVERYTHING, MIXED)
    advance(whole, digits, 0, 6)
    save_file(whole.state_dict(), tmp_path / "step-6.pth.tar")
    losses = advance(whole, digits, 6, 12)
    restored = build(selection, EVERYTHING, MIXED)
    restored.load_state_dict(load_file(tmp_path / "step-6.pth.tar"))
    assert advance(restored, digits, 6, 12) == losses
    assert_identical(restored.state_dict(), whole.state_dict())


def test_the_journal_restores_a_run_and_refuses_another(selection: Selection, digits: Images, tmp_path: Path):
    overrides = [f"SAVE_PATH={tmp_path / 'run'}", "RUNTIME.DEVICE=cpu", "RUNTIME.THREADS=1", "TRAIN.BATCH_SIZE=32"]
    with start(load_config(None, overrides), "retrain") as runtime:
        training = build(selection, EVERYTHING)
        journal = RetrainJournal(load_config(None, overrides), runtime, selection, training, STEPS)
        assert journal.resume() == Position(0, 0, STEPS)
        advance(training, digits, 0, STEPS)
        journal.after_epoch(0, evaluate(training.best_network, digits.evaluation("search", 144), World()))
        accuracy = journal.best["top1"]

    config = load_config(None, [*overrides, "RESUME_PATH=auto"])
    other = Selection("other", selection.space, selection.space.parse("[[1],[1]]"))
    with start(config, "retrain") as runtime:
        restored = build(selection, EVERYTHING)
        journal = RetrainJournal(config, runtime, selection, restored, STEPS)
        assert journal.resume() == Position(1, 0, STEPS)
        assert_identical(restored.state_dict(), training.state_dict())
        assert journal.best["top1"] == accuracy
        with pytest.raises(CheckpointError, match="belongs to another run: its selection is"):
            RetrainJournal(config, runtime, other, build(other), STEPS).resume()
        with pytest.raises(CheckpointError, match="its steps_per_epoch is 20, this run's is 21"):
            RetrainJournal(config, runtime, selection, restored, STEPS + 1).resume()


def test_the_best_checkpoint_is_the_best_epochs(selection: Selection, digits: Images, tmp_path: Path):
    """Chosen on the search split, not the last one."""
    config = load_config(None, [f"SAVE_PATH={tmp_path}", "RUNTIME.DEVICE=cpu", "RUNTIME.THREADS=1"])
    with start(config, "retrain") as runtime:
        training = build(selection)
        journal = RetrainJournal(config, runtime, selection, training, STEPS, inputs=digits.describe())
        evaluation = evaluate(training.best_network, digits.evaluation("search", 144), World())
        weights = []
        for epoch, accuracy in enumerate((30.0, 50.0, 40.0)):
            advance(training, digits, 2 * epoch, 2 * epoch + 2)
            weights.append(training.network.classifier.weight.detach().clone())
            journal.after_epoch(epoch, type(evaluation)(accuracy, 90.0, 1.0, 144))
    best = load_file(tmp_path / "checkpoints" / "best.pth.tar")
    assert best["best"]["epoch"] == 2
    assert best["best"]["top1"] == 50.0
    assert (len(best["inputs"]["classes"]), best["inputs"]["mean"]) == (10, (0.3053,))
    assert torch.equal(best["state_dict"]["classifier.weight"], weights[1])
