"""Which device, in which precision, compiled or not: measured, not guessed."""

from __future__ import annotations

import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from bigmodel.core import files
from bigmodel.core.cpu import cpu_name
from bigmodel.core.errors import Refusal
from bigmodel.core.files import write_atomic
from bigmodel.core.spec import NOT_COMPUTING, Session
from bigmodel.core.words import _
from bigmodel.data.prepare import Prepared
from bigmodel.training import out_of_memory
from bigmodel.training.determinism import Determinism
from bigmodel.training.forward import Forward

MIN_SPEEDUP = 1.15  # of more threads, or of a compiled network, to be taken
MIN_SPEEDUP_BF16 = 1.1  # forward and backward alone are tried, and of whole updates bf16 has been seen to save more
MIN_TIMED_PASSES = 3
MAX_TIMED_PASSES = 10  # where all of them take less than FAST_PASS_SECONDS
FAST_PASS_SECONDS = 0.1
PART_GROWTH = 4  # a sixteenth of the batch is tried first, then a quarter, then all of it
MAX_PASS_SECONDS = 0.25  # that a larger part may be expected to take: else the smaller one decides
LIMIT_SECONDS = 8.0  # after which no further variant is tried: the best so far is taken
GIVE_UP_FACTOR = 5  # times the best so far, and WARMUP_SECONDS: a first pass that takes as long need not be repeated
WARMUP_SECONDS = 0.3  # that a first pass may take longer: kernels are made for a number of threads
SLOW_PASS_SECONDS = 0.8  # a pass that takes as long says enough by itself
PROBE_SECONDS = 0.3  # after which each variant is tried only twice more
CACHE_SECONDS = 24 * 3600.0  # for which a plan holds for runs of the same settings
MAX_OTHER_LOAD = 0.3  # cores that other programs may have used meanwhile for a plan to be cached


def best_device() -> str:
    """'cuda', 'mps' or 'cpu': the fastest kind that this machine has."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_device(asked: str) -> str:
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
class ComputePlan:
    """How steps are computed, and what was measured before that was decided."""

    precision: str  # fp32, bf16
    threads: int
    seconds: Mapping[str, float]  # of a step, by variant
    compiled: bool = False

    @property
    def step_seconds(self) -> float:
        return self.seconds[_variant_name(self.precision, self.threads, self.compiled)]

    def apply(self, device: str) -> ComputePlan:
        """Set torch's threads: a run that is resumed computes as it began."""
        import torch

        if device == "cpu":
            torch.set_num_threads(self.threads)
        return self


def probe(session: Session, model: Any, data: Prepared, device: str, cached: Path | None = None) -> ComputePlan:
    """How to compute the steps, from passes over the first batch that leave model and random generators as they were.

    The whole batch is tried where that is quick: some networks gain from bf16 only there. Of a slow one a part is tried,
    and less where memory runs out: the steps will be split as well.

    `cached`: file of the plan for the runs of a day that have the same settings, on the same machine. They compute as
    the forecast has, and as each other, to the bit: two variants can be so close that a stopwatch decides now for one,
    now for the other. What was measured while other programs were at work is not cached.
    """
    plan = _read_cached(cached)
    if plan is not None:
        return plan.apply(device)
    load, began = _use(), time.perf_counter()
    plan = _probed(session, model, data, device)
    if cached is not None and _use() - load < MAX_OTHER_LOAD * (time.perf_counter() - began):
        with suppress(OSError):
            _write_cached(plan, cached)
    return plan


@lru_cache
def all_threads() -> int:
    """How many threads this process was given, before anything was decided in it."""
    import torch

    return torch.get_num_threads()


def compute_plan_file(cache: Path, session: Session, data: Prepared, device: str) -> Path:
    """Where the plan of runs like this one is cached: same network, data, settings, hardware and library versions."""
    from importlib.metadata import version

    import torch

    import bigmodel

    spec = session.spec
    settings = {name: value for name, value in spec.settings.items() if name not in NOT_COMPUTING}
    where = (
        torch.cuda.get_device_name(device)
        if device.startswith("cuda")
        else f"{device}, {cpu_name()}, {os.cpu_count()}, {all_threads()}"
    )
    versions = [bigmodel.__version__, version("torch"), version("transformers")]
    parts = [spec.task, spec.architecture, data.key, settings, where, *versions]
    return cache / "paces" / (hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:24] + ".json")


def _read_cached(path: Path | None) -> ComputePlan | None:
    if path is None:
        return None
    with suppress(OSError, ValueError, TypeError, KeyError):
        if time.time() - path.stat().st_mtime < CACHE_SECONDS:
            plan = ComputePlan(**json.loads(path.read_text("utf-8")))
            return plan if plan.step_seconds > 0 else None
    return None


def _write_cached(plan: ComputePlan, path: Path) -> None:
    files.make_folder(path.parent)
    for other in path.parent.iterdir():
        if time.time() - other.stat().st_mtime > CACHE_SECONDS:
            other.unlink()
    write_atomic(path, json.dumps(asdict(plan)))


def _use() -> float:
    """Core seconds that other programs have used, as far as the system says."""
    import psutil

    spent = psutil.cpu_times()
    every = sum(spent) - getattr(spent, "guest", 0.0) - getattr(spent, "guest_nice", 0.0)
    return every - spent.idle - getattr(spent, "iowait", 0.0) - time.process_time()


def _probed(session: Session, model: Any, data: Prepared, device: str) -> ComputePlan:
    task, settings, arrays = session.task, session.settings, data.arrays["train"]
    indices = task.batch_indices(arrays, settings, 0)[0]
    forward = {name: Forward(session, model, device, name) for name in ("fp32", "bf16")}
    batch: Mapping = {}

    def step(precision: str) -> None:
        forward[precision](batch).total.backward()
        model.zero_grad(set_to_none=True)

    def pass_seconds(rows: int) -> float:
        nonlocal batch
        batch = task.batch(arrays, indices[:rows], settings, 0)
        try:
            first = _timed(step, _first_precision(settings["precision"]), device)
        finally:
            model.zero_grad(set_to_none=True)
        return first if first > MAX_PASS_SECONDS else _timed(step, _first_precision(settings["precision"]), device)

    with _preserve_state(model, device):
        rows = rows_to_try(pass_seconds, len(indices))
        return measure(step, device, settings["precision"], len(indices) / rows, settings.get("threads", 0))


def rows_to_try(pass_seconds: Callable[[int], float], whole: int) -> int:
    """Rows of a batch of `whole` rows to compare variants by: as many as fit into memory and MAX_PASS_SECONDS.

    `pass_seconds(rows)` makes a pass; the last one it has made is of the rows that are returned."""
    rows = min(max(whole // PART_GROWTH**2, 2), whole)
    while True:
        try:
            seconds = pass_seconds(rows)
        except Exception as error:
            if not out_of_memory.is_out_of_memory(error) or rows <= 2:
                raise
            whole = rows = rows // 2
            continue
        larger = min(rows * PART_GROWTH, whole)
        if larger == rows or seconds * larger / rows > MAX_PASS_SECONDS:
            return rows
        rows = larger


def compare_compiled(compiled: Forward, session: Session, data: Prepared, plan: ComputePlan) -> ComputePlan:
    """The plan with the compiled network, where that is faster by MIN_SPEEDUP; its seconds are noted either way."""
    task, settings, arrays = session.task, session.settings, data.arrays["train"]
    model, device = compiled.model, compiled.device
    batch = task.batch(arrays, task.batch_indices(arrays, settings, 0)[0], settings, 0)
    uncompiled = Forward(session, model, device, plan.precision)

    def step(forward: Forward) -> None:
        forward(batch).total.backward()
        model.zero_grad(set_to_none=True)

    with _preserve_state(model, device), Determinism(device).strict_mode():
        until = time.perf_counter() + PROBE_SECONDS
        plain = _best_pass_seconds(step, uncompiled, device, until)
        step(compiled)  # compiles
        quick = _best_pass_seconds(step, compiled, device, time.perf_counter() + PROBE_SECONDS)
    names = {
        _variant_name(plan.precision, plan.threads): plain,
        _variant_name(plan.precision, plan.threads, True): quick,
    }
    return replace(plan, compiled=quick * MIN_SPEEDUP < plain, seconds={**plan.seconds, **names})


@contextmanager
def _preserve_state(model: Any, device: str) -> Iterator[None]:
    """Random generators and buffers are as they were afterwards: batch norm counts batches."""
    import torch

    state = {name: value.clone() for name, value in model.named_buffers()}
    try:
        with torch.random.fork_rng([torch.device(device)] if device.startswith("cuda") else []):
            yield
    finally:
        with torch.no_grad():
            for name, value in model.named_buffers():
                value.copy_(state[name])


def measure(
    step: Callable[[str], Any], device: str, asked: str, times: float = 1.0, threads_asked: int = 0
) -> ComputePlan:
    """Times `step(precision)`, one forward and backward pass without an update, and takes the fastest variant.

    On the CPU one thread is taken unless all of them are clearly faster: then the cores are wanted elsewhere,
    and threads that wait for each other on a busy machine lose more than they win. Sets torch's threads.
    `times`: how many of `step` a whole batch takes. `asked`, `threads_asked`: what is decided already, 'auto' and 0 for
    nothing.
    """
    import torch

    begun = time.perf_counter()
    first, seconds = _first_precision(asked), {}

    def try_variant(precision: str, threads: int) -> float:
        if seconds and time.perf_counter() - begun > LIMIT_SECONDS:
            return math.inf
        if device == "cpu":
            torch.set_num_threads(threads)
        known = min(seconds.values(), default=math.inf)
        found = _best_pass_seconds(step, precision, device, begun + PROBE_SECONDS, known)
        return seconds.setdefault(_variant_name(precision, threads), found)

    every = all_threads() if device == "cpu" else 1
    threads = min(threads_asked, every) or 1
    alone = try_variant(first, threads)
    if not threads_asked and every > 1 and try_variant(first, every) * MIN_SPEEDUP < alone:
        threads = every
    if device == "cpu":
        torch.set_num_threads(threads)
    if asked == "auto" and device.split(":")[0] != "mps":
        known = seconds[_variant_name(first, threads)]
        first = "bf16" if try_variant("bf16", threads) * MIN_SPEEDUP_BF16 < known else first
    return ComputePlan(first, threads, {name: spent * times for name, spent in seconds.items()})


def _first_precision(asked: str) -> str:
    return "fp32" if asked == "auto" else asked


def _timed(step: Callable[[Any], Any], variant: Any, device: str) -> float:
    """Seconds of one pass."""
    import torch

    if device.startswith("cuda"):
        torch.cuda.synchronize()
    started = time.perf_counter()
    step(variant)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - started


def _variant_name(precision: str, threads: int, compiled: bool = False) -> str:
    return f"{precision}, {threads}" + (", compiled" if compiled else "")


def _best_pass_seconds(
    step: Callable[[Any], Any], variant: Any, device: str, until: float, known: float = math.inf
) -> float:
    """Seconds of a pass: the minimum of some, as noise only ever makes it slower. The first pays for allocations and does
    not count, unless it says enough: threads that wait for each other on a busy machine can take fifty times `known`,
    the best of the other variants."""
    best, first = math.inf, _timed(step, variant, device)
    if first > GIVE_UP_FACTOR * known + WARMUP_SECONDS or (first > SLOW_PASS_SECONDS and known > SLOW_PASS_SECONDS / 2):
        return first
    begun = time.perf_counter()
    for number in range(MAX_TIMED_PASSES):
        if number >= MIN_TIMED_PASSES and time.perf_counter() - begun > FAST_PASS_SECONDS:
            break
        best = min(best, _timed(step, variant, device))
        if number and time.perf_counter() > until:  # a single one may have been disturbed
            break
    return best
