"""Which device, and in which precision: measured, not guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

WORTH = 1.1  # bf16 is taken when it is at least this much faster
ROUNDS = 3
SLOW_STEP = 5.0  # seconds; a step this long is not tried again with fewer threads


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


def measure(step: Callable[[str], Any], device: str, asked: str) -> tuple[str, Mapping[str, float]]:
    """(precision, seconds of a step in each that was tried).

    `step(precision)` does one forward and backward pass without an update. Rounds alternate, the fastest
    of each counts: what disturbs a measurement only ever makes it slower.
    """
    tried = ("fp32", "bf16") if asked == "auto" and device.split(":")[0] != "mps" else (asked.replace("auto", "fp32"),)
    seconds = {name: float("inf") for name in tried}
    for name in tried:
        step(name)  # the first pass pays for allocations
    for _round in range(ROUNDS):
        for name in tried:
            seconds[name] = min(seconds[name], _timed(step, name, device))
        if sum(seconds.values()) > 1.0:
            break
    best = "bf16" if "bf16" in seconds and seconds.get("fp32", float("inf")) > WORTH * seconds["bf16"] else tried[0]
    return best, seconds


def threads(step: Callable[[str], Any], precision: str, seconds: float) -> int:
    """How many threads a step on the CPU is computed with; sets them.

    All that torch would take, unless one alone is nearly as fast: then the cores are wanted elsewhere, and
    threads that wait for each other on a busy machine lose more than they win.
    """
    import torch

    every = torch.get_num_threads()
    if every == 1 or seconds > SLOW_STEP:
        return every
    torch.set_num_threads(1)
    alone = min(_timed(step, precision), _timed(step, precision))
    if alone > WORTH * seconds:
        torch.set_num_threads(every)
    return torch.get_num_threads()


def _timed(step: Callable[[str], Any], precision: str, device: str = "cpu") -> float:
    import torch

    started = time.perf_counter()
    step(precision)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started
