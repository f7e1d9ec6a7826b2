"""Cream: prioritized paths teach the path of each step (Peng et al. 2020, https://arxiv.org/abs/2010.15821)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from configs.schema import Search
from runtime.optimization import average_gradients
from runtime.position import Position
from runtime.seeds import make_generator
from runtime.world import World
from search.board import BoardEntry, PrioritizedBoard
from search.matching import MatchingNetwork, Teacher, distillation_loss, matching_gradient, path_softmax
from search.objective import SupernetObjective
from search.scores import Scored, ranked
from search.strategies.strategy import Strategy
from supernet.networks.supernets import Supernet


class PrioritizedStrategy(Strategy):
    """Cross entropy at first; from `distillation_epoch` on, half of the loss comes from a board path.

    Args:
        objective: measures paths on the search split with recalibrated batch norm.
        seed: what the kept images and the matching network's start derive from.
    """

    def __init__(
        self,
        config: Search,
        supernet: Supernet,
        objective: SupernetObjective,
        label_smoothing: float,
        seed: int,
        world: World,
    ) -> None:
        self.config, self.supernet, self.objective = config, supernet, objective
        self.label_smoothing, self.seed, self.world = label_smoothing, seed, world
        self.board = PrioritizedBoard(config.board)
        self.classes = objective.space.classes
        matching = MatchingNetwork(config.matching.slice, self.classes, make_generator(seed, "matching network"))
        self.matching = matching.to(self.device)
        self.optimizer = torch.optim.Adam(self.matching.parameters(), config.matching.lr)
        self.distilled_steps = 0

    @property
    def device(self) -> torch.device:
        """Where the supernet is."""
        return next(self.supernet.parameters()).device

    def loss(self, images: Tensor, labels: Tensor, path: Any, position: Position) -> Tensor:
        """L = 1/2 [rho KD + (2 - rho) CE] with a teacher (eq. 5), CE without."""
        teacher = self.choose_teacher(path, position)
        target = path_softmax(self.supernet, images, teacher.architecture) if teacher else None
        logits = self.supernet(images, path).float()
        cross_entropy = functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        if teacher is None or target is None:
            return cross_entropy
        self.distilled_steps += 1
        rho = teacher.strength.detach()
        return 0.5 * (rho * distillation_loss(logits, target) + (2.0 - rho) * cross_entropy)

    def choose_teacher(self, path: Any, position: Position) -> Teacher | None:
        """The board path that teaches this one; None before the distillation epoch, or if there is no other path."""
        if position.epoch < self.config.distillation_epoch:
            return None
        match self.config.teacher:
            case "meta":
                return self.matching.choose(self.supernet, path, self.board, self.world)
            case "top1":
                return self._choose_best(path)

    def _choose_best(self, path: Any) -> Teacher | None:
        candidates = self.board.candidates(path)
        if not candidates:
            return None
        return Teacher(self.board.entries[candidates[0]].scored.architecture, torch.full((), 0.5, device=self.device))

    def after_step(self, images: Tensor, paths: Sequence[Any], position: Position, lr: float) -> None:
        """Every few steps, learn to match and let recent paths onto the board."""
        step = position.total + 1
        if self.config.teacher == "meta" and step % self.config.matching.interval == 0:
            self.update_matching(images, paths[position.step], position, lr)
        if step % self.config.board.interval == 0:
            recent = slice(max(0, position.step + 1 - self.config.board.candidates), position.step + 1)
            self.update_board(paths[recent], position)

    def end_epoch(self) -> None:
        """Measure the whole board again: its weights have moved."""
        scores = self.objective([entry.scored.architecture for entry in self.board.entries])
        self.board.replace([replace(entry, scored=scored) for entry, scored in zip(self.board.entries, scores)])
        self._refresh_features()

    def update_matching(self, images: Tensor, path: Any, position: Position, lr: float) -> None:
        """One step of the matching network downhill, on some of a step's images (B, C, H, W) and held-out ones."""
        teacher = self.choose_teacher(path, position)
        if teacher is None:
            return
        few, held_out = images[: self.config.matching.slice], self._held_out_share(len(images), position)
        slope = matching_gradient(self.supernet, path, teacher, few, held_out, lr, self.world)
        if not slope.isfinite():  # as after a step that was skipped; the same on all ranks
            return
        self.optimizer.zero_grad()
        teacher.strength.backward(slope)
        average_gradients(self.matching.parameters(), self.world)
        self.optimizer.step()

    def _held_out_share(self, count: int, position: Position) -> tuple[Tensor, Tensor]:
        """At most `count` images and labels for this rank, of another batch at each update."""
        batches = list(self.objective.held_out)
        images, labels = batches[position.total // self.config.matching.interval % len(batches)]
        world = self.world if len(images) >= self.world.size else World()  # too few to share: the same on all ranks
        mine = slice(world.rank, count * world.size, world.size)
        return images[mine], labels[mine]

    def update_board(self, candidates: Sequence[Any], position: Position) -> None:
        """Measure the paths that are not on the board, and let in those that it admits."""
        unknown = [path for path in dict.fromkeys(candidates) if path not in self.board]
        for scored in ranked(self.objective(unknown)):
            if self.board.admits(scored):
                images = self._kept_images(position)
                self.board.enter(BoardEntry(scored, images, images.new_zeros(len(images), self.classes)))
        self._refresh_features()

    def _kept_images(self, position: Position) -> Tensor:
        """A few train images for a new entry: (slice, C, H, W), the same on every rank."""
        generator = make_generator(self.seed, "board images", position.total, len(self.board))
        pool, _ = next(iter(self.objective.recalibration))
        chosen = torch.randperm(len(pool), generator=generator)[: self.config.matching.slice]
        return pool[chosen.to(pool.device)]

    def _refresh_features(self) -> None:
        """Each path's own softmax on its images, all entries' images in one batch as when a student is compared."""
        refreshed = []
        for number, entry in enumerate(self.board.entries):
            softmax = path_softmax(self.supernet, self.board.images, entry.scored.architecture)
            refreshed.append(replace(entry, features=softmax.view_as(self.board.features)[number].clone()))
        self.board.replace(refreshed)

    @property
    def prioritized(self) -> list[Scored]:
        """The board, best first."""
        return [entry.scored for entry in self.board.entries]

    def metrics(self) -> dict[str, float]:
        """The board's accuracies in percent, its size, and how many steps were distilled."""
        accuracies = [scored.accuracy for scored in self.prioritized]
        measured = {"board/best": accuracies[0], "board/worst": accuracies[-1]} if accuracies else {}
        return {**measured, "board/size": len(accuracies), "board/distilled_steps": self.distilled_steps}

    def state_dict(self) -> dict[str, Any]:
        """Board, matching network and its optimizer."""
        return {
            "board": self.board.state_dict(),
            "matching": self.matching.state_dict(),
            "matching_optimizer": self.optimizer.state_dict(),
            "distilled_steps": self.distilled_steps,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Inverse of `state_dict`."""
        tensors = ("images", "features")
        self.board.load_state_dict(
            [{**entry, **{name: entry[name].to(self.device) for name in tensors}} for entry in state["board"]]
        )
        self.matching.load_state_dict(state["matching"])
        self.optimizer.load_state_dict(state["matching_optimizer"])
        self.distilled_steps = state["distilled_steps"]
