"""A batch through the network to its loss: as the network comes, or compiled where a compiler is there and its time is paid back."""

from __future__ import annotations

import importlib.util
import inspect
import shutil
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bigmodel.core.contracts import HEADS, Loss
from bigmodel.core.spec import Session
from bigmodel.training.kernels import convolution, dropout
from bigmodel.training.kernels.attention import use_matmul_attention

if TYPE_CHECKING:
    import torch

COMPILE_SECONDS = 60.0  # seconds that a compiler takes for a network of some hundred million weights, at most
COMPILE_SPEEDUP = 0.25  # of a step that compiling saves on a GPU, at least


class Forward:
    """`forward(batch)` is the loss of a batch on `device`, its parts without gradient.

    Compiled for the shapes of its first batch alone: a batch of other shapes, such as the last of an epoch, runs
    uncompiled, since compiling for it would cost more than it saves.
    """

    def __init__(self, session: Session, model: Any, device: str, precision: str, compiled: bool = False):
        import torch

        self.model, self.device, self.precision = model, device, precision
        self.task, self.settings = session.task, dict(session.settings)
        self.inputs, self.targets = HEADS[session.task.head].inputs, session.task.targets
        HEADS[session.task.head].loss_function  # noqa: B018  (imported before torch.compile traces it)
        self.own_loss = session.task.head in session.architecture.own_loss
        # a key-value cache is of no use in training, and costs copies
        self.extra_kwargs = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
        self.compiled = torch.compile(self._forward_loss) if compiled else None
        self.compiled_shapes: list[torch.Size] = []

    def __call__(self, batch: Mapping[str, torch.Tensor]) -> Loss:
        inputs, targets = self.to_device(batch)
        if self.compiled is None:
            return Loss(*self._forward_loss(inputs, targets))
        shapes = [value.shape for value in (*inputs.values(), *targets.values())]
        self.compiled_shapes = self.compiled_shapes or shapes
        return Loss(*(self.compiled if shapes == self.compiled_shapes else self._forward_loss)(inputs, targets))

    def to_device(self, batch: Mapping[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
        """(what the network takes, what the loss is computed from) of a batch; the rest of it stays on the CPU."""
        named = to_device(self.device, {name: batch[name] for name in (*self.inputs, *self.targets) if name in batch})
        targets = {name: named.pop(name) for name in self.targets if name in named}
        return named, targets

    def outputs(self, inputs: Mapping[str, torch.Tensor], targets: Mapping[str, torch.Tensor]) -> Any:
        """What the network returns, in the run's precision."""
        with autocast(self.device, self.precision):
            return self.model(**inputs, **(targets if self.own_loss else {}), **self.extra_kwargs)

    def loss(self, outputs: Any, targets: Mapping[str, torch.Tensor]) -> Loss:
        """The network's own loss where it has one, else the task's."""
        if self.own_loss:
            return Loss(outputs.loss, getattr(outputs, "loss_dict", None) or {})
        return self.task.loss(outputs, targets, self.settings)

    def _forward_loss(self, inputs: Mapping, targets: Mapping) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        total, parts = self.loss(self.outputs(inputs, targets), targets)
        return total, {name: part.detach() for name, part in parts.items()}


def apply_cpu_kernels(model: Any, device: str) -> None:
    """Put faster kernels into a network for as long as it is trained; what is saved of it stays the same."""
    dropout.apply_cpu_kernels(model)
    convolution.apply_cpu_kernels(model)
    use_matmul_attention(model, device)


def to_device(device: str, batch: Mapping) -> dict:
    """The tensors on `device`; to a GPU asynchronously, from pinned memory."""
    if not device.startswith("cuda"):
        return {name: value.to(device) for name, value in batch.items()}
    return {
        name: value if value.is_cuda else value.pin_memory().to(device, non_blocking=True)
        for name, value in batch.items()
    }


def autocast(device: str, precision: str) -> Any:
    """The context of a forward pass in `precision`, 'fp32' or 'bf16'."""
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
    """Whether compiling is worth a try for a run that takes so many seconds without: never on the CPU (BENCHMARKS.md)."""
    return device.startswith("cuda") and seconds * COMPILE_SPEEDUP > COMPILE_SECONDS and can_compile(device)
