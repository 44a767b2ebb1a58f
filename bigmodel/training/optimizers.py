"""Optimizers and learning rate schedules, by name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

NO_DECAY_NAMES = (
    "ia3_",
    "lora_magnitude_vector",
)  # scales of adapters: they begin at what changes nothing, and a decay pulls to 0
BETAS = (0.9, 0.98)  # of Adam: the second as Vaswani et al. 2017 have it, quicker to follow than 0.999


def optimizer(model: Any, settings: Mapping) -> Any:
    """The optimizer over the model's trainable weights, fused. Vectors (biases, norms) and adapters' scales are never decayed.

    Adam has no decay, as in Kingma and Ba 2014: added to its gradient, which it divides by its size, a decay pulls every
    weight as hard as its data do, and networks shrink to a fraction instead of learning (Loshchilov and Hutter 2019,
    whose AdamW decays beside it).
    """
    import torch

    weights = [weight for weight in model.parameters() if weight.requires_grad]
    kept = {id(weight) for name, weight in model.named_parameters() if any(part in name for part in NO_DECAY_NAMES)}
    kept |= {id(weight) for weight in weights if weight.ndim <= 1}
    decay = 0.0 if settings["optimizer"] == "adam" else settings["weight_decay"]
    groups = [
        {"params": [weight for weight in weights if id(weight) not in kept], "weight_decay": decay},
        {"params": [weight for weight in weights if id(weight) in kept], "weight_decay": 0.0},
    ]
    rate, fused = settings["learning_rate"], weights[0].device.type in ("cpu", "cuda")
    if settings["optimizer"] == "sgd":
        return torch.optim.SGD(groups, lr=rate, fused=fused)
    if settings["optimizer"] == "adam":
        return torch.optim.Adam(groups, lr=rate, betas=BETAS, fused=fused)
    return torch.optim.AdamW(groups, lr=rate, betas=BETAS, fused=fused)


def learning_rate(settings: Mapping, step: int, steps: int) -> float:
    """Of the update after `step` others, of `steps` in all."""
    return settings["learning_rate"] * lr_factor(settings, step, steps)


def lr_factor(settings: Mapping, step: int, steps: int) -> float:
    """What the learning rate is multiplied by at `step` (from 0) of `steps`.

    cosine: Loshchilov and Hutter 2017, down to a hundredth. inverse-sqrt: Vaswani et al. 2017, section 5.3,
    scaled so that its peak is the learning rate.
    """
    warmup = round(settings["warmup"] * steps)
    if step < warmup:
        return (step + 1) / warmup
    if settings["schedule"] == "cosine":
        done = (step - warmup) / max(steps - warmup, 1)
        return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
    if settings["schedule"] == "inverse-sqrt":
        return math.sqrt(max(warmup, 1) / (step + 1))
    return 1.0
