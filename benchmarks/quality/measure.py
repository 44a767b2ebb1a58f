"""A check carried out: its model trained in a fresh process, its baselines beside it, its goal compared."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.quality import fetched, weights
from benchmarks.quality.baselines import Figures, baselines
from benchmarks.quality.checks import Check
from bigmodel.core import catalog, events
from bigmodel.core.events import FINISHED, Event

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "sacrebleu")


class Failed(Exception):
    """The training of a check came to no result; says where the log is."""


def measure(check: Check, home: Path, threads: int, on_event: Callable[[Event], None] = lambda event: None) -> dict:
    """The figures of one check, as they are kept. Its run is left in `home/quality/NAME`."""
    fetched.register()
    weights.register()
    fetched.fetch(check.dataset)
    if "base" in check.settings:
        weights.fetch(str(check.settings["base"]))
    weights.forget(check.name)
    folder = home / "quality" / check.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "spec.json").write_text(json.dumps(check.spec().to_json(), ensure_ascii=False, indent=1), "utf-8")
    started = time.monotonic()
    last = _train(folder, home / "cache", threads, on_event)
    wall = time.monotonic() - started
    scores = baselines(check)
    result, plan = last["result"].data, last["plan"].data
    return {
        "result": {name: round(value, 5) for name, value in result["metrics"].items()},
        "baselines": {
            name: {key: round(value, 5) for key, value in metrics.items()} for name, metrics in scores.items()
        },
        "goal": goal(check, scores),
        "reached": reached(check, result["metrics"][check.metric], scores, wall),
        "wall_seconds": round(wall, 1),
        "training_seconds": round(last["step"]["seconds"], 1),
        "steps": last["step"]["step"],
        "best_step": result["step"],
        "parameters": plan["parameters"],
        "precision": plan["precision"],
        "settings": dict(check.settings),
        "data": catalog.dataset(check.dataset).fingerprint(),
        "environment": report.environment(PACKAGES, f"{threads} threads" if threads > 1 else "1 thread"),
    }


def best(check: Check, scores: Figures) -> float:
    """The best baseline by the check's metric."""
    choose = max if check.measured().higher_is_better else min
    return choose(metrics[check.metric] for metrics in scores.values())


def reached(check: Check, value: float, scores: Figures, wall: float) -> bool | None:
    """None for a check that has no goal and is there to be looked at."""
    if check.at_least is None and not check.beats_baselines:
        return None
    in_time = check.seconds is None or wall <= check.seconds
    enough = check.at_least is None or value >= check.at_least
    if not check.beats_baselines:
        return in_time and enough
    sign = 1 if check.measured().higher_is_better else -1
    return in_time and enough and sign * value > sign * best(check, scores)


def goal(check: Check, scores: Figures) -> str:
    metric = check.measured()
    parts = []
    if check.at_least is not None:
        parts.append(f"{metric.label} at least {format_value(check, check.at_least)}")
    if check.beats_baselines:
        side = "above" if metric.higher_is_better else "below"
        parts.append(f"{metric.label} {side} {format_value(check, best(check, scores))}")
    if check.seconds is not None:
        parts.append(f"within {check.seconds:.0f} s")
    return ", ".join(parts)


def format_value(check: Check, value: float) -> str:
    if check.measured().percent:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if check.metric in ("bits_per_character", "loss") else f"{value:.1f}"


def _train(folder: Path, cache: Path, threads: int, on_event: Callable[[Event], None]) -> Mapping[str, Event]:
    """The last event of each kind; all are handed to `on_event` as they come."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(report.ROOT)}
    command = [sys.executable, "-P", "-m", "benchmarks.quality.trial", str(folder), str(cache)]
    last: dict[str, Event] = {}
    offset = 0
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=report.ROOT
        )
        try:
            running = True
            while running:
                running = process.poll() is None
                for after, event in list(events.read(folder / "events.jsonl", offset)):
                    offset = after
                    last[event.kind] = event
                    on_event(event)
                time.sleep(0.05 if running else 0)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    state = last["state"]["state"] if "state" in last else "failed"
    if state != FINISHED or "result" not in last:
        log = (folder / "log.txt").read_text("utf-8", errors="replace").strip()
        raise Failed(f"the training {state}: {log.rpartition(chr(10))[2] or 'it said nothing'} ({folder / 'log.txt'})")
    return last
