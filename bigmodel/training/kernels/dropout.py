"""Dropout whose random numbers cost a quarter: 16 random bits an element, where torch's CPU kernel draws a float."""

from __future__ import annotations

from functools import cache
from typing import Any


@cache
def fast_dropout() -> type:
    """A torch.nn.Dropout over tensors of any shape, its probability exact to 1/65536. Draws from torch's generator."""
    import torch

    class LeanDropout(torch.nn.Dropout):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not self.training or self.p == 0 or x.device.type != "cpu":
                return super().forward(x)
            bits = torch.randint(-(2**63), 2**63 - 1, ((x.numel() + 3) // 4,))
            kept = bits.view(torch.int16)[: x.numel()].view(x.shape) >= round(self.p * 65536) - 32768
            return x * kept.to(x.dtype).mul_(1 / (1 - self.p))

    return LeanDropout


def apply_cpu_kernels(model: Any) -> None:
    """Replace the model's dropout layers in place; what is saved stays the same."""
    import torch

    for module in model.modules():
        if type(module) is torch.nn.Dropout:
            module.__class__ = fast_dropout()
