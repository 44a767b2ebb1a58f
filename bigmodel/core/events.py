"""What happens to a run, one JSON line each, and the states a run goes through."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from bigmodel.core.words import Words

QUEUED, STARTING, RUNNING, STOPPING = "queued", "starting", "running", "stopping"
FINISHED, STOPPED, CANCELLED = "finished", "stopped", "cancelled"
FAILED, DIVERGED, INTERRUPTED = "failed", "diverged", "interrupted"

# state -> the states that may follow it
TRANSITIONS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "": frozenset({QUEUED}),
        QUEUED: frozenset({STARTING, CANCELLED, FAILED}),
        STARTING: frozenset({RUNNING, STOPPED, FAILED, INTERRUPTED}),
        RUNNING: frozenset({STOPPING, FINISHED, STOPPED, FAILED, DIVERGED, INTERRUPTED}),
        STOPPING: frozenset({STOPPED, FINISHED, FAILED, INTERRUPTED}),
        INTERRUPTED: frozenset({QUEUED}),
        STOPPED: frozenset({QUEUED}),
        FAILED: frozenset({QUEUED}),
        DIVERGED: frozenset({QUEUED}),
        FINISHED: frozenset({QUEUED}),
        CANCELLED: frozenset({QUEUED}),
    }
)
LIVE = frozenset({STARTING, RUNNING, STOPPING})
RESUMABLE = frozenset({STOPPED, FAILED, INTERRUPTED, CANCELLED})  # what goes on, or begins again, when asked to
ENDED = frozenset({FINISHED, STOPPED, CANCELLED, FAILED, DIVERGED, INTERRUPTED})


@dataclass(frozen=True)
class Event:
    """Something that happened. Kinds and what `data` holds:

    state       state, reason (words), error (a Refusal's JSON, with an id of the traceback in the log), died (true
                when nobody asked for the end), again (how many times it has been resumed by itself)
    resume      step: it goes on from there; what was told of later steps is told again
    plan        steps, epochs, steps_per_epoch, parameters, device, precision, threads, compiled, rows {split: n},
                log_every, unit (words)
    phase       words: what the worker is doing before the first step
    step        step, epoch, loss, learning_rate, gradient_norm, rate (units a second), seconds (in training); update,
                how far the newest update moved the weights as a part of their length; weights, their mean size;
                loss_parts {name: value}, where the loss is made of parts
    pretraining step, steps, epoch of what comes before the first step; loss, learning_rate, rate, seconds; or, now and
                then, metrics {name: value} on the validation split
    device      used {name: value}: memory and use of the device, now and then
    baseline    metrics {name: value} of the base model on the validation split before anything is learnt, seconds
    validation  step, epoch, metrics {name: value}, seconds
    sample      step, inputs (JSON), blocks (JSON)
    checkpoint  step, path (in the run folder), best
    note        words
    result      metrics {name: value} on the test split, step (of the weights that were measured)
    """

    kind: str
    data: Mapping
    time: float = 0.0  # wall clock, seconds since 1970

    def __getitem__(self, key: str) -> Any:
        return self.data[key]

    def line(self) -> bytes:
        """One line of JSON. Numbers that are not finite are written by name, never as null or 0."""
        record = {"kind": self.kind, "time": round(self.time or time.time(), 3)} | _encode_nonfinite(dict(self.data))
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def note_event(words: Words, **more: object) -> Event:
    return Event("note", {"words": words.to_json(), **more})


def phase_event(words: Words) -> Event:
    return Event("phase", {"words": words.to_json()})


def state_event(state: str, reason: Words | None = None, **more: object) -> Event:
    return Event("state", {"state": state, "reason": reason.to_json() if reason else None, **more})


_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _encode_nonfinite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"number": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, Mapping):
        return {key: _encode_nonfinite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_encode_nonfinite(part) for part in value]
    return value


def _decode_nonfinite(record: dict) -> object:
    if len(record) == 1 and record.get("number") in _NONFINITE:
        return _NONFINITE[record["number"]]
    return record


def parse(line: bytes | str) -> Event:
    """The event of one line; ValueError for a line that is not one."""
    record = json.loads(line, object_hook=_decode_nonfinite)
    return Event(record.pop("kind"), time=record.pop("time"), data=record)


def append(path: Path, events: Iterable[Event]) -> None:
    """One `write` for each event, at the end of the file, so that lines of two writers never mix."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        for event in events:
            os.write(file, event.line())
    finally:
        os.close(file)


def read(path: Path, start: int = 0) -> Iterator[tuple[int, Event]]:
    """(offset after the event, event) for each whole line from byte `start`.

    A line still being written waits; a line that is no event (a torn write of a full disk) is passed over.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                start += len(line)
                try:
                    yield start, parse(line)
                except (ValueError, KeyError, AttributeError):
                    continue
    except FileNotFoundError:
        return
