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
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _, listed
from bigmodel.data.interruptible import NotWanted
from bigmodel.data.prepare import Prepared, key, prepare
from bigmodel.training import out_of_memory, pretraining, resume_state
from bigmodel.training.batch_sizes import size_of, sizes
from bigmodel.training.determinism import Repeated, ready
from bigmodel.training.eval_cost import Look, look_at
from bigmodel.training.evaluator import Stopped, Watch
from bigmodel.training.forward import Forward, can_compile, pays_back, quicken
from bigmodel.training.kernels import malloc
from bigmodel.training.nonfinite_guard import Guard
from bigmodel.training.optimizers import optimizer, rate_factor
from bigmodel.training.precision import Pace, compare, device_for, pace_file, probe
from bigmodel.training.throughput import Meter
from bigmodel.training.update_ratio import Moves

LOOK_SECONDS = 0.3  # for which it is tried how long a measurement takes
STEP_EVENT_SECONDS = 0.1  # steps faster than this share an event: nobody sees ten a second
POINTS = 200  # that a run's curve has at least, however fast its steps: a leap of a few of them is to be seen


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
        with malloc.kept():
            for event in _train(spec, folder, stopped, cache, device):
                if event.kind == "phase":
                    doing = [Words.from_json(event["words"])]
                yield event
    except disk_space.NoSpace as full:
        yield _state(INTERRUPTED, full.what)
    except Exception as error:
        if disk_space.was_full(error):
            yield _state(INTERRUPTED, disk_space.in_words(disk_space.missing(folder)))
            return
        if not out_of_memory.was_short(error):
            raise
        raise out_of_memory.in_words(doing[0] if doing else None) from error


def _train(spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path, device: str) -> Iterator[Event]:
    task, architecture, dataset = (
        catalog.task(spec.task),
        catalog.architecture(spec.architecture),
        catalog.dataset(spec.dataset),
    )
    settings = spec.settings
    device = device_for(settings["device"] if settings["device"] != "auto" else device)
    ready(device)

    yield _phase(_("Reading and encoding the data"))
    try:
        data = prepare(task, architecture, dataset, settings, cache, stopped)
    except NotWanted:
        yield _state(STOPPED, _("Stopped while the data were encoded: nothing has been learnt yet."))
        return
    malloc.give_back()
    name = key(task, architecture, dataset, settings)
    for words in task.remarks(data.processor, data.arrays["train"]):
        yield _note(words)

    if pretraining.needed(settings, folder):
        yield _phase(_("Pretraining: masked words are guessed"))
        _seed(settings["seed"])
        model = architecture.pretraining_model(data.facts, settings)
        first, own = pretraining.Guessing(task, data.facts), pretraining.spec_of(spec)
        place, unasked = pretraining.place(folder), replace(data, pinned=[])
        stage = _stage(first, model, unasked, own, place, stopped, cache, device, name)
        if not (yield from pretraining.told(stage, folder)):
            return

    yield _phase(_("Building the network"))
    _seed(settings["seed"])
    model = architecture.model(data.facts, settings)
    if pretraining.done(folder):
        architecture.begin_with(model, pretraining.place(folder) / "model")
    yield from _stage(task, model, data, spec, folder, stopped, cache, device, name)
    pretraining.forget(folder)


def _stage(
    task: Task, model: Any, data: Prepared, spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path,
    device: str, name: str,
) -> Iterator[Event]:  # fmt: skip
    """From a network with its first weights to the model. `name` is that of the encoded data."""
    settings, model = spec.settings, model.to(device)
    quicken(model, device)
    model.train()
    optimize = optimizer(model, settings)
    epoch = task.plan(data.arrays["train"], settings, 0)
    per_epoch = math.ceil(len(epoch) / settings["accumulation"])
    steps = min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)
    watch = Watch(task, model, optimize, data, spec, folder, stopped)

    before = yield from _before(watch, per_epoch, steps)
    ways = yield from _ways(watch, before, steps, device, pace_file(cache, spec, name, device))
    yield _plan(watch, ways, per_epoch, steps, device)

    pace, look, forward, log_every = ways
    usual = (
        before.get("usual") or sizes(task, data.arrays["train"], settings, epoch).mean().item() * len(epoch) / per_epoch
    )
    meter = Meter(device, usual, before.get("meter"))
    work = _Work(task, data, settings, model, optimize, forward, meter, before.get("parts", 1))
    watch.rest = lambda: {
        "spec": spec.to_json(),
        "data": name,
        "epoch": watch.step / per_epoch,
        "step": watch.step,
        "pace": asdict(pace),
        "look": asdict(look),
        "log_every": log_every,
        "parts": work.parts,
        "usual": usual,
        "meter": meter.state(),
        "watch": watch.state(),
    }
    try:
        yield from _learn(work, watch, steps, per_epoch, log_every)
    except Stopped:
        yield _state(STOPPING)
        yield from watch.keep_current()
        yield _state(STOPPED, _("Stopped at step {step}; the weights are kept.", step=watch.step))


def _learn(work: _Work, watch: Watch, steps: int, per_epoch: int, log_every: int) -> Iterator[Event]:
    """Update after update from the watch's step on, until the steps are done or nothing gets better."""
    settings, meter, guard = work.settings, work.meter, work.guard

    def diverged() -> Iterator[Event]:
        watch.step = guard.bad() - 1
        yield meter.event(guard.bad(), per_epoch, rate, guard.norm)
        yield from watch.keep_good()
        yield _state(DIVERGED, _not_finite(guard.bad()))

    if not watch.step:
        if settings.get("baseline"):
            yield from watch.measure_base()
        yield from watch.samples()
    elif _due(settings, watch.step, steps, per_epoch) and watch.validated < watch.step:
        yield from watch.validate(watch.step / per_epoch)  # it was stopped in the middle of this
    for epoch, group in islice(_updates(work.task, work.data, settings), watch.step, steps):
        if settings["patience"] and watch.worse_in_a_row >= settings["patience"]:
            yield from watch.conclude(_no_better(watch.worse_in_a_row))
            return
        if watch.stopped():
            if guard.bad():
                yield from diverged()
                return
            raise Stopped

        for parameters in work.optimize.param_groups:
            parameters["lr"] = rate = settings["learning_rate"] * rate_factor(settings, watch.step, steps)
        guard.begin()
        with out_of_memory.doing(_("Training step {step}", step=watch.step + 1)):
            loss, norm, split = work.gradients(group, epoch)
        if split:
            words = _split(split, watch.step + 1, exact=not guard.statistics)
            yield Event("note", {"words": words.to_json(), "parts": split})
        step = watch.step + 1
        meter.add(loss)
        guard.look(step, loss, norm)
        told = step % log_every == 0 or step in (1, steps)
        due, save = _due(settings, step, steps, per_epoch), watch.due()
        if (guard.waits or told or due or save) and guard.bad():
            yield from diverged()
            return
        with out_of_memory.doing(_("Training step {step}", step=watch.step + 1)):
            if told:
                work.moves.before()
            work.optimize.step()
        work.optimize.zero_grad(set_to_none=True)
        watch.step = step

        if told:
            yield meter.event(step, per_epoch, rate, norm, work.moves.after())
        if meter.device_due():
            yield meter.device_event()
        if due:
            with meter.pause():
                yield from watch.validate(step / per_epoch)
        if save and watch.due():
            with meter.pause():
                yield from watch.keep()

    yield from watch.conclude(_("All {steps} steps are done.", steps=steps))


def _updates(task: Task, data: Prepared, settings: Mapping) -> Iterator[tuple[int, Sequence]]:
    """(epoch, batches that share an update), epoch after epoch."""
    for epoch in range(settings["epochs"]):
        plan = task.plan(data.arrays["train"], settings, epoch)
        for start in range(0, len(plan), settings["accumulation"]):
            yield epoch, plan[start : start + settings["accumulation"]]


def _log_every(seconds: float, steps: float) -> int:
    """Steps that share an event; `seconds` is what one of them takes."""
    return max(1, min(round(STEP_EVENT_SECONDS / seconds), int(steps // POINTS)))


def _due(settings: Mapping, step: int, steps: int, per_epoch: int) -> bool:
    """Whether the model is measured after this step."""
    return step % (settings["eval_every"] or per_epoch) == 0 or step == steps


def _ways(
    watch: Watch, before: Mapping, steps: int, device: str, kept: Path
) -> Generator[Event, None, tuple[Pace, Look, Forward, int]]:
    """How steps are computed, what looking at the model costs, what computes the loss, and how many steps share an event:
    as decided before the run was stopped, else by trying."""
    task, model, data, settings = watch.task, watch.model, watch.data, watch.settings
    if before.get("pace"):
        pace, look = Pace(**before["pace"]).take(device), Look(**before["look"])
        forward = Forward(model, task.head, settings, device, pace.precision, pace.compiled)
    else:
        yield _phase(_("Measuring the first batch"))
        pace = probe(task, model, data, settings, device, kept)
        look = look_at(task, model, data, settings, LOOK_SECONDS)
        forward = Forward(model, task.head, settings, device, pace.precision)
        pays = settings["compile"] == "auto" and pays_back(device, pace.step * settings["accumulation"] * steps)
        if pays or settings["compile"] == "on":
            pace, forward = yield from _compiled(forward, task, data, settings, pace)
    return pace, look, forward, before.get("log_every") or _log_every(pace.step * settings["accumulation"], steps)


def _plan(watch: Watch, ways: tuple[Pace, Look, Forward, int], per_epoch: int, steps: int, device: str) -> Event:
    """What will be done, before the first step."""
    (pace, look, _forward, log_every), task, data = ways, watch.task, watch.data
    weights = list(watch.model.parameters())
    return Event(
        "plan",
        {
            "steps": steps,
            "epochs": watch.settings["epochs"],
            "steps_per_epoch": per_epoch,
            "parameters": sum(map(_numbers_in, weights)),
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


def _numbers_in(weight: Any) -> int:
    """Of 4 bits two stand in a byte."""
    import torch

    return weight.numel() * (2 if weight.dtype == torch.uint8 else 1)


@dataclass
class _Work:
    """What an update is made with. `parts`: into how many pieces a batch is cut so that it fits the memory."""

    task: Task
    data: Prepared
    settings: Mapping
    model: Any
    optimize: Any
    forward: Forward
    meter: Meter
    parts: int

    def __post_init__(self) -> None:
        self.weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        self.moves = Moves(self.weights)
        self.device = self.forward.device
        self.repeated = Repeated(self.device)
        self.guard = Guard(self.optimize, self.model, self.device)
        self.least = 2 if self.guard.statistics else 1  # a norm over batches wants more than one example
        self.foreach = self.device.split(":")[0] in ("cpu", "cuda")

    def gradients(self, group: Sequence, epoch: int) -> tuple[Any, Any, int]:
        """(loss, norm of the gradient, parts where batches had to be cut smaller just now, else 0).

        Where the memory is not enough, the same update is computed again in smaller pieces: the gradient is the
        same mean over the same examples.
        """
        import torch

        split = 0
        while True:
            start = _random(self.device)
            try:
                with self.repeated.strictly():
                    loss = self._passes(group, epoch)
                break
            except Exception as error:
                unable = self.repeated.cannot(error)
                if not unable and (
                    not out_of_memory.was_short(error) or self.parts >= max(map(len, group)) // self.least
                ):
                    raise
            self.optimize.zero_grad(set_to_none=True)
            self.guard.back()
            _random(self.device, start)
            if unable:
                continue
            if self.device.startswith("cuda"):
                torch.cuda.empty_cache()
            split = self.parts = 2 * self.parts
        # foreach: one call for all weights, which matters for small networks
        norm = torch.nn.utils.clip_grad_norm_(self.weights, self.settings["clip"] or math.inf, foreach=self.foreach)
        return loss, norm, split

    def _pieces(self, indices: Sequence) -> int:
        return max(min(self.parts, len(indices) // self.least), 1)

    def _passes(self, group: Sequence, epoch: int) -> Any:
        """Forward and backward through every piece of every batch; the mean loss over what is counted."""
        import numpy as np
        import torch

        rows, pieces = self.data.arrays["train"], group
        if self.parts > 1:
            pieces = [piece for indices in group for piece in np.array_split(indices, self._pieces(indices))]
        batches = [self.task.batch(rows, indices, self.settings, epoch) for indices in pieces]
        counted = [int((batch["labels"] != -100).sum()) for batch in batches]  # what the loss is a mean over
        loss = torch.zeros((), device=self.device)
        for batch, count in zip(batches, counted, strict=True):
            if not count:
                continue
            part = self.forward(batch) * (count / sum(counted))
            part.backward()
            loss += part.detach()
        self.meter.count(sum(self.task.size(batch) for batch in batches), sum(map(size_of, batches)))
        return loss


def _before(watch: Watch, per_epoch: int, steps: int) -> Iterator[Event]:
    """Put model, optimizer and random numbers where the newest whole checkpoint has them; what else it holds.

    {} for a run that begins. A damaged checkpoint is passed over for the one before.
    """
    folder = watch.folder
    resume_state.mend(folder)
    damaged = []
    for place in resume_state.places(folder):
        if not resume_state.whole(place):
            damaged.append(place.name)
            continue
        for name in damaged:
            yield _note(_("The checkpoint {name} is damaged; the one before it is used.", name=name))
        before = resume_state.read(place)
        device = next(watch.model.parameters()).device
        changes = resume_state.changes(before, watch.spec, device.type, resume_state.processor_of(device))
        if changes:
            words = _("It goes on, but no longer as the same run, bit by bit: {changes}.", changes=listed(changes))
            yield _note(words)
        _load(place, watch, memory_too=True)
        watch.sound.add(place)
        watch.step = before["step"]
        watch.restore(before["watch"])
        if watch.best_is_lost():
            yield watch.forget_best()
        yield Event("resume", {"step": watch.step})
        yield _note(_("Goes on from step {step}.", step=watch.step))
        return before
    if damaged:
        yield _note(_("No checkpoint is whole any more ({names}): the run begins again.", names=", ".join(damaged)))
    origin = folder / resume_state.ORIGIN
    if not origin.exists():
        return {}
    if not resume_state.whole(origin):
        what = _("The checkpoint that this run begins with is damaged.")
        raise Refusal(what, do=_("Branch off from another checkpoint."))
    before = resume_state.read(origin)
    _load(origin, watch, memory_too=before["spec"]["settings"]["optimizer"] == watch.settings["optimizer"])
    watch.step = round(before["epoch"] * per_epoch)
    if watch.step >= steps:
        what = _("The weights have been trained for {epochs} epochs already.", epochs=round(before["epoch"], 2))
        raise Refusal(what, do=_("Ask for more epochs than that."), field="epochs")
    watch.validated, watch.before = watch.step, before["watch"].get("before", {})
    yield _note(_("Begins with the weights of step {step} of another run.", step=before["step"]))
    yield from watch.samples()
    return {}


def _load(place: Path, watch: Watch, memory_too: bool) -> None:
    resume_state.load_weights(place, watch.model)
    if memory_too:
        resume_state.load_optimizer(place, watch.optimize)
    resume_state.load_random(place)


def _seed(seed: int) -> None:
    import numpy as np
    import torch

    torch.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)


def _random(device: str, state: tuple | None = None) -> tuple:
    """The states of the generators that a step draws from; put back, if one is given."""
    import torch

    gpu = device.startswith("cuda")
    if state is not None:
        torch.set_rng_state(state[0])
        if gpu:
            torch.cuda.set_rng_state(state[1], device)
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if gpu else None


def _compiled(
    forward: Forward, task: Task, data: Prepared, settings: Mapping, pace: Pace
) -> Generator[Event, None, tuple[Pace, Forward]]:
    """Compile the network and take it so if that is faster; the pace, and what computes the loss."""
    device = forward.device
    if not can_compile(device):
        yield _note(_("There is no compiler on this machine: the network is computed as it is."))
        return pace, forward
    yield _phase(_("Compiling the network"))
    compiled = Forward(forward.model, task.head, settings, device, pace.precision, compiled=True)
    try:
        pace = compare(compiled, task, data, settings, pace)
    except Exception as error:  # a compiler has many ways to fail, and the run does not need it
        if out_of_memory.was_short(error):
            raise
        words = _("The network could not be compiled ({error}): it is computed as it is.", error=type(error).__name__)
        yield _note(words)
        return pace, forward
    return pace, compiled if pace.compiled else forward


def _not_finite(step: int) -> Words:
    return _(
        "The loss or its gradient was no longer a number at step {step}. The weights from before are kept; try a lower learning rate.",
        step=step,
    )


def _no_better(times: int) -> Words:
    return _("Ended early: the validation result has not become better {times} times in a row.", times=times)


def _split(parts: int, step: int, exact: bool) -> Words:
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


def warm() -> None:
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
