"""The desk in front of the model worker: starts it when needed, passes requests in and answers out. No torch."""

from __future__ import annotations

import json
import queue
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import itemgetter
from pathlib import Path
from typing import Generic, TypeVar

from bigmodel.core import blocks, catalog, child_process
from bigmodel.core.blocks import Block
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.data.model_view import BatchView
from bigmodel.data.prepare import head
from bigmodel.training.forecast import Forecast

EXAMPLE_ROWS = 40
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
            home = [str(self.home)] if self.home else []
            self.process = child_process.start("bigmodel.inference.worker", *home, log=self.log, preloaded=True)
            threading.Thread(target=self._listen, args=(self.process,), name="desk", daemon=True).start()
        return self.process

    def _listen(self, process: child_process.Process) -> None:
        for line in process.stdout:
            part = json.loads(line)
            _worker, parts = self.pending.get(part["id"], (None, None))
            if parts is not None:
                parts.put(part)
        what = _("The model's process ended unexpectedly.")
        gone = child_process.death_refusal(what, _("Try again, or a smaller model."))
        with self.lock:  # whoever asks from now on gets a new process; whoever asked before is told
            if self.process is process:
                self.process = None
            for worker, parts in list(self.pending.values()):
                if worker is process:
                    parts.put({"error": gone.to_json()})


class ModelClient(WorkerConnection):
    """The line to the process that answers, and one to a process that forecasts. Shared by all sessions of a server.

    A forecast that has to encode its data first computes for seconds on end; nobody who asks a model waits for that.
    """

    def __init__(self, log: Path | None = None, cache: Path | None = None, home: Path | None = None):
        super().__init__(log, home)
        self.cache = cache  # where models in a quicker form are kept; without one they answer by transformers
        self.forecast_connection = WorkerConnection(log, home)

    def start(self) -> None:
        """Have the workers import their libraries before the first question comes."""
        super().start()
        self.forecast_connection.start()

    def close(self) -> None:
        told = self.disconnect(), self.forecast_connection.disconnect()
        child_process.wait_or_kill(*told, seconds=SHUTDOWN_SECONDS)

    def ask(self, model: Model, inputs: Mapping) -> Reply[Block]:
        """Blocks as they come. Closing the reply stops the work."""
        request = {"do": "ask", "folder": str(model.folder), "task": model.task, "inputs": blocks.pack(inputs)}
        request["cache"] = str(self.cache) if self.cache else ""
        return self.submit(request, lambda part: blocks.from_json(part["block"]))

    def forecast(self, spec: RunSpec, cache: Path) -> Forecast:
        """The figures of a probe; Refusal where the network cannot be built."""
        request = {"do": "forecast", "spec": spec.to_json(), "cache": str(cache)}
        *_before, last = self.forecast_connection.submit(request, itemgetter("figures"))
        return Forecast(**last)

    def batch_view(self, spec: RunSpec, cache: Path, row: int = 0) -> BatchView:
        """What a model sees of a row, or of the first batch; Refusal where the rows cannot be encoded."""
        request = {"do": "seen", "spec": spec.to_json(), "cache": str(cache), "row": row}
        *_before, last = self.forecast_connection.submit(request, itemgetter("seen"))
        return BatchView(**last)

    def count_tokens(self, spec: RunSpec, cache: Path) -> Reply[float | str]:
        """How far the counting is, from 0 to 1, and at last the name that the lengths are kept under."""
        request = {"do": "count", "spec": spec.to_json(), "cache": str(cache)}
        return self.forecast_connection.submit(request, itemgetter("counted"))

    def examples(self, model: Model) -> list[dict]:
        """Inputs to begin with: those a starter brings along, else from rows the model has not been trained on."""
        about = json.loads((model.folder / "bigmodel.json").read_text("utf-8"))
        if about.get("examples"):
            return [blocks.unpack(example) for example in about["examples"]]
        dataset = catalog.find_dataset(model.dataset)
        if dataset is None or not dataset.path().exists():
            return []
        return catalog.task(model.task).examples(head(dataset, "test", EXAMPLE_ROWS), model.settings)
