"""A check carried out: its model trained in a fresh process, its baselines beside it, its goal compared."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks.quality import fetched, weights
from benchmarks.quality.baselines import Figures, baselines
from benchmarks.quality.checks import Check
from bigmodel.core import catalog, cpu, events
from bigmodel.core.events import FINISHED, Event

PACKAGES = ("torch", "transformers", "tokenizers", "numpy", "scikit-learn", "sacrebleu")
ROOT = Path(__file__).resolve().parents[2]


class Failed(Exception):
    """The training of a check came to no result; says where the log is."""


def measure(check: Check, home: Path, threads: int, tell: Callable[[Event], None] = lambda event: None) -> dict:
    """The figures of one check, as they stand in figures.json. Its run is left in `home/quality/NAME`."""
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
    happened = _train(folder, home / "cache", threads, tell)
    wall = time.monotonic() - started
    compared = baselines(check)
    result, plan = happened["result"].data, happened["plan"].data
    return {
        "result": {name: round(value, 5) for name, value in result["metrics"].items()},
        "baselines": {name: {key: round(value, 5) for key, value in one.items()} for name, one in compared.items()},
        "goal": goal(check, compared),
        "reached": reached(check, result["metrics"][check.metric], compared, wall),
        "wall_seconds": round(wall, 1),
        "training_seconds": round(happened["step"]["seconds"], 1),
        "steps": happened["step"]["step"],
        "best_step": result["step"],
        "parameters": plan["parameters"],
        "precision": plan["precision"],
        "threads": threads,
        "processor": cpu.cpu_name(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "settings": dict(check.settings),
        "data": catalog.dataset(check.dataset).fingerprint(),
        "date": datetime.now(UTC).date().isoformat(),
    }


def best(check: Check, compared: Figures) -> float:
    """The best baseline by the check's metric."""
    choose = max if check.measured().higher_is_better else min
    return choose(one[check.metric] for one in compared.values())


def reached(check: Check, value: float, compared: Figures, wall: float) -> bool | None:
    """None for a check that has no goal and is there to be looked at."""
    if check.at_least is None and not check.beats_baselines:
        return None
    in_time = check.seconds is None or wall <= check.seconds
    enough = check.at_least is None or value >= check.at_least
    if not check.beats_baselines:
        return in_time and enough
    sign = 1 if check.measured().higher_is_better else -1
    return in_time and enough and sign * value > sign * best(check, compared)


def goal(check: Check, compared: Figures) -> str:
    metric = check.measured()
    parts = []
    if check.at_least is not None:
        parts.append(f"{metric.label} at least {shown(check, check.at_least)}")
    if check.beats_baselines:
        side = "above" if metric.higher_is_better else "below"
        parts.append(f"{metric.label} {side} {shown(check, best(check, compared))}")
    if check.seconds is not None:
        parts.append(f"within {check.seconds:.0f} s")
    return ", ".join(parts)


def shown(check: Check, value: float) -> str:
    if check.measured().percent:
        return f"{100 * value:.1f} %"
    return f"{value:.3f}" if check.metric in ("bits_per_character", "loss") else f"{value:.1f}"


def _train(folder: Path, cache: Path, threads: int, tell: Callable[[Event], None]) -> Mapping[str, Event]:
    """The last event of each kind, all told as they come."""
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-P", "-m", "benchmarks.quality.trial", str(folder), str(cache)]
    last: dict[str, Event] = {}
    offset = 0
    with (folder / "log.txt").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=ROOT)
        try:
            running = True
            while running:
                running = process.poll() is None
                for after, event in list(events.read(folder / "events.jsonl", offset)):
                    offset = after
                    last[event.kind] = event
                    tell(event)
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
