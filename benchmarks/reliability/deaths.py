"""Row 7: a training process that dies in every way a process dies, and what the supervisor makes of it."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import (
    PATIENCE,
    Child,
    damaged,
    differences,
    good,
    home,
    kept,
    launch,
    patched,
    spec,
    steady,
    told,
)
from bigmodel.core.errors import Refusal
from bigmodel.core.events import FAILED, FINISHED, INTERRUPTED, Event
from bigmodel.core.words import Words
from bigmodel.runs import supervisor as supervisors
from bigmodel.runs import worker
from bigmodel.runs.executors import local
from bigmodel.runs.folder import Folder
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor
from bigmodel.training import evaluator, out_of_memory, resume

SPEC = spec("cnn", max_steps=12, eval_every=5)
FLOOD = 100 * 2**20  # bytes of output


# -- ways to die -------------------------------------------------------------------------------------
def _read_past_the_end() -> None:
    """SIGBUS: a file that is mapped into memory, as encoded data are, has become shorter."""
    path = Path(f"/proc/self/fd/{os.memfd_create('short')}")
    with path.open("r+b") as file:
        file.write(bytes(2**16))
        file.flush()
        mapped = mmap.mmap(file.fileno(), 2**16)
        file.truncate(0)
        print(mapped[2**15])


def _raise() -> None:
    raise ValueError("a bug, made on purpose")


def _use_up_the_memory() -> None:
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, used + 2**28))
    kept_alive = []
    while True:
        kept_alive.append(bytearray(2**26))


def _flood() -> None:
    line = b"the same line again and again " * 30 + b"\n"
    block = line * (2**20 // len(line))
    for _megabyte in range(FLOOD // len(block)):
        os.write(1, block)
    os._exit(7)


# way -> how the process dies, the words that a person reads
WAYS: dict[str, tuple[Callable[[], object], str]] = {
    "SIGKILL": (lambda: os.kill(os.getpid(), signal.SIGKILL), "killed from outside"),
    "SIGTERM": (lambda: os.kill(os.getpid(), signal.SIGTERM), "The system ended the training process"),
    "SIGSEGV": (lambda: ctypes.string_at(0), "crashed inside a library"),
    "abort": (os.abort, "crashed inside a library"),
    "SIGBUS": (_read_past_the_end, "crashed inside a library"),
    "os._exit": (lambda: os._exit(3), "without a word (exit code 3)"),
    "an exception": (_raise, "in bigmodel itself (ValueError)"),
    "a memory limit": (_use_up_the_memory, "memory was used up"),
    "a flood of output": (_flood, "without a word (exit code 7)"),
}


class Forked:
    """An executor whose workers are forked from here, with the libraries loaded; `dies` says how the next one ends."""

    def __init__(self) -> None:
        self.dies: tuple[str, int] | None = None
        self.child: Child | None = None

    def start(self, folder: Path) -> Forked:
        dies, self.dies = self.dies, None
        self.child = Child(lambda _tell: sys.exit(_worker(folder, dies)), folder / "log.txt")
        return self

    def exit_reason(self) -> Words | None:
        code = self.child.ended()
        return None if code is None else local.cause(code)


def _worker(folder: Path, dies: tuple[str, int] | None) -> int:
    """The worker's own main; after a step it dies as asked."""
    os.setsid()
    if dies is None:
        return worker.main([str(folder)])
    way, step = dies
    real = evaluator.Evaluator.due

    def due(self: evaluator.Evaluator) -> bool:
        if self.step == step:
            WAYS[way][0]()
        return real(self)

    with patched((evaluator.Evaluator, "due", due)):
        return worker.main([str(folder)])


# -- the trials --------------------------------------------------------------------------------------
def run(trials: int, place: Path) -> Outcome:
    """`trials`: of each way to die."""
    outcome, slowest = Outcome(), 0.0
    quick = patched((supervisors, "RETRY_DELAYS", (0.05, 0.05, 0.05)), (evaluator, "CHECKPOINT_SECONDS", -1.0))
    with steady(), quick:
        store = home(place / "home", place / "cache")
        executor = Forked()
        boss = Supervisor(store, executor)
        reference = _lived(boss, store, None, executor)
        for way in WAYS:
            for number in range(trials):
                slowest = max(slowest, _died(boss, store, executor, way, 3 + number % 7, reference, outcome))
        boss.close()
    outcome.worst = f"{slowest:.2f} s from a death to its words"
    outcome.note = f"ways: {', '.join(WAYS)}; {trials} times each; the flood is {FLOOD // 2**20} MiB"
    return outcome


def _lived(boss: Supervisor, store: Store, dies: tuple[str, int] | None, executor: Forked) -> dict:
    executor.dies = dies
    folder = launch(store, SPEC)
    _until(boss, folder, FINISHED, FAILED)
    return told(folder)


def _until(boss: Supervisor, folder: Folder, *states: str) -> bool:
    """Whether a state came within the time; the supervisor works meanwhile, and an error of it is not caught."""
    until = time.monotonic() + PATIENCE
    while time.monotonic() < until:
        boss.tick()
        if folder.facts()["state"] in states:
            return True
        time.sleep(0.01)
    return False


def _died(
    boss: Supervisor, store: Store, executor: Forked, way: str, step: int, reference: dict, outcome: Outcome
) -> float:
    """Seconds from the death to the words."""
    where = f"{way} after step {step}"
    outcome.trials += 1
    executor.dies = (way, step)
    folder = launch(store, SPEC)
    if not outcome.expect(_until(boss, folder, INTERRUPTED, FAILED), f"{where}: it is not noticed"):
        return PATIENCE
    states = [event for _at, event in folder.events() if event.kind == "state"]
    last = [event for _at, event in folder.events() if event.kind != "state"][-1]
    end = next(event for event in states if event["state"] in (INTERRUPTED, FAILED))
    said = _said(end)
    outcome.expect(WAYS[way][1] in said, f"{where}: it is said as {said!r}")
    outcome.expect("Traceback" not in said and "Error:" not in said, f"{where}: a traceback is shown")
    outcome.expect(not damaged(folder.path), f"{where}: damaged checkpoints {damaged(folder.path)}")
    outcome.expect(max(good(folder.path), default=-1) >= kept(folder), f"{where}: what was kept is gone")
    outcome.expect(len(folder.log()) <= 2**17, f"{where}: {len(folder.log())} characters of log are shown")
    before = kept(folder)
    if folder.facts()["state"] == FAILED:
        folder.resume()
    ended = _until(boss, folder, FINISHED)
    if outcome.expect(
        ended, f"{where}: resumed, it is {folder.facts()['state']}: {folder.facts()['error']} {folder.log()[-1500:]}"
    ):
        for part in differences(reference, told(folder)):
            outcome.fail(f"{where}: {part} differ from the run that did not die")
        resumed = [event["step"] for _at, event in folder.events() if event.kind == "resume"]
        outcome.expect(resumed == [before], f"{where}: it went on from {resumed}, not from step {before}")
    return max(end.time - last.time, 0.0)


def _said(end: Event) -> str:
    if end.data.get("error"):
        return Refusal.from_json(end["error"]).say("en")
    return str(Words.from_json(end["reason"])) if end.data.get("reason") else ""


ROW = Row(
    number=7,
    injected="a training process that dies of: " + ", ".join(WAYS),
    promise="the supervisor lives on, the cause is said in plain words, the run goes on, by itself or when asked to, "
    "and becomes the one that did not die",
    trials=5,
    run=run,
    without={
        "the words for an exit": lambda: patched((local, "cause", lambda _code: Words("Something happened."))),
        "the words for memory": lambda: patched(
            (out_of_memory, "is_out_of_memory", lambda _error: False), (worker, "_as_refusal", _no_words)
        ),
        "the way back to a checkpoint": lambda: patched((resume, "restore", _begins_anew)),
    },
    fewer=1,
    each=len(WAYS),
)


def _no_words(bug: Exception, id: str) -> Refusal:
    return Refusal(str(bug))


def _begins_anew(*_arguments: object):
    yield from ()
    return {}
