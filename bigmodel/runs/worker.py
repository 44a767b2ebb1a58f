"""The process that trains one run: `python -m bigmodel.runs.worker FOLDER`.

It holds the lock of the run's folder for as long as it lives, which is how everybody knows that it does.
"""

from __future__ import annotations

import errno
import os
import secrets
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core import disk_space
from bigmodel.core.child_process import exit_process
from bigmodel.core.errors import Refusal
from bigmodel.core.events import ENDED, FAILED, INTERRUPTED, RUNNING, STARTING, STOPPED, Event, phase_event, state_event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _
from bigmodel.importing.store import registry
from bigmodel.runs.folder import Folder
from bigmodel.runs.lock import Lock

LOCK_SECONDS = 30.0  # whoever else has the lock only looks at it
STOP_POLL_SECONDS = 0.05  # between two looks for the stop message
STOPPED_BEFORE_START = _("Stopped before it began.")
SHUT_DOWN = _(
    "The system ended the training process, as it does when the machine shuts down or a service is stopped. What was learnt is kept; the run can go on from there."
)
RESERVE = 64 * 2**10  # bytes kept on the disk, so that the end of a run can be written down when it is full


def main(arguments: list[str]) -> int:
    (path,) = arguments
    folder = Folder(Path(path))
    return _run(folder, _lease(folder))


def _lease(folder: Folder) -> Lock | None:
    """The run's lock, kept until the process ends; None when the run is another's or was deleted meanwhile."""
    lock = folder.lock()
    try:
        return lock if lock.acquire(wait=LOCK_SECONDS) else None
    except FileNotFoundError:
        return None


def _run(folder: Folder, lock: Lock | None) -> int:
    registry.register_home(folder.home)
    bases.register_bases(folder.home)
    facts = folder.facts()
    if lock is None or facts["state"] != STARTING:
        return 0  # it was cancelled, declared dead or given to another worker before we had it
    if folder.stop_requested():
        folder.append(state_event(STOPPED, STOPPED_BEFORE_START))
        return 0
    stop = StopSignal(folder)
    folder.append(state_event(RUNNING))
    with _event_writer(folder) as put:
        ended = _train(folder, facts["device"] or "auto", stop, lambda event: put(stop.mark_interruption(event)))
    return 1 if ended == FAILED else 0


def _train(folder: Folder, device: str, stopped: StopSignal, write: Callable[[Event], None]) -> str:
    """Write down every event; the state it ended in."""
    state = RUNNING
    try:
        write(phase_event(_("Loading the libraries")))
        from bigmodel.training.loop import train

        spec = RunSpec.check(folder.spec().to_json())
        planned = False
        for event in train(spec, folder.path, stopped, folder.home / "cache", device, stopped.by_system.is_set):
            write(event)
            planned = planned or event.kind in ("plan", "pretraining")
            state = event["state"] if event.kind == "state" else state
            if (
                not planned and state not in ENDED and stopped()
            ):  # train() itself asks while it encodes and before a step
                write(state_event(STOPPED, STOPPED_BEFORE_START))
                return STOPPED
        if state not in ENDED:
            raise RuntimeError(f"training ended in state {state!r}")
        return state
    except Refusal as refusal:
        error = refusal.to_json()
    except Exception as bug:
        if disk_space.was_full(bug):  # the log is not written to: it has no room either
            write(state_event(INTERRUPTED, disk_space.disk_full_words(disk_space.missing_bytes(folder.path))))
            return INTERRUPTED
        if not folder.home.is_dir():  # renamed or removed under the run; what was open still is
            write(state_event(INTERRUPTED, disk_space.home_gone(folder.home).what))
            return INTERRUPTED
        error = _explain(bug)
    write(Event("state", {"state": FAILED, "error": error}))
    return FAILED


def _explain(bug: Exception) -> dict:
    """A friendly word for the person; the traceback goes to the log, found by the same id."""
    id = secrets.token_hex(3)
    print(f"\n[error {id}]", file=sys.stderr)
    traceback.print_exception(bug)
    return _as_refusal(bug, id).to_json() | {"id": id}


def _as_refusal(bug: Exception, id: str) -> Refusal:
    log = _("The log has the details under {id}.", id=id)
    text = str(bug).lower()
    if isinstance(bug, MemoryError) or "out of memory" in text or "can't allocate memory" in text:
        return Refusal(_("The memory was used up."), why=log, do=_("Lower the batch size or the size of the network."))
    what = _("Something went wrong in bigmodel itself ({kind}).", kind=type(bug).__name__)
    return Refusal(what, do=log)


@contextmanager
def _event_writer(folder: Folder) -> Iterator[Callable[[Event], None]]:
    """One write for each event. After a line that a full disk has torn, the next begins on a line of its own; a
    state then takes the room that was kept for it."""
    file = os.open(folder.events_file, os.O_WRONLY | os.O_APPEND)
    torn = False

    def put(event: Event) -> None:
        nonlocal torn
        line = b"\n" + event.line() if torn else event.line()
        torn = os.write(file, line) != len(line)
        if torn:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if event.kind == "state":
            os.fsync(file)

    def write(event: Event) -> None:
        try:
            put(event)
        except OSError as error:
            if event.kind != "state" or not disk_space.was_full(error):
                raise
            folder.reserve_file.unlink(missing_ok=True)
            put(event)

    with suppress(OSError):  # without room for it there is none for a checkpoint either, which says so
        folder.reserve_file.write_bytes(bytes(RESERVE))
    try:
        yield write
    finally:
        os.close(file)
        folder.reserve_file.unlink(missing_ok=True)


class StopSignal:
    """Whether the run has to end: a person asks by the message in its folder, or by Ctrl-C; the system, which then ends all
    that runs, by SIGTERM."""

    def __init__(self, folder: Folder):
        self.folder = folder
        self.requested, self.by_system = threading.Event(), threading.Event()
        self._last_poll = -STOP_POLL_SECONDS
        signal.signal(signal.SIGINT, lambda *_: self.requested.set())
        signal.signal(signal.SIGTERM, lambda *_: self.by_system.set())

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self.requested.is_set() and now - self._last_poll >= STOP_POLL_SECONDS:
            self._last_poll = now
            if self.folder.stop_requested():
                self.requested.set()
        return self.requested.is_set() or self.by_system.is_set()

    def mark_interruption(self, event: Event) -> Event:
        """The end that nobody has asked for is a death, after which the run goes on by itself."""
        stopped = event.kind == "state" and event["state"] == STOPPED
        if not stopped or not self.by_system.is_set() or self.requested.is_set() or self.folder.stop_requested():
            return event
        return state_event(INTERRUPTED, SHUT_DOWN, died=True)


if __name__ == "__main__":
    exit_process(main(sys.argv[1:]))  # taking torch apart would hold the device for seconds more
