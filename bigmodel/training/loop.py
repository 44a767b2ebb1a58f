"""The training loop, a generator of events: the story of a run from its data to its model."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

from bigmodel.core import catalog, disk_space
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.events import DIVERGED, INTERRUPTED, STOPPED, STOPPING, Event
from bigmodel.core.jobs import Cancelled
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _, join_words
from bigmodel.data.prepare import Prepared, cache_key, prepare
from bigmodel.training import out_of_memory, pretraining, resume_state
from bigmodel.training.batch_sizes import batch_numel, sample_batch_sizes
from bigmodel.training.determinism import Determinism, enable_determinism
from bigmodel.training.eval_cost import EvalCost, measure_eval_cost
from bigmodel.training.evaluator import Evaluator, StopRequested
from bigmodel.training.forward import Forward, apply_cpu_kernels, can_compile, compile_pays_off
from bigmodel.training.kernels import malloc
from bigmodel.training.nonfinite_guard import NonfiniteGuard
from bigmodel.training.optimizers import lr_factor, optimizer
from bigmodel.training.precision import ComputePlan, compare_compiled, compute_plan_file, probe, resolve_device
from bigmodel.training.throughput import Throughput
from bigmodel.training.update_ratio import UpdateRatio

EVAL_PROBE_SECONDS = 0.3  # for which it is tried how long a measurement takes
STEP_EVENT_SECONDS = 0.1  # steps faster than this share an event: nobody sees ten a second
MIN_CURVE_POINTS = 200  # that a run's curve has at least, however fast its steps: a leap of a few of them is to be seen


def train(
    spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path, device: str = "auto"
) -> Iterator[Event]:
    """Train what the spec says and leave the model in `folder/model`; go on where `folder` has a checkpoint.

    Writes only into `folder` and, by content hash, into `cache`. `stopped()` is asked before each step and each
    pass of a measurement; when it says so, everything is saved and the run ends as stopped. A disk without room
    ends it as interrupted, to be resumed. Raises Refusal for what a person can mend.
    """
    import transformers

    transformers.utils.logging.disable_progress_bar()  # our log is for what happens, not for bars
    doing: list[Words] = []
    try:
        with malloc.retain_freed_memory():
            for event in _train(spec, folder, stopped, cache, device):
                if event.kind == "phase":
                    doing = [Words.from_json(event["words"])]
                yield event
    except disk_space.DiskFull as full:
        yield _state(INTERRUPTED, full.what)
    except Exception as error:
        if disk_space.was_full(error):
            yield _state(INTERRUPTED, disk_space.disk_full_words(disk_space.missing_bytes(folder)))
            return
        if not out_of_memory.is_out_of_memory(error):
            raise
        raise out_of_memory.oom_refusal(doing[0] if doing else None) from error


def _train(spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path, device: str) -> Iterator[Event]:
    task, architecture, dataset = (
        catalog.task(spec.task),
        catalog.architecture(spec.architecture),
        catalog.dataset(spec.dataset),
    )
    settings = spec.settings
    device = resolve_device(settings["device"] if settings["device"] != "auto" else device)
    enable_determinism(device)

    yield _phase(_("Reading and encoding the data"))
    try:
        data = prepare(task, architecture, dataset, settings, cache, stopped)
    except Cancelled:
        yield _state(STOPPED, _("Stopped while the data were encoded: nothing has been learnt yet."))
        return
    malloc.trim()
    name = cache_key(task, architecture, dataset, settings)
    for words in task.remarks(data.processor, data.arrays["train"]):
        yield _note(words)

    if pretraining.is_needed(settings, folder):
        yield _phase(_("Pretraining: masked words are guessed"))
        _seed(settings["seed"])
        model = architecture.pretraining_model(data.facts, settings)
        first, own = pretraining.MaskedLmTask(task, data.facts), pretraining.pretraining_spec(spec)
        place, unasked = pretraining.pretraining_folder(folder), replace(data, pinned=[])
        stage = _stage(first, model, unasked, own, place, stopped, cache, device, name)
        if not (yield from pretraining.relay_events(stage, folder)):
            return

    yield _phase(_("Building the network"))
    _seed(settings["seed"])
    model = architecture.model(data.facts, settings)
    if pretraining.is_finished(folder):
        architecture.begin_with(model, pretraining.pretraining_folder(folder) / "model")
    yield from _stage(task, model, data, spec, folder, stopped, cache, device, name)
    pretraining.clean_up(folder)


def _stage(
    task: Task, model: Any, data: Prepared, spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path,
    device: str, name: str,
) -> Iterator[Event]:  # fmt: skip
    """From a network with its first weights to the model. `name` is that of the encoded data."""
    settings, model = spec.settings, model.to(device)
    apply_cpu_kernels(model, device)
    model.train()
    optimize = optimizer(model, settings)
    epoch = task.batch_indices(data.arrays["train"], settings, 0)
    per_epoch = math.ceil(len(epoch) / settings["accumulation"])
    steps = min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)
    watch = Evaluator(task, model, optimize, data, spec, folder, stopped)

    before = yield from _before(watch, per_epoch, steps)
    ways = yield from _choose_compute(watch, before, steps, device, compute_plan_file(cache, spec, name, device))
    yield _plan_event(watch, ways, per_epoch, steps, device)

    pace, look, forward, log_every = ways
    usual = (
        before.get("usual")
        or sample_batch_sizes(task, data.arrays["train"], settings, epoch).mean().item() * len(epoch) / per_epoch
    )
    meter = Throughput(device, usual, before.get("meter"))
    work = _TrainStep(task, data, settings, model, optimize, forward, meter, before.get("parts", 1))
    watch.extra_state = lambda: {
        "spec": spec.to_json(),
        "data": name,
        "epoch": watch.step / per_epoch,
        "step": watch.step,
        "pace": asdict(pace),
        "look": asdict(look),
        "log_every": log_every,
        "parts": work.micro_batches,
        "usual": usual,
        "meter": meter.state(),
        "watch": watch.state(),
    }
    try:
        yield from _run_steps(work, watch, steps, per_epoch, log_every)
    except StopRequested:
        yield _state(STOPPING)
        yield from watch.save_current_model()
        yield _state(STOPPED, _("Stopped at step {step}; the weights are kept.", step=watch.step))


def _run_steps(work: _TrainStep, watch: Evaluator, steps: int, per_epoch: int, log_every: int) -> Iterator[Event]:
    """Update after update from the watch's step on, until the steps are done or nothing gets better."""
    settings, meter, guard = work.settings, work.meter, work.guard

    def diverged() -> Iterator[Event]:
        watch.step = guard.first_bad_step() - 1
        yield meter.step_event(guard.first_bad_step(), per_epoch, rate, guard.norm)
        yield from watch.save_best_model()
        yield _state(DIVERGED, _nonfinite_message(guard.first_bad_step()))

    if not watch.step:
        if settings.get("baseline"):
            yield from watch.measure_base()
        yield from watch.samples()
    elif _eval_due(settings, watch.step, steps, per_epoch) and watch.validated < watch.step:
        yield from watch.validate(watch.step / per_epoch)  # it was stopped in the middle of this
    for epoch, group in islice(_accumulation_groups(work.task, work.data, settings), watch.step, steps):
        if settings["patience"] and watch.worse_in_a_row >= settings["patience"]:
            yield from watch.finish(_early_stopping_message(watch.worse_in_a_row))
            return
        if watch.should_stop():
            if guard.first_bad_step():
                yield from diverged()
                return
            raise StopRequested

        for parameters in work.optimizer.param_groups:
            parameters["lr"] = rate = settings["learning_rate"] * lr_factor(settings, watch.step, steps)
        guard.save_statistics()
        with out_of_memory.refuse_on_oom(_("Training step {step}", step=watch.step + 1)):
            loss, norm, split = work.gradients(group, epoch)
        if split:
            words = _batch_split_message(split, watch.step + 1, exact=not guard.norm_statistics)
            yield Event("note", {"words": words.to_json(), "parts": split})
        step = watch.step + 1
        meter.add_loss(loss)
        guard.look(step, loss, norm)
        told = step % log_every == 0 or step in (1, steps)
        due, save = _eval_due(settings, step, steps, per_epoch), watch.due()
        if (guard.synchronous or told or due or save) and guard.first_bad_step():
            yield from diverged()
            return
        with out_of_memory.refuse_on_oom(_("Training step {step}", step=watch.step + 1)):
            if told:
                work.update_ratio.save()
            work.optimizer.step()
        work.optimizer.zero_grad(set_to_none=True)
        watch.step = step

        if told:
            yield meter.step_event(step, per_epoch, rate, norm, work.update_ratio.compute())
        if meter.device_due():
            yield meter.device_event()
        if due:
            with meter.pause():
                yield from watch.validate(step / per_epoch)
        if save and watch.due():
            with meter.pause():
                yield from watch.save_checkpoint()

    yield from watch.finish(_("All {steps} steps are done.", steps=steps))


def _accumulation_groups(task: Task, data: Prepared, settings: Mapping) -> Iterator[tuple[int, Sequence]]:
    """(epoch, batches that share an update), epoch after epoch."""
    for epoch in range(settings["epochs"]):
        plan = task.batch_indices(data.arrays["train"], settings, epoch)
        for start in range(0, len(plan), settings["accumulation"]):
            yield epoch, plan[start : start + settings["accumulation"]]


def _log_every(seconds: float, steps: float) -> int:
    """Steps that share an event; `seconds` is what one of them takes."""
    return max(1, min(round(STEP_EVENT_SECONDS / seconds), int(steps // MIN_CURVE_POINTS)))


def _eval_due(settings: Mapping, step: int, steps: int, per_epoch: int) -> bool:
    """Whether the model is measured after this step."""
    return step % (settings["eval_every"] or per_epoch) == 0 or step == steps


def _choose_compute(
    watch: Evaluator, before: Mapping, steps: int, device: str, kept: Path
) -> Generator[Event, None, tuple[ComputePlan, EvalCost, Forward, int]]:
    """How steps are computed, what looking at the model costs, what computes the loss, and how many steps share an event:
    as decided before the run was stopped, else by trying."""
    task, model, data, settings = watch.task, watch.model, watch.data, watch.settings
    if before.get("pace"):
        pace, look = ComputePlan(**before["pace"]).apply(device), EvalCost(**before["look"])
        forward = Forward(model, task.head, settings, device, pace.precision, pace.compiled)
    else:
        yield _phase(_("Measuring the first batch"))
        pace = probe(task, model, data, settings, device, kept)
        look = measure_eval_cost(task, model, data, settings, EVAL_PROBE_SECONDS)
        forward = Forward(model, task.head, settings, device, pace.precision)
        pays = settings["compile"] == "auto" and compile_pays_off(
            device, pace.step_seconds * settings["accumulation"] * steps
        )
        if pays or settings["compile"] == "on":
            pace, forward = yield from _try_compile(forward, task, data, settings, pace)
    return (
        pace,
        look,
        forward,
        before.get("log_every") or _log_every(pace.step_seconds * settings["accumulation"], steps),
    )


def _plan_event(
    watch: Evaluator, ways: tuple[ComputePlan, EvalCost, Forward, int], per_epoch: int, steps: int, device: str
) -> Event:
    """What will be done, before the first step."""
    (pace, look, _forward, log_every), task, data = ways, watch.task, watch.data
    weights = list(watch.model.parameters())
    return Event(
        "plan",
        {
            "steps": steps,
            "epochs": watch.settings["epochs"],
            "steps_per_epoch": per_epoch,
            "parameters": sum(map(_parameter_count, weights)),
            "trainable": sum(weight.numel() for weight in weights if weight.requires_grad),
            "device": device,
            "precision": pace.precision,
            "threads": pace.threads,
            "compiled": pace.compiled,
            "probe_seconds": dict(pace.seconds),
            "pass_seconds": look.each,
            "rows": data.facts.get("rows", {}),
            "passes": {split: look.passes(task, data, watch.settings, split) for split in ("validation", "test")},
            "log_every": log_every,
            "unit": task.unit.to_json(),
        },
    )


def _parameter_count(weight: Any) -> int:
    """Of 4 bits two stand in a byte."""
    import torch

    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)


@dataclass
class _TrainStep:
    """What an update is made with. `parts`: into how many pieces a batch is cut so that it fits the memory."""

    task: Task
    data: Prepared
    settings: Mapping
    model: Any
    optimizer: Any
    forward: Forward
    meter: Throughput
    micro_batches: int

    def __post_init__(self) -> None:
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.update_ratio = UpdateRatio(self.weights)
        self.device = self.forward.device
        self.determinism = Determinism(self.device)
        self.guard = NonfiniteGuard(self.optimizer, self.model, self.device)
        self.min_micro_batch = 2 if self.guard.norm_statistics else 1  # a norm over batches wants more than one example
        self.foreach = self.device.split(":")[0] in ("cpu", "cuda")

    def gradients(self, group: Sequence, epoch: int) -> tuple[Any, Any, int]:
        """(loss, norm of the gradient, parts where batches had to be cut smaller just now, else 0).

        Where the memory is not enough, the same update is computed again in smaller pieces: the gradient is the
        same mean over the same examples.
        """
        import torch

        split = 0
        while True:
            start = _rng_state(self.device)
            try:
                with self.determinism.strict_mode():
                    loss = self._passes(group, epoch)
                break
            except Exception as error:
                unable = self.determinism.relax_if_unsupported(error)
                if not unable and (
                    not out_of_memory.is_out_of_memory(error)
                    or self.micro_batches >= max(map(len, group)) // self.min_micro_batch
                ):
                    raise
            self.optimizer.zero_grad(set_to_none=True)
            self.guard.restore_statistics()
            _rng_state(self.device, start)
            if unable:
                continue
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()
            split = self.micro_batches = 2 * self.micro_batches
        # foreach: one call for all weights, which matters for small networks
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.settings["clip"] or math.inf, foreach=self.foreach)
        return loss, norm, split

    def _micro_batch_count(self, indices: Sequence) -> int:
        return max(min(self.micro_batches, len(indices) // self.min_micro_batch), 1)

    def _passes(self, group: Sequence, epoch: int) -> Any:
        """Forward and backward through every piece of every batch; the mean loss over what is counted."""
        import numpy as np
        import torch

        rows, pieces = self.data.arrays["train"], group
        if self.micro_batches > 1:
            pieces = [piece for indices in group for piece in np.array_split(indices, self._micro_batch_count(indices))]
        batches = [self.task.batch(rows, indices, self.settings, epoch) for indices in pieces]
        counted = [int((batch["labels"] != -100).sum()) for batch in batches]  # what the loss is a mean over
        loss = torch.zeros((), device=self.device)
        for batch, count in zip(batches, counted, strict=True):
            if not count:
                continue
            part = self.forward(batch) * (count / sum(counted))
            part.backward()
            loss += part.detach()
        self.meter.count(sum(self.task.count_units(batch) for batch in batches), sum(map(batch_numel, batches)))
        return loss


def _before(watch: Evaluator, per_epoch: int, steps: int) -> Iterator[Event]:
    """Put model, optimizer and random numbers where the newest whole checkpoint has them; what else it holds.

    {} for a run that begins. A damaged checkpoint is passed over for the one before.
    """
    folder = watch.folder
    resume_state.recover(folder)
    damaged = []
    for place in resume_state.checkpoint_folders(folder):
        if not resume_state.is_valid(place):
            damaged.append(place.name)
            continue
        for name in damaged:
            yield _note(_("The checkpoint {name} is damaged; the one before it is used.", name=name))
        before = resume_state.read(place)
        device = next(watch.model.parameters()).device
        changes = resume_state.changes(before, watch.spec, device.type, resume_state.processor_name(device))
        if changes:
            words = _("It goes on, but no longer as the same run, bit by bit: {changes}.", changes=join_words(changes))
            yield _note(words)
        _load_checkpoint(place, watch, memory_too=True)
        watch.valid_checkpoints.add(place)
        watch.step = before["step"]
        watch.restore(before["watch"])
        if watch.best_is_lost():
            yield watch.reset_best()
        yield Event("resume", {"step": watch.step})
        yield _note(_("Goes on from step {step}.", step=watch.step))
        return before
    if damaged:
        yield _note(_("No checkpoint is whole any more ({names}): the run begins again.", names=", ".join(damaged)))
    origin = folder / resume_state.ORIGIN
    if not origin.exists():
        return {}
    if not resume_state.is_valid(origin):
        what = _("The checkpoint that this run begins with is damaged.")
        raise Refusal(what, do=_("Branch off from another checkpoint."))
    before = resume_state.read(origin)
    _load_checkpoint(origin, watch, memory_too=before["spec"]["settings"]["optimizer"] == watch.settings["optimizer"])
    watch.step = round(before["epoch"] * per_epoch)
    if watch.step >= steps:
        what = _("The weights have been trained for {epochs} epochs already.", epochs=round(before["epoch"], 2))
        raise Refusal(what, do=_("Ask for more epochs than that."), field="epochs")
    watch.validated, watch.before = watch.step, before["watch"].get("before", {})
    yield _note(_("Begins with the weights of step {step} of another run.", step=before["step"]))
    yield from watch.samples()
    return {}


def _load_checkpoint(place: Path, watch: Evaluator, memory_too: bool) -> None:
    resume_state.load_weights(place, watch.model)
    if memory_too:
        resume_state.load_optimizer(place, watch.optimizer)
    resume_state.load_random(place)


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _rng_state(device: str, state: tuple | None = None) -> tuple:
    """The states of the generators that a step draws from; put back, if one is given."""
    import torch

    gpu = device.startswith("cuda")
    if state is not None:
        torch.set_rng_state(state[0])
        if gpu:
            torch.cuda.set_rng_state(state[1], device)
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if gpu else None


def _try_compile(
    forward: Forward, task: Task, data: Prepared, settings: Mapping, pace: ComputePlan
) -> Generator[Event, None, tuple[ComputePlan, Forward]]:
    """Compile the network and take it so if that is faster; the pace, and what computes the loss."""
    device = forward.device
    if not can_compile(device):
        yield _note(_("There is no compiler on this machine: the network is computed as it is."))
        return pace, forward
    yield _phase(_("Compiling the network"))
    compiled = Forward(forward.model, task.head, settings, device, pace.precision, compiled=True)
    try:
        pace = compare_compiled(compiled, task, data, settings, pace)
    except Exception as error:  # a compiler has many ways to fail, and the run does not need it
        if out_of_memory.is_out_of_memory(error):
            raise
        words = _("The network could not be compiled ({error}): it is computed as it is.", error=type(error).__name__)
        yield _note(words)
        return pace, forward
    return pace, compiled if pace.compiled else forward


def _nonfinite_message(step: int) -> Words:
    return _(
        "The loss or its gradient was no longer a number at step {step}. The weights from before are kept; try a lower learning rate.",
        step=step,
    )


def _early_stopping_message(times: int) -> Words:
    return _("Ended early: the validation result has not become better {times} times in a row.", times=times)


def _batch_split_message(parts: int, step: int, exact: bool) -> Words:
    if not exact:
        return _(
            "The memory was not enough for a whole batch. From step {step} on each is computed in {parts} parts and added up. What is learnt stays nearly the same: this network has norms over a batch, which now see the parts.",
            step=step,
            parts=parts,
        )
    return _(
        "The memory was not enough for a whole batch. From step {step} on each is computed in {parts} parts and added up, so what is learnt stays the same.",
        step=step,
        parts=parts,
    )


def warm_up() -> None:
    """Import what a run needs and take one step, so that a spare worker's first real step is not the first."""
    import datasets  # noqa: F401
    import sacrebleu  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for architecture in catalog.architectures().values():
        architecture.register()
    from transformers import GPT2LMHeadModel, MarianMTModel, ResNetForImageClassification, ViTForImageClassification  # noqa: F401

    model = torch.nn.Linear(2, 2)
    some = {"optimizer": "adamw", "learning_rate": 1e-3, "weight_decay": 0.0}
    optimize = optimizer(model, some)
    model(torch.zeros(1, 2)).sum().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimize.step()


def _phase(words: Words) -> Event:
    return Event("phase", {"words": words.to_json()})


def _note(words: Words) -> Event:
    return Event("note", {"words": words.to_json()})


def _state(state: str, reason: Words | None = None) -> Event:
    return Event("state", {"state": state, "reason": reason.to_json() if reason else None})
