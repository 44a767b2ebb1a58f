"""Update-to-weight ratio: one number that tells a standstill from a learning rate too high."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_TENSORS = 16  # sampled, spread over the network
SAMPLE_NUMEL = 4096  # elements of each: enough for a mean, and cheap beside the step


class UpdateRatio:
    """Compares a sample of the weights before and after an update.

    Matrices are sampled where there are any: biases and norms begin at 0 or 1, which says nothing about their size.
    """

    def __init__(self, weights: Sequence[Any]):
        chosen = [weight for weight in weights if weight.ndim > 1] or list(weights)
        chosen = chosen[:: -(-len(chosen) // MAX_TENSORS)]
        self.samples = [_sample(weight.detach()) for weight in chosen]
        self.saved: list[Any] = []

    def save(self) -> None:
        self.saved = [piece.clone() for piece in self.samples]

    def compute(self) -> dict[str, float]:
        """update: 2-norm of the update by that of the weights (Karpathy 2019 takes 1e-3 for usual). weights: root mean
        square of the weights after it. {} where nothing was saved."""
        import torch

        if not self.saved:
            return {}
        moved = torch._foreach_sub(self.saved, self.samples)
        lengths = torch.stack([*torch._foreach_norm(moved), *torch._foreach_norm(self.samples)]).double().square()
        self.saved = []
        update, length = lengths.view(2, -1).sum(1).sqrt().tolist()  # one host sync
        numel = sum(piece.numel() for piece in self.samples)
        return {"update": update / max(length, 1e-30), "weights": length / numel**0.5}


def _sample(weight: Any) -> Any:
    """Its first rows as a view: updates of the weight show in it."""
    if weight.ndim < 1 or weight.numel() <= SAMPLE_NUMEL:
        return weight
    rows = max(SAMPLE_NUMEL // weight[0].numel(), 1)
    piece = weight[:rows]
    return piece if weight[0].ndim != 1 or weight[0].numel() <= SAMPLE_NUMEL else piece[:, :SAMPLE_NUMEL]
