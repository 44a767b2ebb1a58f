"""No update is made with a loss or a gradient that is not finite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


class NonfiniteGuard:
    """Checks every step before its update. On the CPU the host does; on a GPU the fused optimizer itself, by a flag on the
    device that leaves out all updates from the first bad step on, so that no step forces a host sync: `first_bad_step`
    does, where something is logged or saved anyway.

    Batch norms change their running statistics in the forward pass, before any check: a network that has them is
    checked synchronously on every device, and their statistics are put back.
    """

    def __init__(self, optimize: Any, model: Any, device: str):
        from torch.nn.modules.batchnorm import _NormBase

        norms = [module for module in model.modules() if isinstance(module, _NormBase)]
        self.norm_statistics = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self.saved_statistics = [buffer.clone() for buffer in self.norm_statistics]
        self.optimizer, self.synchronous = optimize, not device.startswith("cuda") or bool(norms)
        self.step, self.norm = 0, None  # of the first bad one; on a GPU tensors, 0 for none yet

    def save_statistics(self) -> None:
        """Of batch norms, before a step's forward pass."""
        import torch

        if self.norm_statistics:
            torch._foreach_copy_(self.saved_statistics, self.norm_statistics)

    def look(self, step: int, loss: torch.Tensor, norm: torch.Tensor) -> None:
        """After a step's gradients, before its update. loss and gradient norm: 0-dim tensors on the device."""
        import torch

        if self.synchronous:
            if not math.isfinite(float(loss + norm)):
                self.step, self.norm = step, norm
                self.restore_statistics()
            return
        if self.norm is None:
            self.step, self.norm = torch.zeros((), dtype=torch.long, device=loss.device), torch.zeros_like(norm)
        first = ~(loss + norm).isfinite() & (self.step == 0)
        self.step = self.step + first * step  # a host scalar in torch.where would force a sync
        self.norm = torch.where(first, norm, self.norm)
        # torch's fused optimizers leave out the update where this is 1, as the scaler of fp16 has them do
        self.optimizer.grad_scale, self.optimizer.found_inf = None, (self.step > 0).float()

    def restore_statistics(self) -> None:
        """Of batch norms, as they were before this step."""
        for statistic, kept in zip(self.norm_statistics, self.saved_statistics, strict=True):
            statistic.copy_(kept)

    def first_bad_step(self) -> int:
        """0 for none. A host sync on a GPU."""
        return int(self.step)
