"""The line to a worker of its own for a model from outside: what it breaks, fills or blocks is nobody else's answer.

Its memory is bounded, and a watchdog ends it where an answer makes no headway or a cancelled one does not stop: what loops
or panics inside a tokenizer cannot be interrupted from Python.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from pathlib import Path

import psutil

from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.inference.connection import Reply, WorkerConnection

MEMORY_BASE_BYTES = 4 * 2**30  # beside what the model itself takes
MEMORY_FACTOR = 8  # times the bytes of the folder: weights in fp16 that are computed with in fp32, gradients, Adam
MEMORY_SHARE = 0.75  # of all memory of this machine at most
SILENCE_SECONDS = 300.0  # without a part of an answer; loading a large model from a slow disk is shorter
CANCEL_SECONDS = 15.0  # until a cancelled answer has stopped
POLL_SECONDS = 0.5
MAX_WORKERS = 3  # at a time; the one that was asked least recently leaves


class IsolatedConnection(WorkerConnection):
    """`folder`: of the one model that its worker opens."""

    def __init__(self, folder: Path, log: Path | None = None, home: Path | None = None):
        super().__init__(log, home)
        self.folder = folder
        self._waiting: dict[str, float] = {}  # request -> when its last part came
        self._cancelled: dict[str, float] = {}  # request -> when it was cancelled
        self._reason: Words | None = None  # why the watchdog has ended the worker

    def worker_options(self) -> dict[str, object]:
        return super().worker_options() | {"memory": memory_limit(self.folder)}

    def send(self, reply: Reply) -> None:
        with self.lock:
            self._waiting[reply.id] = time.monotonic()
            before = self.process
            super().send(reply)
            if self.process is not None and self.process is not before:
                self._reason = None
                threading.Thread(target=self._watch, args=(self.process,), name="watchdog", daemon=True).start()

    def remove_pending(self, reply: Reply) -> child_process.Process | None:
        self._waiting.pop(reply.id, None)
        return super().remove_pending(reply)

    def cancel(self, reply: Reply) -> None:
        with self.lock:
            self._cancelled[reply.id] = time.monotonic()
            super().cancel(reply)

    def on_part(self, part: dict) -> None:
        if part["id"] in self._waiting:
            self._waiting[part["id"]] = time.monotonic()
        if part.get("done") or "error" in part:
            self._cancelled.pop(part["id"], None)

    def death_refusal(self, process: child_process.Process) -> Refusal:
        code, what = process.wait(), _("The process of this model was ended.")
        do = _("Ask something else, or another model. Other people's answers were not touched.")
        if self._reason is not None:
            return Refusal(what, self._reason, do)
        if child_process.died_of_memory(code, self.log, self.log_start):
            limit = f"{memory_limit(self.folder) / 2**30:.1f} GB"
            return Refusal(what, _("It wanted more than the {limit} of memory that it may have.", limit=limit), do)
        if code < 0:
            return Refusal(what, _("It crashed inside a library (signal {signal}).", signal=-code), do)
        return Refusal(what, _("The log has the details."), do)

    def _watch(self, process: child_process.Process) -> None:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            now = time.monotonic()
            with self.lock:
                silent = any(now - since > SILENCE_SECONDS for since in self._waiting.values())
                stuck = any(now - since > CANCEL_SECONDS for since in self._cancelled.values())
                if not silent and not stuck:
                    continue
                self._reason = _("It had said nothing for {seconds} seconds.", seconds=round(SILENCE_SECONDS))
                if stuck:
                    self._reason = _("An answer that was cancelled did not stop.")
                process.kill()
        with self.lock:
            self._cancelled.clear()


class IsolatedWorkers:
    """A line for each model from outside that was asked lately."""

    def __init__(self, log: Path | None = None, home: Path | None = None):
        self._log, self._home = log, home
        self._lines: OrderedDict[Path, IsolatedConnection] = OrderedDict()
        self._mutex = threading.Lock()

    def get(self, folder: Path) -> IsolatedConnection:
        with self._mutex:
            line = self._lines.pop(folder, None) or IsolatedConnection(folder, self._log, self._home)
            idle = [other for other, its_line in self._lines.items() if not its_line.pending]
            for other in idle[: max(len(self._lines) + 1 - MAX_WORKERS, 0)]:
                self._lines.pop(other).disconnect()
            self._lines[folder] = line
            return line

    def disconnect(self) -> list[child_process.Process]:
        """Tell all of them to leave; those that were told."""
        with self._mutex:
            told = [line.disconnect() for line in self._lines.values()]
            self._lines.clear()
        return [process for process in told if process is not None]


def memory_limit(folder: Path) -> int:
    """Bytes that a model in a folder may take."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return min(MEMORY_BASE_BYTES + MEMORY_FACTOR * size, int(MEMORY_SHARE * psutil.virtual_memory().total))
