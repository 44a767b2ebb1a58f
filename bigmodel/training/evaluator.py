"""Evaluates a model in training: validation, samples, early stopping; keeps the checkpoints that a run must not lose."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any

from bigmodel.core import blocks, disk_space
from bigmodel.core.disk_space import DiskFull
from bigmodel.core.events import DIVERGED, FINISHED, Event, note_event, phase_event, state_event
from bigmodel.core.files import fsync
from bigmodel.core.spec import Session
from bigmodel.core.words import Words, _
from bigmodel.data.prepare import Prepared
from bigmodel.training import checkpoint, out_of_memory, resume_state

CHECKPOINT_SECONDS = 30.0  # of training at most that a death loses
CHECKPOINT_SHARE = 0.02  # of the time may go into saving: a large network on a slow disk is saved less often
STOP_TEST_SECONDS = 60.0  # that measuring the test split may take when a run is stopped
KEPT = 2  # checkpoints beside the best one: if the newest is damaged, the one before does


class StopRequested(Exception):
    """Somebody has asked the run to stop."""


class Evaluator:
    """Best and newest state of a run. `extra_state()` gives what a checkpoint holds beside model and optimizer."""

    def __init__(
        self,
        session: Session,
        model: Any,
        optimize: Any,
        data: Prepared,
        folder: Path,
        stopped: Callable[[], bool],
        end_now: Callable[[], bool] | None = None,
    ):
        self.session, self.task, self.settings = session, session.task, session.settings
        self.model, self.optimizer, self.data, self.folder, self.should_stop = model, optimize, data, folder, stopped
        self.best: tuple[float, ...] = ()
        self.best_step, self.best_metrics, self.worse_in_a_row = 0, {}, 0
        self.before: Mapping[str, float] = {}  # of a base as it was, on the validation split
        self.should_end_now = end_now or stopped
        self.step = 0  # the weights are those after this update
        self.validated = 0  # the last step that was measured
        self.finished = False  # the model holds the best weights, no longer the newest
        self.saved_step, self.saved_at, self.checkpoint_bytes = -1, time.monotonic(), 0
        self.save_seconds = 0.0  # seconds that the newest checkpoint took
        self.valid_checkpoints: set[Path] = set()  # checkpoints that this process has found whole
        self.extra_state: Callable[[], Mapping] = dict

    def state(self) -> dict:
        names = ("best", "best_step", "best_metrics", "worse_in_a_row", "validated", "before")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: Mapping) -> None:
        for name, value in state.items():
            setattr(self, name, tuple(value) if isinstance(value, list) else value)
        self.saved_step = self.step

    # -- evaluating --------------------------------------------------------------------------------
    def validate(self, epoch: float) -> Iterator[Event]:
        """Metrics on the validation split and samples; a checkpoint where the weights are the best so far."""
        started = time.monotonic()
        with self._interruptible():
            metrics = self._measure("validation")
            measured = time.monotonic() - started
            score = self.score(metrics)
            answers = list(self.samples()) if all(map(math.isfinite, score)) else []  # else it cannot answer either
        yield Event(
            "validation",
            {"step": self.step, "epoch": epoch, "metrics": metrics, "seconds": measured},
        )
        yield from answers
        self.validated = self.step
        if not all(map(math.isfinite, score)) or (self.best and score <= self.best):
            self.worse_in_a_row += 1
            return
        self.best, self.best_step, self.best_metrics, self.worse_in_a_row = score, self.step, metrics, 0
        yield from self.save_checkpoint()

    def measure_base(self) -> Iterator[Event]:
        """Validation metrics of a base model as it is."""
        yield phase_event(_("Measuring the base model as it is"))
        started = time.monotonic()
        with self._interruptible():
            self.before = self._measure("validation")
        yield Event("baseline", {"metrics": self.before, "seconds": time.monotonic() - started})

    def _measure(self, split: str) -> dict:
        final, rows = split == "test", self.data.arrays[split]
        with out_of_memory.refuse_on_oom(
            _("Measuring the model on the test split") if final else _("Validating the model")
        ):
            return self.task.measure(self.model, self.data.processor, rows, self.settings, final=final)

    def score(self, metrics: Mapping) -> tuple[float, ...]:
        """Greater is better: the task's first metric, and the loss where that is the same."""
        first = self.task.metrics[0]
        return (metrics[first.name] if first.higher_is_better else -metrics[first.name], -metrics["loss"])

    def samples(self) -> Iterator[Event]:
        """Answers to the pinned inputs; the random generators of training stay as they were."""
        for asked in self.data.pinned:
            started, defaults = time.monotonic(), {field.name: field.default for field in self.task.inputs}
            with out_of_memory.refuse_on_oom(_("Answering the sample inputs")):
                shown = list(self.task.answer(self.model, self.data.processor, defaults | asked))
            kept = [blocks.to_json(block) for block in shown if not isinstance(block, blocks.Prose) or block.done]
            seconds = time.monotonic() - started
            yield Event("sample", {"step": self.step, "inputs": blocks.pack(asked), "blocks": kept, "seconds": seconds})

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """StopRequested before any forward pass; the model is in training mode afterwards."""

        def listen(*_anything: object) -> None:
            if self.should_stop():
                raise StopRequested

        handle = self.model.register_forward_pre_hook(listen)
        try:
            yield
        finally:
            handle.remove()
            self.model.train()

    # -- keeping -----------------------------------------------------------------------------------
    def due(self) -> bool:
        """Whether so much has been computed since the last checkpoint that losing it would hurt."""
        costly = self.save_seconds / (CHECKPOINT_SECONDS * CHECKPOINT_SHARE)
        return time.monotonic() - self.saved_at > CHECKPOINT_SECONDS * max(1.0, costly)

    def save_checkpoint(self) -> Iterator[Event]:
        """A checkpoint of now, from which the run can go on. Once it has been read back, those that are not needed any
        more leave."""
        started = time.monotonic()
        if self.saved_step != self.step:
            self._make_room()
            self._flush_events()
            path = self._save()
            self.checkpoint_bytes = sum(file.stat().st_size for file in path.iterdir())
            sound = self._is_valid(path)
            self.save_seconds = time.monotonic() - started
            if not sound:
                self.saved_at = time.monotonic()
                yield _unreadable_note(self.step)
                return
            self.saved_step = self.step
        self.saved_at = time.monotonic()
        best = self.best_step == self.step
        place = f"checkpoints/step-{self.step}"
        seconds = time.monotonic() - started
        yield Event("checkpoint", {"step": self.step, "path": place, "best": best, "seconds": seconds})
        self._rotate()

    def _rotate(self) -> None:
        """The best stays, and the newest others that are whole: a damaged one of a later step must not push out one that
        the run can go on from. To go on from an older one, the best of its time is needed too."""
        others = [
            folder
            for folder in resume_state.checkpoint_folders(self.folder)
            if folder != self._checkpoint_path(self.best_step)
        ]
        kept = list(islice(filter(self._is_valid, others), KEPT))
        needed = {self._checkpoint_path(best) for place in kept if (best := resume_state.best_step(place)) is not None}
        for other in others:
            if other not in kept and other not in needed:
                checkpoint.remove(other)

    def _is_valid(self, place: Path) -> bool:
        """Whether a checkpoint is whole; each is read once."""
        if place not in self.valid_checkpoints and resume_state.is_valid(place):
            self.valid_checkpoints.add(place)
        return place in self.valid_checkpoints

    def _flush_events(self) -> None:
        """What has been told of the steps up to here must outlive a power failure if the checkpoint does, or else the
        curve has a hole."""
        story = self.folder / "events.jsonl"
        if story.exists():
            fsync(story)

    def _save(self) -> Path:
        self.valid_checkpoints.discard(self._checkpoint_path(self.step))
        with (
            self._catch_disk_full(self._required_bytes(), disk_space.CHECKPOINT),
            out_of_memory.refuse_on_oom(_("Saving a checkpoint")),
        ):
            return checkpoint.save(self._checkpoint_path(self.step), self._write)

    @contextmanager
    def _catch_disk_full(self, needed: int, wanted: str) -> Iterator[None]:
        """DiskFull where somebody else has filled the disk meanwhile; what is half written is removed at once."""
        try:
            yield
        except Exception as error:
            if not disk_space.was_full(error):
                raise
            resume_state.recover(self.folder)
            raise DiskFull(disk_space.missing_bytes(self.folder, needed), wanted) from error

    def _write(self, staging: Path) -> None:
        resume_state.write_weights(staging, self.model)
        resume_state.write(staging, self.optimizer, self.extra_state())

    def _make_room(self) -> None:
        """DiskFull before anything is written that could not be written to its end."""
        disk_space.check(self.folder, self._required_bytes(), disk_space.CHECKPOINT)

    def _required_bytes(self) -> int:
        """Bytes of the next checkpoint."""
        changing = [weight for weight in self.model.parameters() if weight.requires_grad]
        return self.checkpoint_bytes or 4 * sum(weight.numel() * weight.element_size() for weight in changing)

    def stop(self, test_seconds: float) -> Iterator[Event]:
        """The weights of now stay in a checkpoint, from which the run can go on; the best become the model, with their
        figure on the test split where that takes no longer than a person who wants to stop would wait."""
        measure = not self.finished  # else this was what has been stopped
        if not self.finished:
            yield from self.save_checkpoint()
        yield from self.save_best_model()
        if not measure or self.should_end_now():
            return
        if test_seconds > STOP_TEST_SECONDS:
            minutes = math.ceil(test_seconds / 60)
            words = _(
                "The test split was not measured, which would take {minutes} min. A run that finishes has it measured.",
                minutes=minutes,
            )
            yield note_event(words)
            return
        self.should_stop = self.should_end_now
        with suppress(StopRequested):
            yield from self._measure_model()

    def save_best_model(self) -> Iterator[Event]:
        """The best weights there are become the model; before the first validation, those that it has."""
        if self.best_step:
            yield from self._load_best()
        step = self.best_step or self.step
        self._write_model(step, {})
        yield note_event(_("The weights of step {step} are kept.", step=step))

    def _measure_model(self) -> Iterator[Event]:
        """Of the weights it has now, the best: their figure on the test split, and the model with it."""
        step = self.best_step or self.step
        yield phase_event(_("Measuring the best weights on the test split"))
        with self._interruptible():
            metrics = self._measure("test")
        yield Event("result", {"step": step, "metrics": metrics})
        self._write_model(step, metrics)

    def finish(self, reason: Words) -> Iterator[Event]:
        """The best weights, measured once on the test split, become the model."""
        yield from self.save_checkpoint()
        if not self.best_step:
            yield from self.save_best_model()
            yield state_event(DIVERGED, _("No validation gave a number. Try a lower learning rate."))
            return
        yield from self._load_best()
        self.finished = True
        yield from self._measure_model()
        yield state_event(FINISHED, reason)

    def _checkpoint_path(self, step: int) -> Path:
        return self.folder / "checkpoints" / f"step-{step}"

    def _load_best(self) -> Iterator[Event]:
        """The best weights; where the disk has damaged them, the newest that are whole."""
        best = self._checkpoint_path(self.best_step)
        if not resume_state.is_valid(best):
            best = next(
                (folder for folder in resume_state.checkpoint_folders(self.folder) if resume_state.is_valid(folder)),
                None,
            )
            yield self.reset_best()
        if best is None:
            return
        resume_state.load_weights(best, self.model)
        self.best_step = int(best.name.removeprefix("step-"))

    def best_is_lost(self) -> bool:
        return bool(self.best_step) and not resume_state.is_valid(self._checkpoint_path(self.best_step))

    def reset_best(self) -> Event:
        """Look for a best anew, and say so."""
        words = _(
            "The checkpoint of step {step}, the best so far, is damaged or gone; a best one is looked for anew.",
            step=self.best_step,
        )
        self.best, self.best_step, self.best_metrics = (), 0, {}
        return note_event(words)

    def _write_model(self, step: int, metrics: Mapping) -> None:
        """A folder that plain transformers opens, with a page of our own about where it comes from."""
        kept = self.session.architecture.export(self.model)
        processor = self.task.export(kept, self.data.processor, self.settings)
        about = {
            "spec": self.session.spec.to_json(),
            "step": step,
            "metrics": dict(metrics),
            "validation": dict(self.best_metrics) if step == self.best_step else {},
            "before": dict(self.before),
            "parameters": sum(weight.numel() for weight in kept.parameters()),  # without adapters, which are merged
            "created": time.time(),
        }

        def write(staging: Path) -> None:
            kept.save_pretrained(staging)
            processor.save_pretrained(staging)
            (staging / "bigmodel.json").write_text(json.dumps(about, ensure_ascii=False, indent=1), "utf-8")

        needed = sum(weight.numel() * weight.element_size() for weight in kept.parameters())
        disk_space.check(self.folder, needed, disk_space.MODEL)
        with self._catch_disk_full(needed, disk_space.MODEL), out_of_memory.refuse_on_oom(_("Saving the model")):
            checkpoint.save(self.folder / "model", write)


def _unreadable_note(step: int) -> Event:
    words = _(
        "The checkpoint of step {step} cannot be read back as it was written; those before it are kept. The disk may be failing: copy what matters to another one.",
        step=step,
    )
    return note_event(words)
