"""Which device, and in which precision: measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

WORTH = 1.15  # how much faster bf16, or more threads, must be to be taken
ROUNDS = 3
PATIENCE = 0.5  # seconds after which each way is tried only once more


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


def autocast(device: str, precision: str) -> Any:
    """The context in which a forward pass is computed."""
    import torch

    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16)


@dataclass(frozen=True)
class Pace:
    """How steps are computed, and what was measured before that was decided."""

    precision: str
    threads: int
    seconds: Mapping[str, float]  # of a step, by what was tried

    @property
    def step(self) -> float:
        return self.seconds[_name(self.precision, self.threads)]


def measure(step: Callable[[str], Any], device: str, asked: str) -> Pace:
    """Tries `step(precision)`, one forward and backward pass without an update, and keeps what is fastest.

    On the CPU one thread is taken unless all of them are clearly faster: then the cores are wanted elsewhere,
    and threads that wait for each other on a busy machine lose more than they win. Sets torch's threads.
    """
    import torch

    until = time.perf_counter() + PATIENCE
    first = "fp32" if asked == "auto" else asked
    every = torch.get_num_threads() if device == "cpu" else 1
    seconds = {}
    for threads in dict.fromkeys((1, every)):
        if device == "cpu":
            torch.set_num_threads(threads)
        seconds[_name(first, threads)] = _fastest(step, first, device, until)
    threads = every if seconds[_name(first, every)] * WORTH < seconds[_name(first, 1)] else 1
    if device == "cpu":
        torch.set_num_threads(threads)
    if asked != "auto" or device.split(":")[0] == "mps":
        return Pace(first, threads, seconds)
    seconds[_name("bf16", threads)] = _fastest(step, "bf16", device, until)
    faster = seconds[_name("bf16", threads)] * WORTH < seconds[_name(first, threads)]
    return Pace("bf16" if faster else first, threads, seconds)


def _name(precision: str, threads: int) -> str:
    return f"{precision}, {threads}"


def _fastest(step: Callable[[str], Any], precision: str, device: str, until: float) -> float:
    """Seconds of a step: the least of some, as what disturbs a measurement only ever makes it slower."""
    import torch

    step(precision)  # the first pass pays for allocations
    best = float("inf")
    for _round in range(ROUNDS):
        started = time.perf_counter()
        step(precision)
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
        if time.perf_counter() > until:
            break
    return best
