"""A pruned search beside the full grid over the same ranges: the best that each finds, and the steps it takes for it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.report import progress
from bigmodel.core.events import FINISHED, QUEUED, RUNNING, STARTING, Event
from bigmodel.studio import Studio
from bigmodel.tuning.study import StudyFolder
from bigmodel.tuning.tuner import Advance

SHARE = 0.3  # of the grid's steps that the search may take
MARGIN = 22  # steps: two epochs, which a trial may go on until it hears that the search is over
LOSS = 0.01  # of the best accuracy that it may give away
SPACE = {
    "learning_rate": {"low": 1e-4, "high": 0.1},
    "channels": {"low": 4, "high": 16},
    "dropout": {"low": 0.0, "high": 0.5},
    "weight_decay": {"low": 0.0, "high": 0.2},
}
# what the grid holds of these ranges: 32 combinations
GRID = {
    "learning_rate": {"options": [1e-4, 1e-3, 1e-2, 0.1]},
    "channels": {"options": [4, 16]},
    "dropout": {"options": [0.0, 0.4]},
    "weight_decay": {"options": [0.0, 0.2]},
}
SETTINGS = {
    "epochs": 6,
    "batch_size": 128,
    "stages": 2,
    "precision": "fp32",
    "threads": 1,
    "device": "cpu",
    "compile": "off",
}


def measure(seed: int, cache: Path) -> dict:
    """The figures of one seed, which training and search share."""
    begun = time.monotonic()
    grid = _search(seed, cache, GRID, {"sampler": "grid", "trials": 0, "pruner": "none"})
    limit = int(SHARE * grid["steps"]) - MARGIN
    pruned = _search(seed, cache, SPACE, {"sampler": "tpe", "pruner": "hyperband", "trials": 0, "steps": limit})
    return {
        "seed": seed,
        "grid": grid,
        "pruned": pruned,
        "lost": grid["best"] - pruned["best"],
        "share": pruned["steps"] / grid["steps"],
        "seconds": time.monotonic() - begun,
    }


def _search(seed: int, cache: Path, space: dict, search: dict) -> dict:
    """A study from its first trial to its last, its runs trained in this process one after the other."""
    with tempfile.TemporaryDirectory() as temporary:
        studio = Studio(Path(temporary))
        spec = {"task": "image-classification", "architecture": "cnn", "dataset": "digits", "settings": SETTINGS | {"seed": seed}}  # fmt: skip
        id = studio.tuning.create({"spec": spec, "space": space, "search": search | {"seed": seed}})
        folder = StudyFolder(studio.tuning.folder(id).path)
        while Advance(folder, studio.runs).run():
            for run in studio.runs.all(states=(QUEUED,)):
                train_here(studio, run.id, cache, lambda: Advance(folder, studio.runs).run())
        study = studio.tuning.get(id)
        best = study.best
        states = [trial.state for trial in study.trials]
        assert best is not None
        return {
            "best": best.value,
            "test": studio.runs.get(best.run).result.get(study.spec.metric.name),
            "settings": dict(best.settings),
            "steps": study.steps,
            "trials": len(states),
            "pruned": states.count("pruned"),
        }


def train_here(studio: Studio, id: str, cache: Path, validated: Callable[[], object]) -> None:
    """Train a run as its worker would, and call `validated` after each validation."""
    from bigmodel.training.loop import train

    folder = studio.runs.folder(id)
    for state in (STARTING, RUNNING):
        folder.append(Event("state", {"state": state}))
    events: Iterator[Event] = train(folder.spec(), folder.path, folder.stop_requested, cache, "cpu")
    for event in events:
        folder.append(event)
        if event.kind == "validation":
            validated()
    state = studio.runs.get(id).state
    if state != FINISHED and not folder.stop_requested():
        progress(f"{id}: {state}")
