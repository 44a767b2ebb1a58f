"""What training makes small, by the name in the setting `loss`. Labels of -100 do not count."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import Loss

if TYPE_CHECKING:
    import torch

CHUNK = 2**17  # logits computed together on the CPU: half a megabyte stays in a core's cache


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean negative log-likelihood of the labels, in nats, a 0-dim tensor of fp32. logits (..., classes), labels (...);
    label smoothing as in Szegedy et al. 2016, section 7."""
    from torch.compiler import is_compiling
    from torch.nn.functional import cross_entropy

    logits, labels = logits.flatten(0, -2), labels.flatten()
    if logits.requires_grad and logits.device.type == "cpu" and logits.numel() > CHUNK and not is_compiling():
        return _chunked()(logits, labels, smoothing)
    return cross_entropy(logits.float(), labels, ignore_index=-100, label_smoothing=smoothing)


@cache
def _chunked() -> Callable:
    """Cross-entropy and its gradient in one pass, chunk by chunk of rows: with a large vocabulary the logits are the
    largest tensor of a step, and one pass through memory an operation takes four times as long in bf16, twice in fp32.
    (logits (rows, classes), labels (rows), smoothing) -> 0-dim tensor."""
    import torch

    class Chunked(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, logits: Any, labels: Any, smoothing: float) -> Any:
            rows, classes = logits.shape
            size = max(CHUNK // classes, 1)
            counted = labels != -100
            weights = (counted / counted.sum())[:, None]
            targets = labels.clamp_min(0)[:, None]
            gradient, loss = torch.empty_like(logits), torch.zeros(())
            buffer = torch.empty(min(size, rows), classes)
            for start in range(0, rows, size):
                chunk = slice(start, start + size)
                x, target, weight = buffer[: rows - start], targets[chunk], weights[chunk]
                x.copy_(logits[chunk]).sub_(x.amax(-1, keepdim=True))
                target_logit = (1 - smoothing) * x.gather(1, target) + smoothing * x.mean(-1, keepdim=True)
                total = x.exp_().sum(-1, keepdim=True)
                loss += ((total.log() - target_logit) * weight).sum()
                x.mul_(weight / total).scatter_add_(1, target, (smoothing - 1) * weight)
                gradient[chunk] = x.sub_(smoothing / classes * weight) if smoothing else x
            ctx.save_for_backward(gradient)
            return loss

        @staticmethod
        def backward(ctx: Any, upstream: Any) -> tuple:
            (gradient,) = ctx.saved_tensors
            return gradient.mul_(upstream), None, None

    return Chunked.apply


def mean_squared_error(logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0) -> torch.Tensor:
    """Mean over the examples of the squared distance between the probabilities and the one-hot label
    (Brier 1950), a 0-dim tensor. logits (..., classes), labels (...)."""
    from torch.nn.functional import one_hot

    counted = labels.flatten() != -100
    probabilities = logits.flatten(0, -2)[counted].float().softmax(-1)
    classes = probabilities.shape[-1]
    targets = one_hot(labels.flatten()[counted], classes) * (1 - smoothing) + smoothing / classes
    return (probabilities - targets).square().sum(-1).mean()


LOSSES: Mapping[str, Callable] = {"cross-entropy": cross_entropy, "mse": mean_squared_error}


def named_loss(outputs: Any, targets: Mapping[str, torch.Tensor], settings: Mapping) -> Loss:
    """The default of every head: of outputs.logits (..., classes) against targets['labels'] (...)."""
    return Loss(LOSSES[settings["loss"]](outputs.logits, targets["labels"], settings["label_smoothing"]))
