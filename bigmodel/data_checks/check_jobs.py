"""In front of the processes that look for faults: begins, tells how far they are, ends them. One at a time."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words, _
from bigmodel.data_checks.run_checks import CheckReport, load_report


@dataclass(frozen=True)
class CheckProgress:
    """Someone is at it, or waits for their turn. `share` from 0 to 1."""

    title: Words
    share: float


WAITING = CheckProgress(_("Waiting for another data set to be looked at"), 0.0)


class _Job:
    """One looking, from when it was asked for until it has ended or is not wanted any more."""

    def __init__(self, name: str):
        self.name = name
        self.progress = WAITING
        self.finished = False
        self.process: subprocess.Popen | None = None


class CheckJobs:
    """What is known of each data set, for all sessions of a server."""

    def __init__(self, cache: Path, home: Path, log: Path):
        self.cache, self.home, self.log = cache, home, log
        self._lock = threading.Lock()
        self._jobs: dict[str, _Job] = {}
        self._errors: dict[str, Refusal] = {}
        self._reports: dict[str, tuple[tuple, CheckReport]] = {}  # with the state of the file that it is about
        self._queue: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def state(self, name: str) -> CheckProgress | CheckReport | Refusal | None:
        """At work, or what was found, or why that could not be; None where nobody has asked."""
        with self._lock:
            if name in self._jobs:
                return self._jobs[name].progress
            if name in self._errors:
                return self._errors[name]
        return self._cached_report(name)

    def _cached_report(self, name: str) -> CheckReport | None:
        """Read once for each state of the file: pages ask each second."""
        data = catalog.dataset(name)
        status = data.path().stat()
        state = (data.name, status.st_mtime_ns, status.st_size)
        if name not in self._reports or self._reports[name][0] != state:
            found = load_report(data, self.cache)
            if found is None:
                return None
            self._reports[name] = state, found
        return self._reports[name][1]

    def begin(self, name: str) -> None:
        """Look at a data set, unless someone is at it."""
        catalog.dataset(name)
        with self._lock:
            if name in self._jobs:
                return
            self._errors.pop(name, None)
            self._jobs[name] = _Job(name)
            self._queue.put(self._jobs[name])
            if self._thread is None:
                self._thread = threading.Thread(target=self._run_jobs, name="bigmodel-lint", daemon=True)
                self._thread.start()

    def cancel(self, name: str) -> None:
        """End it, or take it out of the queue. What has been found is forgotten."""
        with self._lock:
            if name in self._jobs:
                self._kill(self._jobs[name])

    def close(self) -> None:
        with self._lock:
            for job in list(self._jobs.values()):
                self._kill(job)

    def _kill(self, job: _Job) -> None:
        job.finished = True
        self._jobs.pop(job.name, None)
        if job.process is not None:
            job.process.kill()

    def _run_jobs(self) -> None:
        while True:
            job = self._queue.get()
            with self._lock:
                if job.finished:  # cancelled while it waited
                    continue
                job.process = self._start(job.name)
            for line in job.process.stdout:
                with self._lock:
                    self._handle_message(job, json.loads(line))
            job.process.wait()
            with self._lock:
                if not job.finished:  # it ended without a word
                    what = _("The process that looked at the rows ended unexpectedly.")
                    self._errors[job.name] = Refusal(what, _("Most often the memory was not enough."), _("Try again."))
                    self._kill(job)

    def _start(self, name: str) -> subprocess.Popen:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "bigmodel.data_checks.check_worker", name, str(self.cache), str(self.home)]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command, cwd=Path(__file__).parents[2], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log
            )

    def _handle_message(self, job: _Job, said: Mapping) -> None:
        if job.finished:  # cancelled
            return
        if "share" in said:
            job.progress = CheckProgress(Words.from_json(said["title"]), said["share"])
            return
        if "error" in said:
            self._errors[job.name] = Refusal.from_json(said["error"])
        job.finished = True
        self._jobs.pop(job.name, None)
