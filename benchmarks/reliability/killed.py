"""Row 1: a training process killed at random moments, a third of them in the middle of a save."""

from __future__ import annotations

import math
import random
import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import (  # fmt: skip
    Child,
    bury,
    damaged,
    differences,
    finish,
    good,
    home,
    kept,
    launch,
    newest,
    patched,
    spec,
    steady,
    told,
    work,
)
from bigmodel.runs.folder import Folder
from bigmodel.training import checkpoint, evaluator, resume_state

SPECS = [spec("gpt", max_steps=60), spec("transformer", max_steps=40, accumulation=2), spec("cnn", max_steps=80)]
INTERVAL = 0.05  # seconds between two checkpoints, instead of 30
DEATHS = 5  # of one run, at most, before it is left to finish


def run(trials: int, place: Path) -> Outcome:
    outcome, chance = Outcome(), random.Random(0)
    worst_steps, worst_seconds, in_saves = 0, 0.0, 0
    with steady(), patched((evaluator, "CHECKPOINT_SECONDS", INTERVAL), (evaluator, "CHECKPOINT_SHARE", math.inf)):
        undisturbed: dict[int, tuple[dict, float]] = {}
        number = 0
        while outcome.trials < trials:
            which = number % len(SPECS)
            if which not in undisturbed:
                undisturbed[which] = _undisturbed(place / f"whole-{which}", SPECS[which])
            reference, seconds = undisturbed[which]
            folder = launch(home(place / f"run-{number}", place / "cache"), SPECS[which])
            for _death in range(min(DEATHS, trials - outcome.trials)):
                inside = (outcome.trials + 1) % 3 == 0
                if not _killed(folder, chance, seconds, inside):
                    break
                outcome.trials += 1
                in_saves += inside
                steps, lost = _judge(folder, outcome)
                worst_steps, worst_seconds = max(worst_steps, steps), max(worst_seconds, lost)
                bury(folder)
            else:
                finish(folder)
            for part in differences(reference, told(folder)):
                outcome.fail(f"run {number}: {part} differ from the run that was never killed")
            shutil.rmtree(folder.home)
            number += 1
    outcome.worst = f"{worst_steps} steps computed again, {worst_seconds:.2f} s (checkpoints every {INTERVAL} s)"
    outcome.note = f"{number} runs, {in_saves} kills inside a save; loss curve, samples, metrics and weights compared"
    return outcome


def _undisturbed(path: Path, one) -> tuple[dict, float]:
    """The story of the run that is never killed, and how long it takes."""
    folder = launch(home(path, path.parent / "cache"), one)
    finish(folder)  # encodes the data, so that it is not timed
    again = launch(home(path, path.parent / "cache"), one)
    begun = time.monotonic()
    finish(again)
    return told(again), time.monotonic() - begun


def _killed(folder: Folder, chance: random.Random, seconds: float, inside: bool) -> bool:
    """Whether the kill came before the run had ended by itself."""
    child = Child(lambda tell: _told_of_saves(folder, tell), folder.log_file)
    if inside:
        for _save in range(chance.randint(1, 4)):
            while child.hear() not in ("save", None):
                continue
        time.sleep(chance.uniform(0.0, 0.03))
    else:
        time.sleep(chance.uniform(0.0, seconds))
    child.kill()
    return child.wait() != 0


def _told_of_saves(folder: Folder, tell: Callable[[str], None]) -> int:
    save = checkpoint.save

    def telling(*arguments):
        tell("save")
        return save(*arguments)

    with patched((checkpoint, "save", telling)):
        return work(folder)


def _judge(folder: Folder, outcome: Outcome) -> tuple[int, float]:
    """(steps, seconds) that are lost. What was said to be kept is there, and nothing half bears its name."""
    there = good(folder.path)
    outcome.expect(not damaged(folder.path), f"{folder.id}: damaged checkpoints {damaged(folder.path)}")
    outcome.expect(max(there, default=-1) >= kept(folder), f"{folder.id}: step {kept(folder)} was kept and is gone")
    events = [event for _offset, event in folder.events() if event.kind in ("step", "checkpoint", "resume", "plan")]
    lost: list[float] = []
    for event in events:
        lost = [event.time] if event.kind in ("checkpoint", "resume", "plan") else [*lost, event.time]
    gap = max((after - before for before, after in pairwise(lost)), default=0.0)
    seconds = lost[-1] - lost[0] if lost else 0.0
    outcome.expect_within(seconds, INTERVAL + 2 * gap + 0.01, f"{folder.id}: {seconds:.2f} s of work are lost")
    return max(newest(folder) - max(there, default=0), 0), seconds


ROW = Row(
    number=1,
    injected="SIGKILL at random moments of a training, a third of them inside a save",
    promise="no damaged checkpoint is taken for good, at most one checkpoint interval is computed again, and loss "
    "curve and weights are, bit by bit, those of the run that was never killed",
    trials=200,
    run=run,
    without={
        "the random numbers put back": lambda: patched((resume_state, "load_random", lambda _folder: None)),
        "the optimizer's memory put back": lambda: patched((resume_state, "load_optimizer", lambda *_: None)),
    },
    fewer=5,
)
