"""Row 3: a disk that is really full, at any moment of a training: a file system of some megabytes."""

from __future__ import annotations

import ctypes
import os
import random
import re
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import (
    Child,
    apart,
    bury,
    damaged,
    differences,
    finish,
    good,
    home,
    kept,
    launch,
    patched,
    spec,
    steady,
    told,
    work,
)
from bigmodel.core import disk_space
from bigmodel.core.events import FINISHED, INTERRUPTED, RUNNING, Event
from bigmodel.core.words import Words
from bigmodel.runs import worker
from bigmodel.runs.folder import Folder
from bigmodel.training import evaluator

SPEC = spec("cnn", max_steps=16, eval_every=6)
DISK = 24 * 2**20  # bytes
MARGIN = 8 * 2**20  # kept free, instead of 32 MiB
NEWUSER, NEWNS = 0x10000000, 0x00020000
WAYS = ("before a save", "during a save", "during an event", "to the last byte")


def run(trials: int, place: Path) -> Outcome:
    with steady(), patched((evaluator, "CHECKPOINT_SECONDS", -1.0), (disk_space, "MARGIN", MARGIN)):
        whole = launch(home(place / "whole", place / "cache"), SPEC)
        finish(whole)
        reference = told(whole)
        (place / "disk").mkdir()
        told_of = apart(lambda: _on_a_small_disk(trials, place, reference), seconds=60.0 * trials + 60)
    return Outcome(trials, told_of["failures"], told_of["worst"], told_of["note"])


def _on_a_small_disk(trials: int, place: Path, reference: dict) -> dict:
    outcome, chance, asked = Outcome(), random.Random(0), []
    if not _mount(place / "disk"):
        return {
            "failures": ["no file system could be mounted in a user namespace here"],
            "worst": "",
            "note": "not measured",
        }
    for number in range(trials):
        way = WAYS[number % len(WAYS)]
        folder = launch(home(place / "disk" / f"home-{number}", place / "cache"), SPEC)
        asked += _filled(folder, way, chance.randint(2, 14), chance, reference, outcome)
        apart(lambda folder=folder: shutil.rmtree(folder.home))
    worst = f"asked for {min(asked, default=0)} to {max(asked, default=0)} MB"
    note = f"a tmpfs of {DISK // 2**20} MiB in a user namespace, filled in turns {', '.join(WAYS)}"
    return {"failures": outcome.failures, "worst": worst, "note": note}


def _mount(path: Path) -> bool:
    """A tmpfs that only this process and its children see."""
    system = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if system.unshare(NEWUSER | NEWNS):
        return False
    for name, line in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(line)
    return not system.mount(b"tmpfs", os.fsencode(path), b"tmpfs", 0, f"size={DISK}".encode())


def _filled(folder: Folder, way: str, step: int, chance: random.Random, reference: dict, outcome: Outcome) -> list[int]:
    """The disk becomes full after a step; the run says so; with room again it goes on. The megabytes it asked for."""
    where = f"full {way}, after step {step}"
    filler = folder.home / "filler"
    bytes_left = chance.randint(1, 60_000)
    code = Child(lambda _tell: _work(folder, way, step, filler, bytes_left), folder.log_file).wait()
    outcome.expect(code == 0, f"{where}: the worker ended with {code}")
    facts = folder.facts()
    reason = str(Words.from_json(facts["reason"])) if facts["reason"] else ""
    outcome.expect(facts["state"] == INTERRUPTED, f"{where}: the state is {facts['state']} ({facts['error']})")
    megabytes = re.search(r"(\d+) MB are missing", reason)
    outcome.expect(megabytes is not None, f"{where}: it does not say how much is missing: {reason!r}")
    there = good(folder.path)
    outcome.expect(not damaged(folder.path), f"{where}: damaged checkpoints {damaged(folder.path)}")
    outcome.expect(max(there, default=-1) >= kept(folder), f"{where}: the checkpoint of step {kept(folder)} is gone")
    filler.unlink(missing_ok=True)
    if facts["state"] == RUNNING:  # it found no room for its last word
        bury(folder)
    outcome.expect(finish(folder) == FINISHED, f"{where}: after resuming the state is {folder.facts()['state']}")
    for part in differences(reference, told(folder)):
        outcome.fail(f"{where}: {part} differ from the run that never lacked room")
    return [int(megabytes[1])] if megabytes else []


def _work(folder: Folder, way: str, step: int, filler: Path, bytes_left: int) -> None:
    """Train; somebody else fills the disk in the chosen way."""
    real = evaluator.Evaluator._make_room

    def make_room(self):
        if self.step == step and way == "before a save":
            _fill(filler, 0)
        real(self)
        if self.step == step and way == "during a save":  # by somebody else, after we have looked
            _fill(filler, bytes_left)

    with ExitStack() as stack:
        stack.enter_context(patched((evaluator.Evaluator, "_make_room", make_room)))
        if way in ("during an event", "to the last byte"):
            stack.enter_context(_full_at_an_event(folder, step, filler, way))
        work(folder)


def _full_at_an_event(folder: Folder, step: int, filler: Path, way: str) -> AbstractContextManager:
    """Full before a step's event is written; 'to the last byte': the events' own block has no room left either."""
    real: Callable = Event.line

    def line(self: Event) -> bytes:
        if self.kind == "step" and self["step"] >= step and not filler.exists():
            _fill(filler, 0)
            if way == "to the last byte":
                size = folder.events_file.stat().st_size
                with folder.events_file.open("ab") as file:
                    file.write(b" " * (-size % 4096 - 1) + b"\n")
        return real(self)

    return patched((Event, "line", line))


def _fill(filler: Path, bytes_left: int) -> None:
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(file.tell() - bytes_left, 0))


ROW = Row(
    number=3,
    injected="a file system that is really full, before or during a save, at an event, to the last byte",
    promise="the last checkpoint stays good, the run ends as interrupted and says how much is missing, and with room "
    "again it goes on, bit by bit",
    trials=40,
    run=run,
    without={
        "the room kept for the last word": lambda: patched((worker, "RESERVE", 0)),
        "the plain word for a full disk": lambda: patched((disk_space, "was_full", lambda _error: False)),
    },
    fewer=4,
)
