"""What evaluating a model costs: a forward pass, a generated token, the answers to the pinned inputs, each tried for a moment."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bigmodel.core.spec import Session
from bigmodel.data.prepare import Prepared

PROBE_SECONDS = 0.6  # of each probe
SLOW_PASS_FACTOR = 3  # times as long where passes are so slow that the first would count


class _ProbeDone(Exception):
    """Enough has been timed."""


@dataclass(frozen=True)
class EvalCost:
    """What evaluating a model costs, in seconds."""

    each: float  # forward pass with its loss
    token: float = 0.0  # generated, of a whole batch at a time

    def seconds(self, session: Session, data: Prepared, split: str) -> float:
        """Of evaluating a split; the test split with the slow metrics too."""
        task, settings, rows, final = session.task, session.settings, data.arrays[split], split == "test"
        return self.each * task.eval_passes(rows, settings, final) + self.token * task.generated_tokens(
            rows, settings, final
        )

    def passes(self, session: Session, data: Prepared, split: str) -> float:
        """The same, counted in forward passes."""
        if not self.each:
            return session.task.eval_passes(data.arrays[split], session.settings, split == "test")
        return self.seconds(session, data, split) / self.each


def measure_eval_cost(session: Session, model: Any, data: Prepared, seconds: float = PROBE_SECONDS) -> EvalCost:
    """On the validation split, each part timed for so many seconds. Random generators are put back, and the model is in
    training mode afterwards."""
    task, settings, rows = session.task, session.settings, data.arrays["validation"]
    each = _seconds_per_pass(model, seconds, lambda: task.measure(model, data.processor, rows, settings), task.eval_passes(rows, settings, False))  # fmt: skip
    if not task.generated_tokens(rows, settings, False):
        return EvalCost(each)
    model.eval()
    return EvalCost(
        each, _seconds_per_pass(model, seconds, lambda: task.probe_generation(model, data.processor, rows, settings))
    )


def _seconds_per_pass(model: Any, seconds: float, do: Callable[[], object], most: float = math.inf) -> float:
    """Seconds from one forward pass to the next, so that what is computed beside it counts too, over `most` passes at
    most. The first, which pays for allocations, is left out where there are more; of the rest the lower quartile, as the
    next ones still pay for some of it."""
    import torch

    begun = [time.perf_counter()]

    def listen(*_anything: object) -> None:
        begun.append(time.perf_counter())
        spent = begun[-1] - begun[0]
        if (spent > seconds and (len(begun) > 4 or spent > SLOW_PASS_FACTOR * seconds)) or len(begun) > most + 1:
            raise _ProbeDone

    devices = [weight.device for weight in model.parameters() if weight.is_cuda][:1]
    with torch.random.fork_rng(devices), _forward_hook(model, listen), suppress(_ProbeDone):
        do()
    if len(begun) > 3:
        taken = sorted(after - before for before, after in pairwise(begun[2:]))
        return taken[len(taken) // 4]
    return (time.perf_counter() - begun[0]) / max(len(begun) - 1, 1)


def answer_seconds(session: Session, model: Any, data: Prepared) -> float:
    """Seconds of the answers to all pinned inputs, extrapolated from the first."""
    import torch

    task, begun = session.task, time.perf_counter()
    defaults = {field.name: field.default for field in task.inputs}

    def listen(*_anything: object) -> None:
        if time.perf_counter() - begun > PROBE_SECONDS:
            raise _ProbeDone

    with torch.random.fork_rng([]), _forward_hook(model, listen):
        for asked in data.pinned[:1]:
            with suppress(_ProbeDone):
                list(task.answer(model, data.processor, defaults | asked))
    return (time.perf_counter() - begun) * len(data.pinned)


@contextmanager
def _forward_hook(model: Any, listen: Any) -> Iterator[None]:
    handle = model.register_forward_pre_hook(listen)
    try:
        yield
    finally:
        handle.remove()
        model.train()
