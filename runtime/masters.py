"""The weights that an optimizer moves, beside those that a module computes with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from runtime.casting import at_least_fp32


class MasterWeights:
    """A module's weights as training moves and checkpoints keep them: in fp32.

    A weight in half precision follows a master, which the optimizer owns; any other is its own master. What is off the
    path has no gradient: its master has none either, and nothing of it is copied.

    Args:
        masters: by the names of the module's parameters.
    """

    def __init__(self, module: nn.Module, masters: Mapping[str, nn.Parameter]) -> None:
        self.module = module
        weights = dict(module.named_parameters())
        self.parameters = list(weights.values())  # walking a supernet's modules at each step would take long
        self._followed = {name: master for name, master in masters.items() if master is not weights[name]}
        self._pairs = [(weights[name], master) for name, master in self._followed.items()]

    def clear_gradients(self) -> None:
        """No gradient anywhere, which is not a gradient of zero."""
        for parameter in self.parameters:
            parameter.grad = None
        for _, master in self._pairs:
            master.grad = None

    @torch.no_grad()
    def collect_gradients(self) -> None:
        """Hand the gradients that exist to the masters."""
        halves, wholes = [], []
        for weight, master in self._pairs:
            if weight.grad is not None:
                halves.append(weight.grad)
                wholes.append(torch.empty_like(master))
                weight.grad, master.grad = None, wholes[-1]
        if halves:
            torch._foreach_copy_(wholes, halves)

    @torch.no_grad()
    def follow(self) -> None:
        """After a step: the weights whose masters have a gradient become what those are."""
        live = [(weight, master) for weight, master in self._pairs if master.grad is not None]
        if live:
            torch._foreach_copy_([weight for weight, _ in live], [master for _, master in live])

    def state_dict(self) -> dict[str, Tensor]:
        """The module's, in fp32: of a weight that has a master, the master."""
        whole = {name: at_least_fp32(value) for name, value in self.module.state_dict().items()}
        return whole | {name: master.detach() for name, master in self._followed.items()}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Inverse of `state_dict`, to the bit."""
        self.module.load_state_dict(state)
        for name, master in self._followed.items():
            master.copy_(state[name])
