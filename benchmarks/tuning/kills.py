"""The process that works on a study is killed again and again; nothing of the study may be lost or done twice."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks import report
from bigmodel.core import child_process
from bigmodel.studio import LIBRARIES, Studio

TRIALS = 20
LONGEST_WORK = 3.0  # seconds until a kill, at most, once the process has begun to work
POLL_SECONDS = 0.2
PATIENCE = 900.0  # seconds for what is left after the last kill


def measure(kills: int) -> dict:
    """{"kills", "trials", "runs", "faults"}: how often it was killed, and what was wrong in the end."""
    chance = random.Random(0)
    # the process that workers are forked from outlives what is killed, so that each life is long enough for something
    with tempfile.TemporaryDirectory() as temporary, child_process.preloading(LIBRARIES):
        studio = Studio(Path(temporary) / "home")
        settings = {"epochs": 5, "channels": 4, "precision": "fp32", "threads": 1, "device": "cpu"}
        spec = {"task": "image-classification", "architecture": "cnn", "dataset": "digits", "settings": settings}
        space = {"learning_rate": {"low": 1e-4, "high": 0.1}, "dropout": {"low": 0.0, "high": 0.5}}
        id = studio.tuning.create({"spec": spec, "space": space, "search": {"trials": TRIALS}})
        done = 0
        while done < kills and not studio.tuning.get(id).has_ended:
            journal = studio.tuning.folder(id).journal_file
            before, server, until = journal.stat().st_size, _start(studio.home), time.monotonic() + PATIENCE
            while journal.stat().st_size == before and time.monotonic() < until:
                time.sleep(POLL_SECONDS / 10)
            time.sleep(chance.uniform(0.0, LONGEST_WORK))
            server.kill()
            server.wait()
            done += 1
            told = sum(trial.has_ended for trial in studio.tuning.get(id).trials)
            report.progress(f"kill {done}: {told} of {TRIALS} trials have ended")
        server, until = _start(studio.home), time.monotonic() + PATIENCE
        while not studio.tuning.get(id).has_ended and time.monotonic() < until:
            time.sleep(POLL_SECONDS)
        server.kill()
        server.wait()
        return {"kills": done, **_judge(studio, id)}


def _start(home: Path) -> subprocess.Popen:
    environment = os.environ | {"PYTHONPATH": str(report.ROOT), "OMP_NUM_THREADS": "1"}
    with (home / "kills.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "benchmarks.tuning.kills", str(home)], env=environment, stdout=log, stderr=log
        )


def _judge(studio: Studio, id: str) -> dict:
    """What was lost or doubled: every trial has one run of its own, and every value is that of its run."""
    study, faults = studio.tuning.get(id), []
    runs = {run.id: run for run in studio.runs.all()}
    if not study.has_ended:
        faults.append("the study has not come to its end")
    counted = sum(trial.state in ("finished", "pruned") for trial in study.trials)
    if counted != TRIALS:
        faults.append(f"{counted} trials of {TRIALS} came to their end")
    for number, times in Counter(run.spec.study["trial"] for run in runs.values()).items():
        if times > 1:
            faults.append(f"trial {number} has {times} runs")
    if set(runs) != {trial.run for trial in study.trials}:
        faults.append("runs and trials do not belong together")
    for trial in study.trials:
        if trial.run not in runs:
            continue
        _cursor, events = studio.runs.events(trial.run, kinds=("validation",))
        values = [event["metrics"][study.spec.metric.name] for event in events]
        if values and trial.value != max(values):
            faults.append(f"trial {trial.number} says {trial.value}, its run {max(values)}")
        if any(runs[trial.run].spec.settings[name] != value for name, value in trial.settings.items()):
            faults.append(f"trial {trial.number} was trained with other settings")
    states = Counter(trial.state for trial in study.trials)
    return {"trials": dict(states), "runs": len(runs), "faults": faults}


if __name__ == "__main__":
    with Studio(Path(sys.argv[1])).working():
        time.sleep(3600)
