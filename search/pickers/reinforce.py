"""REINFORCE: a policy over the choices of a window, learnt from the scores of what it draws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from configs.schema import Picker as PickerConfig
from search.pickers.picker import WindowPicker
from search.pickers.window import Window
from search.scores import Scored

BATCH = 8  # draws at a time, of which most asks need the first
KEPT = 0.9  # of the reward's running mean and variance


class ReinforcePicker(WindowPicker):
    """Each gene has a softmax over its values; a score moves it towards what scored above the running mean.

    Williams 1992, as a baseline of NAS-Bench-201 (https://arxiv.org/abs/2001.00326, sec. 5). Plain gradient steps of
    PICKER.STEP; a reward is the distance from the running mean in running deviations, so that the step has no unit.
    Inside a window the policy is drawn as its sampler draws from a prior, and a gradient is that of independent genes:
    with the mean reward subtracted, what the window leaves out shifts it by nothing on average.
    """

    def __init__(self, config: PickerConfig, window: Window, seed: int, prioritized: Sequence[Any] = ()) -> None:
        super().__init__(config, window, seed, prioritized)
        self.logits = [[dict.fromkeys(layer, 0.0) for layer in stage] for stage in window.choices]
        self.mean = self.variance = 0.0

    def ask(self) -> list[Any]:
        """Draws from the policy."""
        generator = self._generator()
        return self._fill(self.generation, self._draws(generator), generator)

    def _draws(self, generator: torch.Generator) -> Iterator[Any]:
        policy = [[_softmax(layer) for layer in stage] for stage in self.logits]
        while True:
            yield from self.window.sample(generator, BATCH, policy)

    def _learn(self, scored: Scored) -> None:
        if not self.scores:
            self.mean = scored.accuracy
        distance = scored.accuracy - self.mean
        self.mean += (1 - KEPT) * distance
        self.variance = KEPT * self.variance + (1 - KEPT) * distance**2
        if not distance:
            return
        reward = self.config.step * distance / math.sqrt(self.variance)
        for stage, chosen in zip(self.logits, self.window.genes(scored.architecture)):
            for layer, value in zip(stage, chosen):
                for other, share in _softmax(layer).items():
                    layer[other] += reward * ((other == value) - share)


def _softmax(logits: dict[int, float]) -> dict[int, float]:
    """Shares that add up to 1, from the largest logit down, so that nothing overflows."""
    largest = max(logits.values())
    weights = {value: math.exp(logit - largest) for value, logit in logits.items()}
    total = sum(weights.values())
    return {value: weight / total for value, weight in weights.items()}
