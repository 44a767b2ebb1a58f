"""What looking at a model costs: one pass of a measurement and the answers to the pinned inputs, tried for a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from bigmodel.core.contracts import Task
from bigmodel.data.prepare import Prepared

SECONDS = 0.6  # for which each of the two is tried


class _Enough(Exception):
    """It has been looked at for long enough."""


def pass_seconds(task: Task, model: Any, data: Prepared, settings: Mapping, seconds: float = SECONDS) -> float:
    """Of one pass through the model while it is measured on the validation split. The first, which pays for what is
    allocated, is left out where there are more. Random numbers are put back, and the model trains again."""
    import torch

    begun = [time.perf_counter()]

    def listen(*_anything: object) -> None:
        begun.append(time.perf_counter())
        if begun[-1] - begun[0] > seconds:
            raise _Enough

    devices = [weight.device for weight in model.parameters() if weight.is_cuda][:1]
    with torch.random.fork_rng(devices), _listened(model, listen), suppress(_Enough):
        task.measure(model, data.processor, data.arrays["validation"], settings)
    # from one pass to the next: what is computed beside the model counts too
    if len(begun) > 3:
        return (begun[-1] - begun[2]) / (len(begun) - 3)
    return (time.perf_counter() - begun[0]) / max(len(begun) - 1, 1)


def answer_seconds(task: Task, model: Any, data: Prepared) -> float:
    """Of the answers to all pinned inputs, by the first of them."""
    import torch

    begun, defaults = time.perf_counter(), {field.name: field.default for field in task.inputs}

    def listen(*_anything: object) -> None:
        if time.perf_counter() - begun > SECONDS:
            raise _Enough

    with torch.random.fork_rng([]), _listened(model, listen):
        for asked in data.pinned[:1]:
            with suppress(_Enough):
                list(task.answer(model, data.processor, defaults | asked))
    return (time.perf_counter() - begun) * len(data.pinned)


@contextmanager
def _listened(model: Any, listen: Any) -> Iterator[None]:
    handle = model.register_forward_pre_hook(listen)
    try:
        yield
    finally:
        handle.remove()
        model.train()
