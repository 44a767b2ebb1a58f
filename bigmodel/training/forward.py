"""A batch through the network to its loss: as the network comes, or compiled where a compiler is there and its time is paid back."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
from collections.abc import Mapping
from typing import Any

from bigmodel.core.contracts import HEADS
from bigmodel.core.spec import Session
from bigmodel.training.kernels import convolution, dropout
from bigmodel.training.kernels.attention import use_matmul_attention
from bigmodel.training.losses import LOSSES

COMPILE_SECONDS = 60.0  # seconds that a compiler takes for a network of some hundred million weights, at most
COMPILE_SPEEDUP = 0.25  # of a step that compiling saves on a GPU, at least


class Forward:
    """`forward(batch)` is the mean loss over the labels that count, on `device`.

    Compiled for the shape of its first batch alone: a batch of another shape, such as the last of an epoch, goes
    through the network as it comes, since compiling for it would cost more than it brings.
    """

    def __init__(self, session: Session, model: Any, device: str, precision: str, compiled: bool = False):
        import torch

        self.model, self.device, self.precision = model, device, precision
        self.inputs, settings = HEADS[session.task.head].inputs, session.settings
        self.of, self.smoothing = LOSSES[settings["loss"]], settings["label_smoothing"]
        # a key-value cache is of no use in training, and costs copies
        self.extra_kwargs = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
        self.compiled = torch.compile(self._forward_loss) if compiled else None
        self.compiled_shapes: dict[str, Any] = {}

    def __call__(self, batch: Mapping) -> Any:
        batch = to_device(self.device, {name: batch[name] for name in (*self.inputs, "labels") if name in batch})
        labels = batch.pop("labels")
        if self.compiled is None:
            return self._forward_loss(batch, labels)
        shapes = {name: value.shape for name, value in batch.items()}
        self.compiled_shapes = self.compiled_shapes or shapes
        return (self.compiled if shapes == self.compiled_shapes else self._forward_loss)(batch, labels)

    def logits(self, inputs: Mapping) -> Any:
        with autocast(self.device, self.precision):
            return self.model(**inputs, **self.extra_kwargs).logits

    def loss(self, logits: Any, labels: Any) -> Any:
        return self.of(logits, labels, self.smoothing)

    def _forward_loss(self, inputs: Mapping, labels: Any) -> Any:
        return self.loss(self.logits(inputs), labels)


def apply_cpu_kernels(model: Any, device: str) -> None:
    """Let a network compute the same for less while it learns. What is saved of it stays as it was."""
    dropout.apply_cpu_kernels(model)
    convolution.apply_cpu_kernels(model)
    use_matmul_attention(model, device)


def to_device(device: str, batch: Mapping) -> dict:
    """The tensors there; to a GPU they go beside what it computes, from memory that the system does not move."""
    if not device.startswith("cuda"):
        return {name: value.to(device) for name, value in batch.items()}
    return {
        name: value if value.is_cuda else value.pin_memory().to(device, non_blocking=True)
        for name, value in batch.items()
    }


def autocast(device: str, precision: str) -> Any:
    """The context in which a forward pass is computed."""
    from contextlib import nullcontext

    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


def can_compile(device: str) -> bool:
    """Whether torch.compile has what it needs: Triton on a GPU, a C++ compiler on the CPU."""
    if device.startswith("cuda"):
        return importlib.util.find_spec("triton") is not None and shutil.which("gcc") is not None
    return device == "cpu" and shutil.which("g++") is not None


def compile_pays_off(device: str, seconds: float) -> bool:
    """Whether compiling is worth a try for a run that takes so many seconds without. On the CPU it has brought nothing
    (BENCHMARKS.md)."""
    return device.startswith("cuda") and seconds * COMPILE_SPEEDUP > COMPILE_SECONDS and can_compile(device)
