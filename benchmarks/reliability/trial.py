"""A trial lives in a process of its own, forked from one that has the libraries loaded, and may be killed."""

from __future__ import annotations

import gc
import hashlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bigmodel.core.events import INTERRUPTED, QUEUED, STARTING, Event
from bigmodel.core.spec import RunSpec
from bigmodel.runs import worker
from bigmodel.runs.folder import Folder
from bigmodel.runs.store import Store
from bigmodel.training import resume_state

ROWS = 32  # of each split that a trial learns from or is measured on
PATIENCE = 240.0  # seconds; what takes longer hangs
KINDS = {
    "gpt": ("text-generation", "prose_zh"),
    "transformer": ("translation", "en_de"),
    "cnn": ("image-classification", "digits"),
    "vit": ("image-classification", "digits"),
}
SMALL = {
    "width": 32, "attention_heads": 2, "layers": 1, "channels": 4, "block_size": 32, "sentence_length": 32,
    "vocabulary": 1000, "batch_size": 16, "dropout": 0.2, "eval_every": 7, "learning_rate": 0.004, "optimizer": "adam",
    "precision": "fp32", "device": "cpu",
}  # fmt: skip


def spec(architecture: str, **more: object) -> RunSpec:
    """A small run with dropout, trained within a second or two."""
    task, dataset = KINDS[architecture]
    names = {"task": task, "architecture": architecture, "dataset": dataset}
    known = RunSpec.check(names).settings
    settings = {name: value for name, value in (SMALL | more).items() if name in known}
    return RunSpec.check(names | {"settings": settings})


# -- processes ---------------------------------------------------------------------------------------
class Child:
    """A forked process. What it tells comes through a pipe: lines while it works, at last its result."""

    def __init__(self, do: Callable[[Callable[[str], None]], Any], log: Path | None = None):
        reader, writer = os.pipe()
        sys.stdout.flush(), sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(reader)
            _be_the_child(do, writer, log)
        os.close(writer)
        self.reader, self.rest, self.told, self.status = reader, b"", [], None

    def hear(self, seconds: float = PATIENCE) -> str | None:
        """The next line; None when it has ended or nothing came in time."""
        until = time.monotonic() + seconds
        while b"\n" not in self.rest:
            ready, _, _ = select.select([self.reader], [], [], max(until - time.monotonic(), 0))
            data = os.read(self.reader, 65536) if ready else b""
            if not data:
                return None
            self.rest += data
        line, _newline, self.rest = self.rest.partition(b"\n")
        self.told.append(line.decode())
        return self.told[-1]

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Nothing is sent to one that has been waited for: its number may be another's by now."""
        if self.status is None:
            os.kill(self.pid, number)

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it lives."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.status = os.waitstatus_to_exitcode(status) if pid else None
        return self.status

    def wait(self, seconds: float = PATIENCE) -> int | None:
        """Its exit code; None, and dead, where it did not end in time."""
        until = time.monotonic() + seconds
        while self.ended() is None:
            if time.monotonic() > until:
                self.kill()
                os.waitpid(self.pid, 0)
                self.status = -signal.SIGKILL
                return None
            if self.hear(0.02) is None:
                time.sleep(0.005)
        while self.hear(0.0) is not None:
            continue
        os.close(self.reader)
        return self.status

    def result(self) -> Any:
        """What `do` gave back; None when it never came to that."""
        last = json.loads(self.told[-1]) if self.told and self.told[-1].startswith("{") else {}
        return last.get("result")


def _be_the_child(do: Callable, writer: int, log: Path | None) -> None:
    """Never returns."""
    code = 1
    try:
        gc.disable()
        if log is not None:
            file = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.dup2(file, 1), os.dup2(file, 2)
        result = do(lambda line: os.write(writer, line.encode() + b"\n"))
        os.write(writer, json.dumps({"result": result}).encode() + b"\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush(), sys.stderr.flush()
        os._exit(code)


def apart(do: Callable[[], Any], log: Path | None = None, seconds: float = PATIENCE) -> Any:
    """What `do()` gives back in a process of its own; RuntimeError where it fails, dies or hangs."""
    child = Child(lambda _tell: do(), log)
    code = child.wait(seconds)
    if code != 0:
        tail = log.read_text("utf-8", errors="replace")[-2000:] if log is not None and log.exists() else ""
        raise RuntimeError(f"a trial ended with {code}: {tail}")
    return child.result()


# -- patches -----------------------------------------------------------------------------------------
@contextmanager
def patched(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """(object, name, value) ... for a while."""
    with ExitStack() as stack:
        for thing, name, value in changes:
            stack.callback(setattr, thing, name, getattr(thing, name))
            setattr(thing, name, value)
        yield


def steady() -> Any:
    """Nothing that a stopwatch decides: two runs that are compared tell of the same steps in the same precision. Of each
    split the first rows only: what is tried is the moment between two steps, not how long a measurement takes."""
    from bigmodel.core.contracts import Dataset
    from bigmodel.training import compute
    from bigmodel.training.precision import ComputePlan

    pace, all_rows = ComputePlan("fp32", 1, {"fp32, 1": 0.05}), Dataset.rows

    def first_rows(dataset: Dataset) -> Any:
        splits = all_rows(dataset)
        for name, rows in splits.items():
            splits[name] = rows.select(range(min(len(rows), ROWS)))
        return splits

    return patched(
        (Dataset, "rows", first_rows),
        (compute, "probe", lambda *_: pace),
        (compute, "log_every", lambda *_: 2),  # what is not told yet can be lost
    )


# -- runs --------------------------------------------------------------------------------------------
def home(place: Path, cache: Path | None = None) -> Store:
    """A fresh home folder; its encoded data lie in `cache`, shared by all trials of a place."""
    store = Store(place)
    cache = cache or place.parent / "cache"
    cache.mkdir(parents=True, exist_ok=True)
    if not store.cache.exists():
        store.cache.symlink_to(cache)
    return store


def launch(store: Store, what: RunSpec) -> Folder:
    return store.folder(store.launch(what))


def work(folder: Folder) -> int:
    """What the worker's process does, from the moment the supervisor gives it a run; resumes one that ended."""
    state = folder.facts()["state"]
    if state not in (QUEUED, STARTING):
        folder.resume()
        state = QUEUED
    if state == QUEUED:
        folder.append(Event("state", {"state": STARTING, "device": "cpu"}))
    return worker.main([str(folder.path)])


def bury(folder: Folder) -> None:
    """What the supervisor writes when a worker has died."""
    folder.append(Event("state", {"state": INTERRUPTED, "reason": None, "died": True}))


def finish(folder: Folder, seconds: float = PATIENCE) -> str:
    """Let it work to its end in a process of its own; the state it ended in."""
    apart(lambda: work(folder), folder.log_file, seconds)
    return folder.facts()["state"]


def told(folder: Folder) -> dict[str, Any]:
    """What must be the same however often a run has died: all but clocks and speeds; of what was done twice, the
    second telling. With a hash of the weights, every bit of them."""
    found = [event for _offset, event in folder.events()]
    weights = folder.model / "model.safetensors"
    return {
        "steps": {e["step"]: (e["loss"], e["gradient_norm"], e["learning_rate"]) for e in found if e.kind == "step"},
        "validations": {e["step"]: dict(e["metrics"]) for e in found if e.kind == "validation"},
        "samples": {(e["step"], str(e["inputs"])): _untimed(e["blocks"]) for e in found if e.kind == "sample"},
        "results": [dict(e["metrics"]) for e in found if e.kind == "result"][-1:],
        "state": folder.facts()["state"],
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else "",
    }


def _untimed(shown: list[Mapping]) -> list[dict]:
    return [{name: value for name, value in block.items() if name != "seconds"} for block in shown]


def differences(one: Mapping, other: Mapping) -> list[str]:
    """Which parts of two stories are not the same, bit by bit."""
    return [name for name in one if repr(one[name]) != repr(other[name])]


def good(folder: Path) -> list[int]:
    """Steps of the whole checkpoints, newest first."""
    return [step_of(place) for place in resume_state.checkpoint_folders(folder) if resume_state.is_valid(place)]


def damaged(folder: Path) -> list[int]:
    """Steps of what bears a checkpoint's name and is none."""
    return [step_of(place) for place in resume_state.checkpoint_folders(folder) if not resume_state.is_valid(place)]


def step_of(place: Path) -> int:
    return int(place.name.removeprefix("step-"))


def kept(folder: Folder) -> int:
    """The newest step of which the story says that it is kept; -1 before the first."""
    steps = [event["step"] for _offset, event in folder.events() if event.kind == "checkpoint"]
    return steps[-1] if steps else -1


def newest(folder: Folder) -> int:
    """The newest step of which the story tells."""
    steps = [event["step"] for _offset, event in folder.events() if event.kind == "step"]
    return steps[-1] if steps else 0
