"""The line to a model worker: started when it is needed, requests in, parts of answers out. No torch."""

from __future__ import annotations

import json
import queue
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

SHUTDOWN_SECONDS = 1.0  # in which workers leave; later they are in the middle of an answer that nobody waits for

T = TypeVar("T")


class Reply(Generic[T]):
    """What a worker says to a request, as it comes. `close` ends it at once, from whatever thread and whether or not
    somebody is waiting for the next part, and tells the worker that nobody wants the rest."""

    def __init__(self, line: WorkerConnection, request: dict, read: Callable[[dict], T]):
        self.connection, self.request, self.read = line, request, read
        self.id = uuid.uuid4().hex
        self.parts: queue.SimpleQueue[dict] = queue.SimpleQueue()
        self.started = self.finished = False

    def __iter__(self) -> Reply[T]:
        return self

    def __next__(self) -> T:
        if not self.started:
            self.started = True
            self.connection.send(self)
        if self.finished:
            raise StopIteration
        part = self.parts.get()
        if "error" in part or "done" in part:
            self.finished = True
            self.connection.remove_pending(self)
        if "error" in part:
            raise Refusal.from_json(part["error"])
        if "done" in part:
            raise StopIteration
        return self.read(part)

    def close(self) -> None:
        if not self.finished:
            self.finished = True
            self.connection.cancel(self)
            self.parts.put({"done": True})

    def __del__(self) -> None:
        self.close()


class WorkerConnection:
    """The line to one worker process, started when it is needed. Thread-safe."""

    def __init__(self, log: Path | None = None, home: Path | None = None):
        self.log, self.home = log, home
        self.lock = threading.RLock()  # what is closed when it is dropped may be dropped by whoever holds it
        self.process: child_process.Process | None = None
        self.log_start = 0  # where what the process logs begins
        self.pending: dict[
            str, tuple[child_process.Process, queue.SimpleQueue]
        ] = {}  # request -> who works on it, what came

    def start(self) -> None:
        with self.lock:
            self._ensure()

    def close(self) -> None:
        child_process.wait_or_kill(self.disconnect(), seconds=SHUTDOWN_SECONDS)

    def disconnect(self) -> child_process.Process | None:
        """Tell the worker to leave; the one that was told."""
        with self.lock:
            process, self.process = self.process, None
        if process is not None:
            with suppress(OSError):  # it is dead already
                process.stdin.close()
        return process

    def submit(self, request: dict, read: Callable[[dict], T]) -> Reply[T]:
        """`read` makes of each part what the asker wants to have."""
        return Reply(self, request, read)

    def send(self, reply: Reply) -> None:
        """Have a worker begin with it, unless it has been closed before."""
        with self.lock:
            if reply.finished:
                return
            process = self._ensure()
            self.pending[reply.id] = process, reply.parts
            child_process.send(process, {"id": reply.id} | reply.request)

    def remove_pending(self, reply: Reply) -> child_process.Process | None:
        """Who was working on it."""
        process, _parts = self.pending.pop(reply.id, (None, None))
        return process

    def cancel(self, reply: Reply) -> None:
        with self.lock:
            process = self.remove_pending(reply)
            if process is not None and self.process is process and process.poll() is None:
                child_process.send(process, {"id": reply.id, "do": "cancel"})

    def _ensure(self) -> child_process.Process:
        """The worker, started anew where there is none or it has died."""
        if self.process is None or self.process.poll() is not None:
            options = [f"--{name}={value}" for name, value in self.worker_options().items()]
            self.log_start = child_process.log_size(self.log)
            self.process = child_process.start("bigmodel.inference.worker", *options, log=self.log, preloaded=True)
            threading.Thread(target=self._listen, args=(self.process,), name="desk", daemon=True).start()
        return self.process

    def worker_options(self) -> dict[str, object]:
        """Of its command line."""
        return {"home": self.home} if self.home else {}

    def death_refusal(self, process: child_process.Process) -> Refusal:
        """Why a worker has ended without a word."""
        what = _("The model's process ended unexpectedly.")
        return child_process.death_refusal(what, _("Try again, or a smaller model."))

    def on_part(self, part: dict) -> None:
        """Called with each part that a worker says."""

    def _listen(self, process: child_process.Process) -> None:
        for line in process.stdout:
            part = json.loads(line)
            self.on_part(part)
            _worker, parts = self.pending.get(part["id"], (None, None))
            if parts is not None:
                parts.put(part)
        gone = self.death_refusal(process)
        with self.lock:  # whoever asks from now on gets a new process; whoever asked before is told
            if self.process is process:
                self.process = None
            for worker, parts in list(self.pending.values()):
                if worker is process:
                    parts.put({"error": gone.to_json()})
