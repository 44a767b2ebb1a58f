"""Which device, in which precision, compiled or not: measured, not guessed."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data.prepare import Prepared
from bigmodel.training.forward import Forward
from bigmodel.training.repeated import Repeated

WORTH = 1.15  # how much faster bf16, or more threads, must be to be taken
ROUNDS = 3
PART = 4  # of a batch that is slow, a quarter is tried
QUICK = 0.1  # seconds; what is faster is tried whole
HOPELESS = 5  # times what is known: a first pass that takes as long need not be repeated
PATIENCE = 0.3  # seconds after which each way is tried only twice more


def best_device() -> str:
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_for(asked: str) -> str:
    """The torch device for a setting; Refusal when this machine lacks it."""
    import torch

    kind = asked.split(":")[0]
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind == "auto":
        return best_device()
    if not present.get(kind, False):
        options = ", ".join(name for name, there in present.items() if there)
        what = _("This machine has no {device} device.", device=asked)
        raise Refusal(what, do=_("Choose one of: {options}.", options="auto, " + options), field="device")
    return asked


@dataclass(frozen=True)
class Pace:
    """How steps are computed, and what was measured before that was decided."""

    precision: str
    threads: int
    seconds: Mapping[str, float]  # of a step, by what was tried
    compiled: bool = False

    @property
    def step(self) -> float:
        return self.seconds[_name(self.precision, self.threads, self.compiled)]

    def take(self, device: str) -> Pace:
        """Compute so from now on: a run that goes on does it as it has begun."""
        import torch

        if device == "cpu":
            torch.set_num_threads(self.threads)
        return self


def probe(task: Task, model: Any, data: Prepared, settings: Mapping, device: str) -> Pace:
    """How to compute the steps, from passes over the first batch that leave no trace in model or random numbers.

    A part of the batch says as much about which way is the fastest, so of a slow one only a quarter is tried.
    """
    arrays = data.arrays["train"]
    indices = task.plan(arrays, settings, 0)[0]
    forward = {name: Forward(model, task.head, settings, device, name) for name in ("fp32", "bf16")}
    batch: Mapping = {}

    def step(precision: str) -> None:
        forward[precision](batch).backward()
        model.zero_grad(set_to_none=True)

    with _no_trace(model, device):
        part = indices[: max(len(indices) // PART, 1)]
        batch = task.batch(arrays, part, settings, 0)
        begun = time.perf_counter()
        step("fp32" if settings["precision"] == "auto" else settings["precision"])
        if (time.perf_counter() - begun) * len(indices) / len(part) < QUICK:
            part = indices
            batch = task.batch(arrays, part, settings, 0)
        return measure(step, device, settings["precision"], len(indices) / len(part))


def compare(compiled: Forward, task: Task, data: Prepared, settings: Mapping, pace: Pace) -> Pace:
    """The pace once the network has been compiled, if it is then worth it; the compiled one's time is kept either way."""
    arrays, model, device = data.arrays["train"], compiled.model, compiled.device
    batch = task.batch(arrays, task.plan(arrays, settings, 0)[0], settings, 0)
    as_it_is = Forward(model, task.head, settings, device, pace.precision)

    def step(forward: Forward) -> None:
        forward(batch).backward()
        model.zero_grad(set_to_none=True)

    with _no_trace(model, device), Repeated(device).strictly():
        until = time.perf_counter() + PATIENCE
        plain = _fastest(step, as_it_is, device, until)
        step(compiled)  # this is where it is compiled
        quick = _fastest(step, compiled, device, time.perf_counter() + PATIENCE)
    names = {_name(pace.precision, pace.threads): plain, _name(pace.precision, pace.threads, True): quick}
    return replace(pace, compiled=quick * WORTH < plain, seconds={**pace.seconds, **names})


@contextmanager
def _no_trace(model: Any, device: str) -> Iterator[None]:
    """What is computed within leaves random numbers and buffers as they were: batch norm counts batches."""
    import torch

    state = {name: value.clone() for name, value in model.named_buffers()}
    with torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else []):
        yield
    with torch.no_grad():
        for name, value in model.named_buffers():
            value.copy_(state[name])


def measure(step: Callable[[str], Any], device: str, asked: str, times: float = 1.0) -> Pace:
    """Tries `step(precision)`, one forward and backward pass without an update, and keeps what is fastest.

    On the CPU one thread is taken unless all of them are clearly faster: then the cores are wanted elsewhere,
    and threads that wait for each other on a busy machine lose more than they win. Sets torch's threads.
    `times`: how often `step` goes into a whole one.
    """
    import torch

    until = time.perf_counter() + PATIENCE
    first = "fp32" if asked == "auto" else asked
    every = torch.get_num_threads() if device == "cpu" else 1
    seconds = {}
    for threads in dict.fromkeys((1, every)):
        if device == "cpu":
            torch.set_num_threads(threads)
        seconds[_name(first, threads)] = _fastest(step, first, device, until, min(seconds.values(), default=math.inf))
    threads = every if seconds[_name(first, every)] * WORTH < seconds[_name(first, 1)] else 1
    if device == "cpu":
        torch.set_num_threads(threads)
    if asked != "auto" or device.split(":")[0] == "mps":
        return Pace(first, threads, _scaled(seconds, times))
    seconds[_name("bf16", threads)] = _fastest(step, "bf16", device, until, min(seconds.values()))
    faster = seconds[_name("bf16", threads)] * WORTH < seconds[_name(first, threads)]
    return Pace("bf16" if faster else first, threads, _scaled(seconds, times))


def _scaled(seconds: Mapping[str, float], times: float) -> dict[str, float]:
    return {name: spent * times for name, spent in seconds.items()}


def _name(precision: str, threads: int, compiled: bool = False) -> str:
    return f"{precision}, {threads}" + (", compiled" if compiled else "")


def _fastest(step: Callable[[Any], Any], way: Any, device: str, until: float, known: float = math.inf) -> float:
    """Seconds of a step: the least of some, as what disturbs a measurement only ever makes it slower. The first pass pays
    for allocations and does not count, unless it says enough: threads that wait for each other on a busy machine can
    take fifty times as long as what is known."""
    import torch

    best, begun = math.inf, time.perf_counter()
    step(way)
    if time.perf_counter() - begun > HOPELESS * known:
        return time.perf_counter() - begun
    for number in range(ROUNDS):
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        started = time.perf_counter()
        step(way)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
        if number and time.perf_counter() > until:  # a single one may have been disturbed
            break
    return best
