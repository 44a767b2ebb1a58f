"""The training loop, a generator of events: the story of a run from its data to its model."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

from bigmodel.core import disk_space
from bigmodel.core.events import DIVERGED, INTERRUPTED, STOPPED, STOPPING, Event, note_event, phase_event, state_event
from bigmodel.core.jobs import Cancelled
from bigmodel.core.spec import RunSpec, Session
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import Prepared, prepare
from bigmodel.training import out_of_memory, pretraining, resume
from bigmodel.training.batch_sizes import accumulation_groups, count_steps, sample_batch_sizes
from bigmodel.training.compute import choose_compute, plan_event
from bigmodel.training.determinism import enable_determinism, seed_generators
from bigmodel.training.evaluator import Evaluator, StopRequested
from bigmodel.training.forward import apply_cpu_kernels
from bigmodel.training.kernels import malloc
from bigmodel.training.optimizers import learning_rate, optimizer
from bigmodel.training.precision import resolve_device
from bigmodel.training.step import TrainStep
from bigmodel.training.throughput import Throughput
from bigmodel.training.time_limit import Schedule, limit_seconds


def train(
    spec: RunSpec,
    folder: Path,
    stopped: Callable[[], bool],
    cache: Path,
    device: str = "auto",
    end_now: Callable[[], bool] | None = None,
) -> Iterator[Event]:
    """Train what the spec says and leave the model in `folder/model`; resume where `folder` has a checkpoint.

    Writes only into `folder` and, by content hash, into `cache`. `stopped()` is polled before each step and each
    forward pass of a measurement; once it is true, everything is saved, the best weights are measured on the test split
    unless `end_now()` is true, too, and the run ends as stopped. A full disk ends it as interrupted, to be resumed.
    Raises Refusal for what a person can mend.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()  # our log is for what happens, not for bars
    phase = None
    try:
        with malloc.retain_freed_memory():
            for event in _train(spec.resolve(), folder, stopped, end_now or stopped, cache, device):
                if event.kind == "phase":
                    phase = Words.from_json(event["words"])
                yield event
    except disk_space.DiskFull as full:
        yield state_event(INTERRUPTED, full.what)
    except Exception as error:
        if disk_space.was_full(error):
            yield state_event(INTERRUPTED, disk_space.disk_full_words(disk_space.missing_bytes(folder)))
            return
        if not out_of_memory.is_out_of_memory(error):
            raise
        raise out_of_memory.oom_refusal(phase) from error


def _train(
    session: Session,
    folder: Path,
    stopped: Callable[[], bool],
    end_now: Callable[[], bool],
    cache: Path,
    device: str,
) -> Iterator[Event]:
    architecture, settings = session.architecture, session.settings
    device = resolve_device(settings["device"] if settings["device"] != "auto" else device)
    enable_determinism(device)

    yield phase_event(_("Reading and encoding the data"))
    try:
        data = prepare(session, cache, stopped)
    except Cancelled:
        yield state_event(STOPPED, _("Stopped while the data were encoded: nothing has been learnt yet."))
        return
    malloc.trim()
    for words in session.task.remarks(data.processor, data.arrays["train"]):
        yield note_event(words)

    if pretraining.is_needed(settings, folder):
        yield phase_event(_("Pretraining: masked words are guessed"))
        seed_generators(settings["seed"])
        model = architecture.pretraining_model(data.facts, settings)
        first, place = pretraining.pretraining_session(session, data.facts), pretraining.pretraining_folder(folder)
        stage = _stage(first, model, replace(data, pinned=[]), place, stopped, stopped, cache, device)
        if not (yield from pretraining.relay_events(stage, folder)):
            return

    yield phase_event(_("Building the network"))
    seed_generators(settings["seed"])
    model = architecture.model(data.facts, settings)
    if pretraining.is_finished(folder):
        architecture.begin_with(model, pretraining.pretraining_folder(folder) / "model")
    yield from _stage(session, model, data, folder, stopped, end_now, cache, device)
    pretraining.clean_up(folder)


def _stage(
    session: Session,
    model: Any,
    data: Prepared,
    folder: Path,
    stopped: Callable[[], bool],
    end_now: Callable[[], bool],
    cache: Path,
    device: str,
) -> Iterator[Event]:
    """From a network with its first weights to the model."""
    settings, model = session.settings, model.to(device)
    apply_cpu_kernels(model, device)
    model.train()
    optimize = optimizer(model, settings)
    batches = session.task.batch_indices(data.arrays["train"], settings, 0)
    per_epoch, steps = count_steps(settings, len(batches))
    evaluator = Evaluator(session, model, optimize, data, folder, stopped, end_now)

    before = yield from resume.restore(evaluator, per_epoch, steps)
    compute = yield from choose_compute(evaluator, before, per_epoch, steps, device, cache)
    yield plan_event(evaluator, compute, per_epoch, device)

    numel = before.get("usual") or sample_batch_sizes(session, data, batches).mean().item() * len(batches) / per_epoch
    throughput = Throughput(device, numel, before.get("meter"))
    update = TrainStep(session, data, model, optimize, compute.forward, throughput, before.get("parts", 1))
    evaluator.extra_state = lambda: {
        "spec": session.spec.to_json(),
        "data": data.key,
        "epoch": evaluator.step / per_epoch,
        "step": evaluator.step,
        "pace": asdict(compute.plan),
        "look": asdict(compute.eval_cost),
        "schedule": asdict(compute.schedule),
        "log_every": compute.log_every,
        "parts": update.micro_batches,
        "usual": numel,
        "meter": throughput.state(),
        "watch": evaluator.state(),
    }
    try:
        yield from _run_steps(update, evaluator, compute.schedule, per_epoch, compute.log_every)
    except StopRequested:
        yield state_event(STOPPING)
        yield from evaluator.stop(compute.eval_cost.seconds(session, data, "test"))
        yield state_event(STOPPED, _("Stopped at step {step}; the weights are kept.", step=evaluator.step))


def _run_steps(
    update: TrainStep, evaluator: Evaluator, schedule: Schedule, per_epoch: int, log_every: int
) -> Iterator[Event]:
    """Update after update from the evaluator's step on, until the steps are done, nothing gets better or the time is up."""
    settings, throughput, guard = update.session.settings, update.throughput, update.guard
    steps, eval_every, limit = schedule.steps, schedule.eval_every, limit_seconds(settings) or math.inf
    time_is_up = False

    def diverged(rate: float) -> Iterator[Event]:
        first = guard.first_bad_step()
        evaluator.step = first - 1
        yield throughput.step_event(first, per_epoch, rate, guard.norm)
        yield from evaluator.save_best_model()
        yield state_event(DIVERGED, _nonfinite_message(first))

    if not evaluator.step:
        if settings.get("baseline"):
            yield from evaluator.measure_base()
        yield from evaluator.samples()
    elif (evaluator.step % eval_every == 0 or evaluator.step == steps) and evaluator.validated < evaluator.step:
        yield from evaluator.validate(evaluator.step / per_epoch)  # it was stopped in the middle of this
    for epoch, group in islice(accumulation_groups(update.session, update.data), evaluator.step, steps):
        if settings["patience"] and evaluator.worse_in_a_row >= settings["patience"]:
            yield from evaluator.finish(_early_stopping_message(evaluator.worse_in_a_row))
            return
        if time_is_up:
            yield from evaluator.finish(_time_is_up_message(settings["max_minutes"], evaluator.step, steps))
            return
        if evaluator.should_stop():
            if guard.first_bad_step():
                yield from diverged(update.optimizer.param_groups[0]["lr"])
                return
            raise StopRequested

        step, rate = evaluator.step + 1, learning_rate(settings, evaluator.step, steps)
        for parameters in update.optimizer.param_groups:
            parameters["lr"] = rate
        guard.save_statistics()
        with out_of_memory.refuse_on_oom(_("Training step {step}", step=step)):
            loss, norm, split = update.gradients(group, epoch)
        if split:
            yield update.split_event(step, split)
        throughput.add_loss(loss)
        guard.look(step, loss.total, norm)
        logged = step % log_every == 0 or step in (1, steps)
        time_is_up = throughput.elapsed() > limit
        due, save = step % eval_every == 0 or step == steps or time_is_up, evaluator.due()
        if (guard.synchronous or logged or due or save) and guard.first_bad_step():
            yield from diverged(rate)
            return
        with out_of_memory.refuse_on_oom(_("Training step {step}", step=step)):
            if logged:
                update.update_ratio.save()
            update.optimizer.step()
        update.optimizer.zero_grad(set_to_none=True)
        evaluator.step = step

        if logged:
            yield throughput.step_event(step, per_epoch, rate, norm, update.update_ratio.compute())
        if throughput.device_due():
            yield throughput.device_event()
        if due:
            with throughput.pause():
                yield from evaluator.validate(step / per_epoch)
        if save and evaluator.due():
            with throughput.pause():
                yield from evaluator.save_checkpoint()

    yield from evaluator.finish(_("All {steps} steps are done.", steps=steps))


def _nonfinite_message(step: int) -> Words:
    return _(
        "The loss or its gradient was no longer a number at step {step}. The weights from before are kept; try a lower learning rate.",
        step=step,
    )


def _time_is_up_message(minutes: float, step: int, steps: int) -> Words:
    return _(
        "The time limit of {minutes} min was reached at step {step} of {steps}: steps took longer than was measured before the start.",
        minutes=f"{minutes:g}",
        step=step,
        steps=steps,
    )


def _early_stopping_message(times: int) -> Words:
    return _("Ended early: the validation result has not become better {times} times in a row.", times=times)
