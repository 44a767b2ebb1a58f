"""Nothing is learnt from a loss or a gradient that is not a number."""

from __future__ import annotations

import math
from typing import Any


class NonfiniteGuard:
    """Looks at every step before its update. On the CPU we look; on a GPU the update itself does, and leaves the weights as
    they are from the first bad step on, so that nobody has to wait for the device to be asked: `bad()` does that, when
    something is told or kept anyway.

    Norms over batches change their statistics while a step is computed, before anybody can look: a network that has them is
    looked at in every step on every device, and their statistics are put back.
    """

    def __init__(self, optimize: Any, model: Any, device: str):
        from torch.nn.modules.batchnorm import _NormBase

        norms = [module for module in model.modules() if isinstance(module, _NormBase)]
        self.norm_statistics = [buffer for norm in norms for buffer in norm.buffers(recurse=False)]
        self.saved_statistics = [buffer.clone() for buffer in self.norm_statistics]
        self.optimizer, self.synchronous = optimize, not device.startswith("cuda") or bool(norms)
        self.step, self.norm = 0, None  # of the first bad one; on a GPU tensors, 0 for none yet

    def save_statistics(self) -> None:
        """Before a step is computed."""
        import torch

        if self.norm_statistics:
            torch._foreach_copy_(self.saved_statistics, self.norm_statistics)

    def look(self, step: int, loss: Any, norm: Any) -> None:
        """After it is computed, before its update."""
        import torch

        if self.synchronous:
            if not math.isfinite(float(loss + norm)):
                self.step, self.norm = step, norm
                self.restore_statistics()
            return
        if self.norm is None:
            self.step, self.norm = torch.zeros((), dtype=torch.long, device=loss.device), torch.zeros_like(norm)
        first = ~(loss + norm).isfinite() & (self.step == 0)
        self.step = self.step + first * step  # a number in torch.where would have to be copied there, and waited for
        self.norm = torch.where(first, norm, self.norm)
        # torch's fused optimizers leave out the update where this is 1, as the scaler of fp16 has them do
        self.optimizer.grad_scale, self.optimizer.found_inf = None, (self.step > 0).float()

    def restore_statistics(self) -> None:
        """Statistics as they were before this step."""
        for statistic, kept in zip(self.norm_statistics, self.saved_statistics, strict=True):
            statistic.copy_(kept)

    def first_bad_step(self) -> int:
        """The first step that was bad, 0 for none. Waits for a GPU."""
        return int(self.step)
