"""The training loop, a generator of events: the story of a run from its data to its model."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from bigmodel.core import blocks, catalog
from bigmodel.core.contracts import HEADS, Task
from bigmodel.core.events import DIVERGED, FINISHED, STOPPED, STOPPING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import Prepared, prepare
from bigmodel.training import checkpoint
from bigmodel.training.losses import LOSSES
from bigmodel.training.optimizers import optimizer, rate_factor
from bigmodel.training.precision import Pace, autocast, device_for, measure

STEP_EVENT_SECONDS = 0.1  # steps faster than this share an event: nobody sees ten a second
DEVICE_EVENT_SECONDS = 2.0


def train(
    spec: RunSpec, folder: Path, stopped: Callable[[], bool], cache: Path, device: str = "auto"
) -> Iterator[Event]:
    """Train what the spec says and leave the model in `folder/model`.

    Writes only into `folder` and, by content hash, into `cache`. `stopped()` is asked before each step; when
    it says so, the weights are saved and the run ends as stopped. Raises Refusal for what a person can mend.
    """
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()  # our log is for what happens, not for bars
    task, architecture, dataset = (
        catalog.task(spec.task),
        catalog.architecture(spec.architecture),
        catalog.dataset(spec.dataset),
    )
    settings = spec.settings
    device = device_for(settings["device"] if settings["device"] != "auto" else device)

    yield _phase(_("Reading and encoding the data"))
    data = prepare(task, architecture, dataset, settings, cache)

    yield _phase(_("Building the network"))
    torch.manual_seed(settings["seed"])
    model = architecture.model(data.facts, settings).to(device)
    model.train()

    yield _phase(_("Measuring the first batch"))
    pace = _probe(task, model, data, settings, device)
    log_every = max(1, round(STEP_EVENT_SECONDS / (pace.step * settings["accumulation"])))
    per_epoch = math.ceil(len(task.plan(data.arrays["train"], settings, 0)) / settings["accumulation"])
    steps = min(per_epoch * settings["epochs"], settings["max_steps"] or math.inf)
    yield Event(
        "plan",
        {
            "steps": steps,
            "epochs": settings["epochs"],
            "steps_per_epoch": per_epoch,
            "parameters": sum(weight.numel() for weight in model.parameters()),
            "device": device,
            "precision": pace.precision,
            "threads": pace.threads,
            "probe_seconds": dict(pace.seconds),
            "rows": data.facts.get("rows", {}),
            "log_every": log_every,
            "unit": task.unit.to_json(),
        },
    )

    watch = _Watch(task, model, data, settings, folder, spec)
    yield from watch.samples(0)

    optimize = optimizer(model, settings)
    loss_of = LOSSES[settings["loss"]]
    meter = _Meter(device)
    step = 0
    for epoch, group in islice(_updates(task, data, settings), steps):
        if stopped():
            yield _state(STOPPING)
            yield from watch.keep_current(step)
            yield _state(STOPPED, _("Stopped at step {step}; the weights are kept.", step=step))
            return

        for parameters in optimize.param_groups:
            parameters["lr"] = rate = settings["learning_rate"] * rate_factor(settings, step, steps)
        batches = [task.batch(data.arrays["train"], indices, settings, epoch) for indices in group]
        counted = [int((batch["labels"] != -100).sum()) for batch in batches]  # what the loss is a mean over
        loss = torch.zeros((), device=device)
        for batch, count in zip(batches, counted, strict=True):
            inputs, labels = _to(batch, HEADS[task.head].inputs, device)
            with autocast(device, pace.precision):
                logits = model(**inputs).logits
            part = loss_of(logits.float(), labels, settings["label_smoothing"]) * (count / sum(counted))
            part.backward()
            loss += part.detach()
            meter.count(task.size(batch))
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), settings["clip"] or math.inf)
        step += 1
        meter.add(loss)
        if not bool(torch.isfinite(norm) & torch.isfinite(loss)):
            yield meter.event(step, per_epoch, rate, norm)
            yield from watch.keep_good(step - 1)
            yield _state(DIVERGED, _not_finite(step))
            return
        optimize.step()
        optimize.zero_grad(set_to_none=True)

        if step % log_every == 0 or step in (1, steps):
            yield meter.event(step, per_epoch, rate, norm)
        if meter.device_due():
            yield Event("device", {"used": meter.device_use(), "seconds": meter.seconds()})

        due = step % settings["eval_every"] == 0 if settings["eval_every"] else step % per_epoch == 0
        if due or step == steps:
            with meter.pause():
                yield from watch.validate(step, step / per_epoch)
        if step < steps and settings["patience"] and watch.worse_in_a_row >= settings["patience"]:
            yield from watch.conclude(step, _no_better(watch.worse_in_a_row))
            return

    yield from watch.conclude(step, _("All {steps} steps are done.", steps=step))


def _updates(task: Task, data: Prepared, settings: Mapping) -> Iterator[tuple[int, Sequence]]:
    """(epoch, batches that share an update), epoch after epoch."""
    for epoch in range(settings["epochs"]):
        plan = task.plan(data.arrays["train"], settings, epoch)
        for start in range(0, len(plan), settings["accumulation"]):
            yield epoch, plan[start : start + settings["accumulation"]]


def _not_finite(step: int) -> Words:
    return _(
        "The loss or its gradient was no longer a number at step {step}. The weights from before are kept; try a lower learning rate.",
        step=step,
    )


def _no_better(times: int) -> Words:
    return _("Ended early: the validation result has not become better {times} times in a row.", times=times)


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


class _Watch:
    """Looks at the model from outside: validates, keeps the best weights, asks the pinned inputs."""

    def __init__(self, task: Task, model: Any, data: Prepared, settings: Mapping, folder: Path, spec: RunSpec):
        self.task, self.model, self.data, self.settings, self.folder, self.spec = (
            task,
            model,
            data,
            settings,
            folder,
            spec,
        )
        self.best: tuple[float, ...] = ()
        self.best_step, self.best_metrics, self.worse_in_a_row = 0, {}, 0

    def validate(self, step: int, epoch: float) -> Iterator[Event]:
        started = time.monotonic()
        metrics = self.task.measure(self.model, self.data.processor, self.data.arrays["validation"], self.settings)
        yield Event(
            "validation", {"step": step, "epoch": epoch, "metrics": metrics, "seconds": time.monotonic() - started}
        )
        yield from self.samples(step)
        merit = self._merit(metrics)
        if not all(map(math.isfinite, merit)) or (self.best and merit <= self.best):
            self.worse_in_a_row += 1
            return
        before, self.best, self.best_step, self.best_metrics, self.worse_in_a_row = (
            self.best_step,
            merit,
            step,
            metrics,
            0,
        )
        path = checkpoint.save(self._place(step), self.model.save_pretrained)
        yield Event("checkpoint", {"step": step, "path": str(path.relative_to(self.folder)), "best": True})
        if before and before != step:
            checkpoint.remove(self._place(before))

    def _merit(self, metrics: Mapping) -> tuple[float, ...]:
        """Greater is better: the task's first metric, and the loss where that is the same."""
        first = self.task.metrics[0]
        return (metrics[first.name] if first.higher_is_better else -metrics[first.name], -metrics["loss"])

    def samples(self, step: int) -> Iterator[Event]:
        """What the model answers to the pinned inputs, the random numbers of training left as they were."""
        for asked in self.data.pinned:
            defaults = {field.name: field.default for field in self.task.inputs}
            shown = list(self.task.answer(self.model, self.data.processor, defaults | asked))
            kept = [blocks.to_json(block) for block in shown if not isinstance(block, blocks.Prose) or block.done]
            yield Event("sample", {"step": step, "inputs": blocks.pack(asked), "blocks": kept})

    def conclude(self, step: int, reason: Words) -> Iterator[Event]:
        """The best weights, measured once on the test split, become the model."""
        if not self.best_step:
            yield from self.keep_good(step)
            yield _state(DIVERGED, _("No validation gave a number. Try a lower learning rate."))
            return
        yield _phase(_("Measuring the best weights on the test split"))
        self._load_best()
        metrics = self.task.measure(
            self.model, self.data.processor, self.data.arrays["test"], self.settings, final=True
        )
        yield Event("result", {"step": self.best_step, "metrics": metrics})
        self._write_model(self.best_step, metrics)
        yield _state(FINISHED, reason)

    def keep_good(self, step: int) -> Iterator[Event]:
        """The best weights there are; before the first validation, those that the model has."""
        if self.best_step:
            self._load_best()
        yield from self.keep_current(self.best_step or step)

    def keep_current(self, step: int) -> Iterator[Event]:
        self._write_model(step, {})
        yield Event("note", {"words": _("The weights of step {step} are kept.", step=step).to_json()})

    def _place(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step-{step}"

    def _load_best(self) -> None:
        from safetensors.torch import load_model

        load_model(self.model, self._place(self.best_step) / "model.safetensors", strict=False)

    def _write_model(self, step: int, metrics: Mapping) -> None:
        """A folder that plain transformers opens, with a page of our own about where it comes from."""
        about = {
            "spec": self.spec.to_json(),
            "step": step,
            "metrics": dict(metrics),
            "validation": dict(self.best_metrics) if step == self.best_step else {},
            "parameters": sum(weight.numel() for weight in self.model.parameters()),
            "created": time.time(),
        }

        def write(staging: Path) -> None:
            self.model.save_pretrained(staging)
            self.data.processor.save_pretrained(staging)
            (staging / "bigmodel.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), "utf-8")

        checkpoint.save(self.folder / "model", write)


class _Meter:
    """Counts units and seconds of training; validation and samples are not training."""

    def __init__(self, device: str):
        self.device = device
        self.started = self.last = self.device_last = time.perf_counter()
        self.paused = 0.0
        self.units = 0
        self.losses: list = []

    def count(self, units: int) -> None:
        self.units += units

    def add(self, loss: Any) -> None:
        self.losses.append(loss)

    def event(self, step: int, per_epoch: int, learning_rate: float, norm: Any) -> Event:
        """What the steps since the last event came to."""
        return Event(
            "step",
            {
                "step": step,
                "epoch": step / per_epoch,
                "loss": self.loss(),
                "learning_rate": learning_rate,
                "gradient_norm": norm.item(),
                "rate": self.rate(),
                "seconds": self.seconds(),
            },
        )

    def loss(self) -> float:
        """Mean over the steps since the last event."""
        mean = sum(loss.item() for loss in self.losses) / len(self.losses)
        self.losses = []
        return mean

    def rate(self) -> float:
        now = time.perf_counter()
        rate = self.units / max(now - self.last, 1e-9)
        self.last, self.units = now, 0
        return rate

    def seconds(self) -> float:
        return time.perf_counter() - self.started - self.paused

    def pause(self) -> _Meter:
        return self

    def __enter__(self) -> None:
        self.pause_started = time.perf_counter()

    def __exit__(self, *error: object) -> None:
        spent = time.perf_counter() - self.pause_started
        self.paused += spent
        self.last += spent

    def device_due(self) -> bool:
        now = time.perf_counter()
        if now - self.device_last < DEVICE_EVENT_SECONDS:
            return False
        self.device_last = now
        return True

    def device_use(self) -> dict[str, float]:
        """memory: bytes of this process; cpu: percent of one core; gpu_memory: bytes held on the GPU."""
        import psutil
        import torch

        self.process = getattr(self, "process", None) or psutil.Process(os.getpid())
        used = {"memory": self.process.memory_info().rss, "cpu": self.process.cpu_percent()}
        if self.device.startswith("cuda"):
            used["gpu_memory"] = torch.cuda.memory_allocated()
            used["gpu_peak"] = torch.cuda.max_memory_allocated()
        return used


def _probe(task: Task, model: Any, data: Prepared, settings: Mapping, device: str) -> Pace:
    """How to compute the steps, from passes over the first batch that leave no trace in model or random numbers."""
    import torch

    arrays = data.arrays["train"]
    batch = task.batch(arrays, task.plan(arrays, settings, 0)[0], settings, 0)
    inputs, labels = _to(batch, HEADS[task.head].inputs, device)
    loss_of = LOSSES[settings["loss"]]
    state = {name: value.clone() for name, value in model.named_buffers()}

    def step(precision: str) -> None:
        with autocast(device, precision):
            logits = model(**inputs).logits
        loss_of(logits.float(), labels, settings["label_smoothing"]).backward()
        model.zero_grad(set_to_none=True)

    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices):
        pace = measure(step, device, settings["precision"])
    with torch.no_grad():
        for name, value in model.named_buffers():  # batch norm has counted the probe's batches
            value.copy_(state[name])
    return pace


def _to(batch: Mapping, names: tuple[str, ...], device: str) -> tuple[dict, Any]:
    return {name: batch[name].to(device) for name in names if name in batch}, batch["labels"].to(device)


def _phase(words: Words) -> Event:
    return Event("phase", {"words": words.to_json()})


def _state(state: str, reason: Words | None = None) -> Event:
    return Event("state", {"state": state, "reason": reason.to_json() if reason else None})
