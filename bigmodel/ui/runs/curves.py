"""The curves of a run: its events read once by the server, however many tabs look, and thinned to what a screen shows."""

from __future__ import annotations

import threading
import time
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import streamlit as st

from bigmodel.core import limits
from bigmodel.core.events import Event
from bigmodel.doctor.diagnosis import Diagnosis
from bigmodel.doctor.doctor import Doctor
from bigmodel.studio import Studio

EVENTS_PER_READ = 4_000  # events
READ_SECONDS = 0.25  # seconds in which a look reads; a long story is read in several looks
STEP_METRICS = ("loss", "learning_rate", "gradient_norm", "update", "rate")


@dataclass
class Line:
    """One curve: where each point stands in steps and in seconds of training, and its value."""

    step: array = field(default_factory=lambda: array("d"))
    seconds: array = field(default_factory=lambda: array("d"))
    value: array = field(default_factory=lambda: array("d"))

    def add(self, step: float, seconds: float, value: object) -> None:
        if not isinstance(value, int | float):
            return
        self.step.append(step)
        self.seconds.append(seconds)
        self.value.append(value)

    def truncate(self, step: float) -> None:
        """Forget what came at or after a step: a run that goes on from a checkpoint does those again."""
        keep = bisect_left(self.step, step)
        for part in (self.step, self.seconds, self.value):
            del part[keep:]

    def __len__(self) -> int:
        return len(self.value)


@dataclass(frozen=True)
class Sample:
    """What the model answered to a pinned input at one step."""

    step: int
    inputs: Mapping
    blocks: Sequence[Mapping]


class Curves:
    """All lines of one run so far. `read` takes in what has happened since."""

    def __init__(self, run: str):
        self.run = run
        self.cursor = 0
        self.complete = False  # everything has been read once
        self.read_fraction = 0.0  # of the story, as long as it has not
        self.lines: dict[str, Line] = {name: Line() for name in STEP_METRICS}
        self.loss_parts: dict[str, Line] = {}
        self.validation: dict[str, Line] = {}
        self.pretraining: dict[str, Line] = {"loss": Line(), "validation": Line()}
        self.device: dict[str, Line] = {}
        self.samples: list[Sample] = []
        self.notes: list[Event] = []
        self.phases: list[Event] = []
        self.states: list[Event] = []
        self.checkpoints: list[Event] = []
        self.diagnoses: Sequence[Diagnosis] = ()
        self._doctor: Doctor | None = None
        self._lock = threading.Lock()

    def read(self, studio: Studio, patience: float = READ_SECONDS) -> Curves:
        """What is new. The first looks at a very long run read only a part of it each."""
        with self._lock:
            until, new = time.monotonic() + patience, True
            while new:
                self.cursor, new = studio.runs.events(self.run, after=self.cursor, limit=EVENTS_PER_READ)
                self._handle_events(studio, new)
                if len(new) < EVENTS_PER_READ:
                    self.complete = True
                    break
                if time.monotonic() > until:
                    self.read_fraction = self.cursor / max(studio.runs.folder(self.run).size(), 1)
                    break
        return self

    def _handle_events(self, studio: Studio, new: Sequence[Event]) -> None:
        for event in new:
            try:
                if event.kind in READERS:
                    READERS[event.kind](self, event)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue  # not written by us: passed over, as the run does that these events tell of
        if new or self._doctor is None:
            self._doctor = self._doctor or Doctor(studio.runs.get(self.run).spec)
            self.diagnoses = self._doctor.read(new).diagnoses()

    def latest_position(self) -> tuple[float, float]:
        """(step, seconds of training) of the newest point."""
        loss = self.lines["loss"]
        return (loss.step[-1], loss.seconds[-1]) if len(loss) else (0.0, 0.0)

    def _step(self, event: Event) -> None:
        step, seconds = float(event["step"]), float(event.data.get("seconds", 0.0))
        if len(self.lines["loss"]) and step <= self.lines["loss"].step[-1]:
            self._truncate_to(step)
        for name in STEP_METRICS:
            self.lines[name].add(step, seconds, event.data.get(name))
        for name, value in event.data.get("loss_parts", {}).items():
            self.loss_parts.setdefault(name, Line()).add(step, seconds, value)

    def _truncate_to(self, step: float) -> None:
        for lines in (self.lines, self.loss_parts, self.validation, self.device):
            for line in lines.values():
                line.truncate(step)
        self.samples = [sample for sample in self.samples if sample.step < step]

    def _pretraining(self, event: Event) -> None:
        step, loss, validation = float(event["step"]), *self.pretraining.values()
        if "metrics" in event.data:
            validation.add(step, loss.seconds[-1] if len(loss) else 0.0, event["metrics"].get("loss"))
            return
        if len(loss) and step <= loss.step[-1]:
            for line in (loss, validation):
                line.truncate(step)
        loss.add(step, float(event.data.get("seconds", 0.0)), event["loss"])

    def _validation(self, event: Event) -> None:
        seconds = self.latest_position()[1]
        for name, value in event["metrics"].items():
            self.validation.setdefault(name, Line()).add(float(event["step"]), seconds, value)

    def _baseline(self, event: Event) -> None:
        """Where the curves of validation begin."""
        for name, value in event["metrics"].items():
            line = self.validation.setdefault(name, Line())
            if not len(line):
                line.add(0.0, 0.0, value)

    def _device(self, event: Event) -> None:
        step, seconds = self.latest_position()
        for name, value in event["used"].items():
            self.device.setdefault(name, Line()).add(step, float(event.data.get("seconds", seconds)), value)

    def _sample(self, event: Event) -> None:
        self.samples.append(Sample(int(event["step"]), event["inputs"], event["blocks"]))

    def _note(self, event: Event) -> None:
        self.notes.append(event)

    def _phase(self, event: Event) -> None:
        self.phases.append(event)

    def _state(self, event: Event) -> None:
        self.states.append(event)

    def _checkpoint(self, event: Event) -> None:
        self.checkpoints.append(event)


READERS: Mapping[str, Callable[[Curves, Event], None]] = {
    "step": Curves._step,
    "pretraining": Curves._pretraining,
    "validation": Curves._validation,
    "baseline": Curves._baseline,
    "device": Curves._device,
    "sample": Curves._sample,
    "note": Curves._note,
    "phase": Curves._phase,
    "state": Curves._state,
    "checkpoint": Curves._checkpoint,
}


@st.cache_resource(max_entries=32, show_spinner=False)
def cached_curves(home: str, run: str) -> Curves:
    """The curves of a run, shared by all sessions. `home` is part of the name: two homes may know the same run."""
    return Curves(run)


def smooth(values: Sequence[float], weight: float) -> np.ndarray:
    """Exponential moving average, without the pull of its start towards zero (Adam's correction).

    Values that are not finite are passed over and stay as they are.
    """
    result = np.array(values, dtype=float)
    finite = np.isfinite(result)
    if 0 < weight < 1:
        result[finite] = pd.Series(result[finite]).ewm(alpha=1 - weight, adjust=True).mean().to_numpy()
    return result


def downsample(
    x: Sequence[float], y: Sequence[float], points: int = limits.CURVE_POINTS
) -> tuple[np.ndarray, np.ndarray]:
    """At most `points` of the line, chosen so that its peaks stay."""
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)  # copies: a view would forbid the line to grow
    finite = np.isfinite(y)
    x, y = x[finite], y[finite]
    if len(y) <= points:
        return x, y
    from tsdownsample import MinMaxLTTBDownsampler

    kept = MinMaxLTTBDownsampler().downsample(x, y, n_out=points)
    return x[kept], y[kept]
