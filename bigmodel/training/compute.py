"""How a run computes its steps: as before it was stopped, else as a probe of the first batch finds fastest."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigmodel.core.events import Event, note_event, phase_event
from bigmodel.core.words import _
from bigmodel.training import out_of_memory, time_limit
from bigmodel.training.eval_cost import EvalCost, answer_seconds, measure_eval_cost
from bigmodel.training.evaluator import Evaluator
from bigmodel.training.forward import Forward, can_compile, compile_pays_off
from bigmodel.training.precision import ComputePlan, compare_compiled, compute_plan_file, probe
from bigmodel.training.time_limit import Cost, Schedule

EVAL_PROBE_SECONDS = 0.3  # seconds of the probe of what a measurement costs
STEP_EVENT_SECONDS = 0.1  # seconds; faster steps share an event: nobody sees ten a second
MIN_CURVE_POINTS = 200  # of a run, however fast its steps: a spike of a few of them is to be seen


@dataclass(frozen=True)
class Compute:
    """What was decided for the steps of a run, and what applies it."""

    plan: ComputePlan
    eval_cost: EvalCost
    forward: Forward
    schedule: Schedule
    log_every: int  # steps that share an event


def choose_compute(
    evaluator: Evaluator, before: Mapping, per_epoch: int, steps: int, device: str, cache: Path
) -> Generator[Event, None, Compute]:
    """`before`: state of the checkpoint that the run goes on from, {} for none; `steps`: at most."""
    session, model, data, settings = evaluator.session, evaluator.model, evaluator.data, evaluator.settings
    if before.get("pace"):
        plan, eval_cost = ComputePlan(**before["pace"]).apply(device), EvalCost(**before["look"])
        forward = Forward(session, model, device, plan.precision, plan.compiled)
    else:
        yield phase_event(_("Measuring the first batch: which precision and how many threads are fastest"))
        plan = probe(session, model, data, device, compute_plan_file(cache, session, data, device))
        eval_cost = measure_eval_cost(session, model, data, EVAL_PROBE_SECONDS)
        forward = Forward(session, model, device, plan.precision)
        seconds = plan.step_seconds * settings["accumulation"] * steps
        seconds = min(seconds, time_limit.limit_seconds(settings) or seconds)
        if settings["compile"] == "on" or (settings["compile"] == "auto" and compile_pays_off(device, seconds)):
            plan, forward = yield from _try_compile(forward, evaluator, plan)
    measured = time_limit.cost_file(compute_plan_file(cache, session, data, device))
    schedule = _schedule(evaluator, before, plan, eval_cost, per_epoch, steps, measured)
    every = before.get("log_every") or log_every(plan.step_seconds * settings["accumulation"], schedule.steps)
    return Compute(plan, eval_cost, forward, schedule, every)


def _schedule(
    evaluator: Evaluator,
    before: Mapping,
    plan: ComputePlan,
    eval_cost: EvalCost,
    per_epoch: int,
    steps: int,
    measured: Path,
) -> Schedule:
    """As before it was stopped; else what fits into the time, by the cost that a forecast has `measured` or, without one,
    by the probe."""
    if before.get("schedule"):
        return Schedule(**before["schedule"])
    if not time_limit.limit_seconds(evaluator.settings):
        return time_limit.schedule(evaluator.settings, per_epoch, steps)
    cost = None if plan.compiled else time_limit.read_cost(measured)
    cost = cost or _probed_cost(evaluator, plan, eval_cost)
    return time_limit.schedule(evaluator.settings, per_epoch, steps, cost, evaluator.step)


def _probed_cost(evaluator: Evaluator, plan: ComputePlan, eval_cost: EvalCost) -> Cost:
    session, data = evaluator.session, evaluator.data
    answers = answer_seconds(session, evaluator.model, data)
    step = plan.step_seconds * session.settings["accumulation"] * time_limit.UNMEASURED_FACTOR
    validation = eval_cost.seconds(session, data, "validation") + answers
    return Cost(step, validation, eval_cost.seconds(session, data, "test") + 2 * answers)


def log_every(seconds: float, steps: float) -> int:
    """Steps that share an event; `seconds` is what one of them takes."""
    return max(1, min(round(STEP_EVENT_SECONDS / seconds), int(steps // MIN_CURVE_POINTS)))


def _try_compile(
    forward: Forward, evaluator: Evaluator, plan: ComputePlan
) -> Generator[Event, None, tuple[ComputePlan, Forward]]:
    """Compile the network, and take it so if that is faster."""
    device = forward.device
    if not can_compile(device):
        yield note_event(_("There is no compiler on this machine: the network is computed as it is."))
        return plan, forward
    yield phase_event(_("Compiling the network"))
    compiled = Forward(evaluator.session, forward.model, device, plan.precision, compiled=True)
    try:
        plan = compare_compiled(compiled, evaluator.session, evaluator.data, plan)
    except Exception as error:  # a compiler has many ways to fail, and the run does not need it
        if out_of_memory.is_out_of_memory(error):
            raise
        words = _("The network could not be compiled ({error}): it is computed as it is.", error=type(error).__name__)
        yield note_event(words)
        return plan, forward
    return plan, compiled if plan.compiled else forward


def plan_event(evaluator: Evaluator, compute: Compute, per_epoch: int, device: str) -> Event:
    """What will be done, before the first step."""
    session, data, plan = evaluator.session, evaluator.data, compute.plan
    weights = list(evaluator.model.parameters())
    return Event(
        "plan",
        {
            "steps": compute.schedule.steps,
            "eval_every": compute.schedule.eval_every,
            "epochs": session.settings["epochs"],
            "steps_per_epoch": per_epoch,
            "parameters": sum(map(_parameter_count, weights)),
            "trainable": sum(weight.numel() for weight in weights if weight.requires_grad),
            "device": device,
            "precision": plan.precision,
            "threads": plan.threads,
            "compiled": plan.compiled,
            "probe_seconds": dict(plan.seconds),
            "pass_seconds": compute.eval_cost.each,
            "rows": data.facts.get("rows", {}),
            "passes": {split: compute.eval_cost.passes(session, data, split) for split in ("validation", "test")},
            "log_every": compute.log_every,
            "unit": session.task.unit.to_json(),
        },
    )


def _parameter_count(weight: Any) -> int:
    """Of 4-bit weights two are packed into a byte."""
    import torch

    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)
