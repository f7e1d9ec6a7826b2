"""Batch norm's running statistics as one tensor, so that all of them are copied, restored and gathered at once."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from runtime.casting import at_least_fp32
from runtime.world import World

_ALIGNMENT = 32  # elements; kernels may want the buffers' addresses aligned


class RunningStatistics:
    """The floating-point buffers of a module that its state_dict has, made views of one flat tensor."""

    def __init__(self, module: nn.Module) -> None:
        self._owners = [
            (part, name, f"{prefix}.{name}" if prefix else name)
            for prefix, part in module.named_modules()
            for name, buffer in part.named_buffers(recurse=False)
            if buffer.is_floating_point() and name not in part._non_persistent_buffers_set
        ]
        self._flat = torch.zeros(0)

    @property
    def flat(self) -> Tensor:
        """All of them in one vector (padding included), made again after the module was moved or converted."""
        if self._owners and getattr(*self._owners[0][:2]).data_ptr() != self._flat.data_ptr():
            buffers = self._buffers()
            spans = [-(-buffer.numel() // _ALIGNMENT) * _ALIGNMENT for buffer in buffers]
            self._flat = torch.zeros(sum(spans), dtype=buffers[0].dtype, device=buffers[0].device)
            for (part, name, _), buffer, span in zip(self._owners, buffers, self._flat.split(spans)):
                view = span[: buffer.numel()].view_as(buffer).copy_(buffer)
                setattr(part, name, view.data)  # counts its changes by itself: torch.compile keeps buffers apart
        return self._flat

    def _buffers(self) -> list[Tensor]:
        return [part.get_buffer(name) for part, name, _ in self._owners]

    def state_dict(self, world: World) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Their average over the ranks by the names of the module's own state_dict, and each rank's `flat`.

        Called by all ranks; both are empty for a single one, whose module holds all there is. Saving therefore changes
        nothing: a run that saves and goes on equals one that is continued from the checkpoint.
        """
        if world.size == 1:
            return {}, []
        own = self.flat.clone()
        shares = world.gather(own.cpu())
        self.flat.copy_(torch.stack(shares).mean(0))
        averages = {full: at_least_fp32(buffer.clone()) for (_, _, full), buffer in zip(self._owners, self._buffers())}
        self.flat.copy_(own)
        return averages, shares

    def load(self, shares: list[Tensor], world: World) -> None:
        """This rank's own; another number of ranks leaves the average that the module's state_dict has."""
        if len(shares) == world.size:
            self.flat.copy_(shares[world.rank])
