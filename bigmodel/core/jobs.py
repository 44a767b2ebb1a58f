"""Jobs: work in a background thread, with its state, progress, cancellation, and result or error."""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar, cast

from bigmodel.core.errors import Refusal

QUEUED, RUNNING, DONE, FAILED, CANCELLED = "queued", "running", "done", "failed", "cancelled"
WAIT_SECONDS = 0.2  # between two looks at the progress of a job that somebody waits for

T = TypeVar("T")
log = logging.getLogger("bigmodel.jobs")


class Cancelled(BaseException):
    """Nobody wants this work any more. No failure: code that catches every Exception as one must not catch it."""


class Job(Generic[T]):
    """One piece of work. Anybody may look at `state`, `progress`, `result` and `error`, from any thread.

    state: RUNNING, in a JobQueue QUEUED before that; then DONE, FAILED or CANCELLED.  progress: whatever the work says of
    itself.  error: why it failed, or Cancelled.
    """

    def __init__(self) -> None:
        self.id = secrets.token_hex(6)
        self.state = RUNNING
        self.progress: dict = {}
        self.result: T | None = None
        self.error: BaseException | None = None
        self.started_at = time.monotonic()
        self.stop, self.finished = threading.Event(), threading.Event()
        self._lock = threading.Lock()

    def start(self, work: Callable[[], T], name: str = "bigmodel-job") -> Job[T]:
        """Begin, in a daemon thread: a server that is told to stop waits for no job."""
        threading.Thread(target=self.run, args=(work,), name=name, daemon=True).start()
        return self

    def run(self, work: Callable[[], T]) -> None:
        """Do the work in this thread."""
        try:
            self.result = work()
            self.end(DONE)
        except Cancelled as cancelled:
            self.end(CANCELLED, cancelled)
        except BaseException as error:  # kept for whoever waits for the job
            self.end(FAILED, self.explain(error))

    def dequeue(self) -> bool:
        """Its turn has come; False where it was cancelled while it was queued."""
        with self._lock:
            if self.state == QUEUED:
                self.state, self.started_at = RUNNING, time.monotonic()
            return self.state == RUNNING

    def explain(self, error: BaseException) -> BaseException:
        """What is kept of an error. A bug is kept as it is, and the log has the traceback."""
        if not isinstance(error, Refusal):
            log.error("a job failed", exc_info=error)
        return error

    def end(self, state: str, error: BaseException | None = None) -> None:
        """The first end is the one that counts."""
        with self._lock:
            if self.running:
                self.error, self.state = error, state
        self.finished.set()

    def cancel(self) -> None:
        """Ask the work to end: it looks at `stop`. A job that still waits for its turn never begins."""
        self.stop.set()
        with self._lock:
            if self.state == QUEUED:
                self.error, self.state = Cancelled(), CANCELLED
                self.finished.set()

    @property
    def running(self) -> bool:
        return self.state in (QUEUED, RUNNING)

    @property
    def refusal(self) -> Refusal | None:
        return self.error if isinstance(self.error, Refusal) else None

    def wait(self, look: Callable[[], None] = lambda: None) -> T:
        """The result, or what went wrong is raised; `look` is called now and then until then."""
        while not self.finished.wait(WAIT_SECONDS):
            look()
        return self.outcome()

    def outcome(self) -> T:
        """The result of a job that has ended; what went wrong is raised."""
        if self.error is not None:
            raise self.error
        return cast(T, self.result)  # set, since there was no error


class JobQueue:
    """Jobs that are done one at a time, in the order in which they come, by one daemon thread."""

    def __init__(self, name: str):
        self.name = name
        self._waiting: queue.SimpleQueue[tuple[Job, Callable]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def put(self, job: Job[T], work: Callable[[], T]) -> Job[T]:
        job.state = QUEUED
        self._waiting.put((job, work))
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
                self._thread.start()
        return job

    def _run(self) -> None:
        while True:
            job, work = self._waiting.get()
            if job.dequeue():
                job.run(work)
