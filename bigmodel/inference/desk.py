"""The desk in front of the model worker: starts it when needed, passes requests in and answers out. No torch."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.core import blocks, catalog
from bigmodel.core.blocks import Block
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.data.prepare import head
from bigmodel.training.forecast import Forecast

if TYPE_CHECKING:
    from bigmodel.studio import Model

EXAMPLE_ROWS = 40
LEAVING_SECONDS = 1.0


class Desk:
    """One model worker process, shared by all sessions of a server. Thread-safe."""

    def __init__(self, log: Path | None = None):
        self.log = log
        self.lock = threading.Lock()
        self.process: subprocess.Popen | None = None
        self.answers: dict[str, tuple[subprocess.Popen, queue.Queue]] = {}  # request -> who works on it, what came

    def start(self) -> None:
        """Have the worker import its libraries before the first question comes."""
        with self.lock:
            self._ensure()

    def close(self) -> None:
        with self.lock:
            process, self.process = self.process, None
        if process is None:
            return
        with suppress(OSError):  # it is dead already
            process.stdin.close()
        try:
            process.wait(LEAVING_SECONDS)
        except subprocess.TimeoutExpired:  # in the middle of an answer that nobody waits for any more
            process.kill()
            process.wait()

    def ask(self, model: Model, inputs: Mapping) -> Iterator[Block]:
        """Blocks as they come. Closing the iterator stops the work."""
        request = {"do": "ask", "folder": str(model.folder), "inputs": blocks.pack(inputs)}
        for part in self._talk(request):
            yield blocks.from_json(part["block"])

    def forecast(self, spec: RunSpec, cache: Path) -> Forecast:
        """The figures of a probe; Refusal where the network cannot be built."""
        *_before, last = self._talk({"do": "forecast", "spec": spec.to_json(), "cache": str(cache)})
        return Forecast(**last["figures"])

    def examples(self, model: Model) -> list[dict]:
        """Inputs to begin with: those a starter brings along, else from rows the model has not been trained on."""
        about = json.loads((model.folder / "bigmodel.json").read_text("utf-8"))
        if "examples" in about:
            return [blocks.unpack(example) for example in about["examples"]]
        dataset = catalog.datasets().get(model.dataset)
        if dataset is None or not dataset.path().exists():
            return []
        return catalog.task(model.task).examples(head(dataset, "test", EXAMPLE_ROWS), model.settings)

    def _talk(self, request: dict) -> Iterator[dict]:
        name, parts = uuid.uuid4().hex, queue.Queue()
        with self.lock:
            process = self._ensure()
            self.answers[name] = process, parts
            self._send(process, {"id": name} | request)
        finished = False
        try:
            while True:
                part = parts.get()
                if "error" in part or "done" in part:
                    finished = True
                if "error" in part:
                    raise Refusal.from_json(part["error"])
                if "done" in part:
                    return
                yield part
        finally:
            self.answers.pop(name, None)
            if not finished:
                with self.lock:
                    if self.process is process and process.poll() is None:
                        self._send(process, {"id": name, "do": "cancel"})

    def _ensure(self) -> subprocess.Popen:
        """The worker, started anew where there is none or it has died."""
        if self.process is None or self.process.poll() is not None:
            errors = self.log.open("ab") if self.log else subprocess.DEVNULL
            self.process = subprocess.Popen(
                [sys.executable, "-m", "bigmodel.inference.worker"],
                cwd=Path(__file__).parents[2],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            if self.log:
                errors.close()
            threading.Thread(target=self._listen, args=(self.process,), name="desk", daemon=True).start()
        return self.process

    def _send(self, process: subprocess.Popen, request: dict) -> None:
        with suppress(OSError):  # it has just died: the listener will tell everyone who waits
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()

    def _listen(self, process: subprocess.Popen) -> None:
        for line in process.stdout:
            part = json.loads(line)
            _worker, waiting = self.answers.get(part["id"], (None, None))
            if waiting is not None:
                waiting.put(part)
        what = _("The model's process ended unexpectedly.")
        gone = Refusal(what, _("Most often the memory was not enough."), _("Try again, or a smaller model."))
        with self.lock:  # whoever asks from now on gets a new process; whoever asked before is told
            if self.process is process:
                self.process = None
            for worker, waiting in list(self.answers.values()):
                if worker is process:
                    waiting.put({"error": gone.to_json()})
