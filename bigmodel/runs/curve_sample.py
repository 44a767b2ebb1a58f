"""The curve of a run in a few hundred points, read from as many places of its events, however long they are."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import events
from bigmodel.core.events import Event

STEP, RARE = b'{"kind":"step"', (b'{"kind":"validation"', b'{"kind":"baseline"')
MAX_LINE = 64 * 2**10  # bytes of a step event: a longer line is none of ours
MAX_RARE = 2_000  # validations that are read, the newest of more


@dataclass
class SampledCurve:
    """points: step, seconds of training, units of work (tokens, pictures) and training loss of every n-th step event.
    validation: name -> (step, value) of each. every: how many steps lie between two points, 1 where all events are there."""

    points: list[tuple[float, float, float, float]] = field(default_factory=list)
    validation: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    every: int = 1


def sample_curve(path: Path, points: int) -> SampledCurve:
    """At most about `points` step events, evenly over the file; empty where nothing has been written. A run that was
    resumed tells steps again: what it told of them before is left out."""
    curve = SampledCurve()
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            _read_steps(curve, data, points)
            for event in _rare_events(data):
                _add_validation(curve, event)
    except (OSError, ValueError):  # not there; an empty file cannot be mapped
        return curve
    return curve


def _read_steps(curve: SampledCurve, data: mmap.mmap, points: int) -> None:
    first = data.find(STEP)
    if first < 0:
        return
    line = data.find(b"\n", first) + 1 - first
    stride = (len(data) - first) / points
    whole = stride <= line  # every event is read
    position, target = first, float(first)
    while position >= 0:
        end = data.find(b"\n", position)
        if end < 0:
            break  # still being written
        _add_step(curve, data[position : min(end, position + MAX_LINE)])
        target = max(target + stride, float(end + 1))
        position = _line_start(data, end + 1 if whole else int(target))
    if not whole and curve.points:
        last = data.rfind(b"\n" + STEP) + 1
        _add_step(curve, data[last : last + MAX_LINE].partition(b"\n")[0])
        curve.every = round((curve.points[-1][0] - curve.points[0][0]) / max(len(curve.points) - 1, 1)) or 1


def _line_start(data: mmap.mmap, target: int) -> int:
    """Of the first step event that begins at `target` or behind it; -1 for none."""
    found = data.find(b"\n" + STEP, target - 1)
    return found + 1 if found >= 0 else -1


def _add_step(curve: SampledCurve, line: bytes) -> None:
    """Read without what `events.parse` makes sure of beside these four: it takes ten times as long. A loss that is no
    number is written by name, and left out as it cannot be drawn."""
    import orjson

    try:
        event = orjson.loads(line)
        step, loss, seconds = event["step"], event["loss"], event.get("seconds", 0.0)
        if not all(isinstance(value, int | float) for value in (step, loss, seconds)):
            return
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):  # damaged: passed over, as by every reader
        return
    while curve.points and curve.points[-1][0] >= step:
        curve.points.pop()
    _step, before, units, _loss = curve.points[-1] if curve.points else (0.0, 0.0, 0.0, 0.0)
    rate = event.get("rate")
    done = units + (rate if isinstance(rate, int | float) else 0.0) * max(seconds - before, 0.0)
    curve.points.append((float(step), float(seconds), done, float(loss)))


def _rare_events(data: mmap.mmap) -> Iterator[Event]:
    for kind in RARE:
        starts, position = [], data.find(kind)
        while position >= 0:
            starts.append(position)
            position = data.find(b"\n" + kind, position)
            position += position >= 0
        for start in starts[-MAX_RARE:]:
            end = data.find(b"\n", start)
            event = _parse(data[start:end]) if end > 0 else None
            if event is not None:
                yield event


def _add_validation(curve: SampledCurve, event: Event) -> None:
    step = float(event.data.get("step", 0))
    for name, value in event["metrics"].items():
        line = curve.validation.setdefault(name, [])
        if value is None:
            continue
        if event.kind == "baseline":
            line.insert(0, (0.0, float(value)))
            continue
        while line and line[-1][0] >= step:
            line.pop()
        line.append((step, float(value)))


def _parse(line: bytes) -> Event | None:
    """None for a line that was damaged: it is passed over, as by every reader."""
    try:
        return events.parse(line)
    except ValueError:
        return None
