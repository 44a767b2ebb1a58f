"""How many updates a run makes in the minutes that it may take, from what an update and a validation cost."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from bigmodel.core import files
from bigmodel.core.contracts import Architecture

PLANNED_SHARE = 0.9  # of the minutes: the rest is for what turns out slower than it was measured
MIN_TRAINING_SHARE = 0.5  # of the minutes is for updates and validations, however long the test split takes
EVAL_SHARE = 0.2  # of that may go into validations
MAX_VALIDATIONS = 20
UNMEASURED_FACTOR = 1.3  # an update takes longer than the fastest of some passes without an update
COST_SECONDS = 3600.0  # for which a measured cost holds: a run makes the steps that its forecast has shown
MIN_EPOCHS, MIN_STEPS = 3, 400  # fewer from scratch and a network has hardly begun to learn
MIN_FINE_TUNING_EPOCHS, MIN_FINE_TUNING_STEPS = 1, 60


@dataclass(frozen=True)
class Cost:
    """What the parts of a run take, in seconds."""

    step: float  # an update
    validation: float  # with the answers to the pinned inputs
    once: float  # before the first step and after the last


@dataclass(frozen=True)
class Schedule:
    """Decided before the first step and kept with every checkpoint: the learning rate follows `steps`."""

    steps: int
    eval_every: int


def schedule(settings: Mapping, per_epoch: int, steps: int, cost: Cost | None = None, start: int = 0) -> Schedule:
    """Of a run that begins at step `start` and makes at most `steps`; `cost` is needed where there is a time limit."""
    every = settings["eval_every"]
    if cost is None or not limit_seconds(settings):
        return Schedule(steps, every or per_epoch)
    limit = limit_seconds(settings)
    seconds = max(limit * PLANNED_SHARE - cost.once, limit * MIN_TRAINING_SHARE)
    if every:
        return Schedule(_at_most(steps, start, seconds / (cost.step + cost.validation / every)), every)
    count = max(min(int(seconds * EVAL_SHARE / max(cost.validation, 1e-9)), MAX_VALIDATIONS), 1)
    steps = _at_most(steps, start, (seconds - count * cost.validation) / cost.step)
    every = math.ceil((steps - start) / count)
    if every > per_epoch:
        return Schedule(steps, min(math.ceil(every / per_epoch) * per_epoch, steps))
    return Schedule(steps, per_epoch if (steps - start) >= per_epoch * count / 2 else every)


def limit_seconds(settings: Mapping) -> float:
    """Seconds that a run may take, 0 for no limit: also for runs from before there was one."""
    return settings.get("max_minutes", 0) * 60.0


def enough_steps(architecture: Architecture, per_epoch: int, steps: int) -> int:
    """Updates without which a result says nothing about the network; of at most `steps`."""
    if architecture.fine_tunes:
        return min(steps, max(MIN_FINE_TUNING_EPOCHS * per_epoch, MIN_FINE_TUNING_STEPS))
    return min(steps, max(MIN_EPOCHS * per_epoch, MIN_STEPS))


def _at_most(steps: int, start: int, updates: float) -> int:
    return min(steps, start + max(int(updates), 1))


def cost_file(compute_plan: Path) -> Path:
    """Where the cost is kept of runs whose compute plan is kept there."""
    return compute_plan.with_suffix(".cost.json")


def read_cost(path: Path) -> Cost | None:
    """What a forecast of the last hour has measured."""
    with suppress(OSError, ValueError, TypeError):
        if time.time() - path.stat().st_mtime < COST_SECONDS:
            cost = Cost(**json.loads(path.read_text("utf-8")))
            return cost if cost.step > 0 else None
    return None


def write_cost(path: Path, cost: Cost) -> None:
    with suppress(OSError):
        files.make_folder(path.parent)
        files.write_atomic(path, json.dumps(asdict(cost)))
