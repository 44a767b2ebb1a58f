"""Our side of every comparison of training: the real loop, driven by a spec, its speed read off its events."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path

from benchmarks.speed import rows
from bigmodel.core import catalog, events
from bigmodel.core.events import Event
from bigmodel.core.spec import RunSpec
from bigmodel.data.prepare import Prepared, prepare
from bigmodel.studio import home

OURS = "benchmarks.speed.training:ours"
ENDLESS = {"epochs": 10_000, "max_steps": 0, "eval_every": 1_000_000}  # ended from outside, before any validation


def spec_of(task: str, architecture: str, dataset: str, device: str = "cpu", **settings: object) -> RunSpec:
    """A run without end, with these settings in the place of the defaults."""
    rows.register()
    given = {**ENDLESS, "schedule": "constant", "warmup": 0.0, "device": device, **settings}
    return RunSpec.check({"task": task, "architecture": architecture, "dataset": dataset, "settings": given})


def spec_from(data: Mapping) -> RunSpec:
    rows.register()
    return RunSpec.check(data)


def cache() -> Path:
    return home() / "cache"


def prepared(spec: RunSpec) -> Prepared:
    """The same arrays that our loop is fed with, for the peers."""
    return prepare(spec.resolve(), cache())


def fresh_model(spec: RunSpec, data: Prepared):
    """The network with the very weights that our loop begins with, on the CPU."""
    import torch

    torch.manual_seed(spec.settings["seed"])
    return catalog.architecture(spec.architecture).model(data.facts, spec.settings).train()


def ours(spec: Mapping, steps: int, warm: int) -> Callable[[], dict]:
    """Measures `steps` steps of the loop after `warm` others."""
    asked = spec_from(spec)
    prepared(asked)  # encoding is measured elsewhere

    def measure() -> dict:
        happened = run(asked, warm + steps)
        let_go(asked.settings["device"])
        return speed([one for one in happened if one.kind == "step"], warm) | plan(happened)

    return measure


def let_go(device: str) -> None:
    """Give the GPU's memory back: the sides of a comparison live side by side on it."""
    import gc

    import torch

    if device.startswith("cuda"):
        gc.collect()
        torch.cuda.empty_cache()


def run(spec: RunSpec, steps: int) -> list[Event]:
    """The events of a run up to that many steps, each written down as a worker does it."""
    from bigmodel.training.loop import train

    happened = []
    with tempfile.TemporaryDirectory() as place, closing(train(spec, Path(place), lambda: False, cache())) as going:
        for event in going:
            events.append(Path(place) / "events.jsonl", [event])
            happened.append(event)
            if event.kind == "step" and event["step"] >= steps:
                return happened
    return happened


def speed(points: Sequence[Event], warm: int) -> dict:
    """Units a second from the first event at or after step `warm` on."""
    counted = [point for point in points if point["step"] >= warm]
    seconds = counted[-1]["seconds"] - counted[0]["seconds"]
    units = sum(one["rate"] * (one["seconds"] - before["seconds"]) for before, one in pairwise(counted))
    return {"rate": units / seconds, "step_seconds": seconds / (counted[-1]["step"] - counted[0]["step"])}


def plan(happened: Sequence[Event]) -> dict:
    """How the loop chose to compute."""
    chosen = next(one for one in happened if one.kind == "plan")
    return {name: chosen[name] for name in ("parameters", "precision", "threads")}
