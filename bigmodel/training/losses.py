"""What training makes small, by name. Labels of -100 do not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any


def cross_entropy(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Mean negative log-likelihood of the labels. logits (..., classes), labels (...); smoothing as in
    Szegedy et al. 2016, section 7."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=-100, label_smoothing=smoothing)


def mean_squared_error(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Mean over the examples of the squared distance between the probabilities and the one-hot label
    (Brier 1950). logits (..., classes), labels (...)."""
    from torch.nn.functional import one_hot

    counted = labels.flatten() != -100
    chances = logits.flatten(0, -2)[counted].softmax(-1)
    classes = chances.shape[-1]
    wanted = one_hot(labels.flatten()[counted], classes) * (1 - smoothing) + smoothing / classes
    return (chances - wanted).square().sum(-1).mean()


LOSSES: Mapping[str, Callable] = {"cross-entropy": cross_entropy, "mse": mean_squared_error}
