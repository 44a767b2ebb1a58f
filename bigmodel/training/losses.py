"""What training makes small, by name. Labels of -100 do not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

CHUNK = 2**17  # logits that are looked at together on the CPU: half a megabyte stays in a core's cache


def cross_entropy(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Mean negative log-likelihood of the labels. logits (..., classes), labels (...); smoothing as in
    Szegedy et al. 2016, section 7."""
    from torch.compiler import is_compiling
    from torch.nn.functional import cross_entropy

    logits, labels = logits.flatten(0, -2), labels.flatten()
    if logits.requires_grad and logits.device.type == "cpu" and logits.numel() > CHUNK and not is_compiling():
        return _chunked()(logits, labels, smoothing)
    return cross_entropy(logits.float(), labels, ignore_index=-100, label_smoothing=smoothing)


@cache
def _chunked() -> Callable:
    """Cross-entropy and its gradient in one pass, a few rows at a time: with a large vocabulary the logits are
    the largest thing of a step, and going through memory for each operation costs four times as long in bf16
    and twice as long in fp32."""
    import torch

    class Chunked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, logits: Any, labels: Any, smoothing: float) -> Any:
            rows, classes = logits.shape
            size = max(CHUNK // classes, 1)
            counted = labels != -100
            weights = (counted / counted.sum())[:, None]
            right = labels.clamp_min(0)[:, None]
            gradient, loss = torch.empty_like(logits), torch.zeros(())
            part = torch.empty(min(size, rows), classes)
            for start in range(0, rows, size):
                here = slice(start, start + size)
                x, place, weight = part[: rows - start], right[here], weights[here]
                x.copy_(logits[here]).sub_(x.amax(-1, keepdim=True))
                wanted = (1 - smoothing) * x.gather(1, place) + smoothing * x.mean(-1, keepdim=True)
                total = x.exp_().sum(-1, keepdim=True)
                loss += ((total.log() - wanted) * weight).sum()
                x.mul_(weight / total).scatter_add_(1, place, (smoothing - 1) * weight)
                gradient[here] = x.sub_(smoothing / classes * weight) if smoothing else x
            ctx.save_for_backward(gradient)
            return loss

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> tuple:
            (gradient,) = ctx.saved_tensors
            return gradient.mul_(upstream), None, None

    return Chunked.apply


def mean_squared_error(logits: Any, labels: Any, smoothing: float = 0.0) -> Any:
    """Mean over the examples of the squared distance between the probabilities and the one-hot label
    (Brier 1950). logits (..., classes), labels (...)."""
    from torch.nn.functional import one_hot

    counted = labels.flatten() != -100
    chances = logits.flatten(0, -2)[counted].float().softmax(-1)
    classes = chances.shape[-1]
    wanted = one_hot(labels.flatten()[counted], classes) * (1 - smoothing) + smoothing / classes
    return (chances - wanted).square().sum(-1).mean()


LOSSES: Mapping[str, Callable] = {"cross-entropy": cross_entropy, "mse": mean_squared_error}
