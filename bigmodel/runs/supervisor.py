"""The one thread that starts workers, keeps the queue and the index, and finds again what runs after a restart.

As a process of its own (`python -m bigmodel.runs.supervisor HOME`) it works the queue off where no server does.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core import child_process
from bigmodel.core.errors import Refusal
from bigmodel.core.events import ENDED, FAILED, FINISHED, INTERRUPTED, LIVE, QUEUED, RESUMABLE, STARTING, Event
from bigmodel.core.polling_thread import PollingThread
from bigmodel.core.words import Words, _
from bigmodel.data.cache_eviction import evict
from bigmodel.data.prepare import run_cache_key
from bigmodel.importing.store import registry
from bigmodel.runs import device
from bigmodel.runs.executors import Executor, Handle
from bigmodel.runs.executors.local import LocalExecutor
from bigmodel.runs.folder import Folder
from bigmodel.runs.index import IndexedRun, IndexWriter
from bigmodel.runs.lock import Lock, is_held
from bigmodel.runs.store import Store

TICK_SECONDS = 0.2
SWEEP_SECONDS = 5.0  # between two scans of the runs that have ended
CACHE_EVICTION_SECONDS = 3600.0  # between two evictions
GRACE_SECONDS = 15.0  # for a worker that a former supervisor has started to take its lock
RETRY_DELAYS = (3.0, 15.0, 60.0)  # before a run that died is requeued; after the fourth death it stays interrupted
RETRY_WINDOW_SECONDS = 3600.0  # a run that died longer ago is not requeued

PROCESS_GONE = _("The training process is gone: it was killed, or the machine was restarted.")
NEVER_STARTED = _("The server ended before the training had begun.")

logger = logging.getLogger(__name__)


class Supervisor(PollingThread):
    """Works while it holds the home's supervisor lock; tries to take it each round until then. on_finished: is given the
    id of each run that finishes meanwhile."""

    def __init__(
        self,
        store: Store,
        executor: Executor | None = None,
        on_finished: Callable[[str], None] = lambda _id: None,
    ):
        super().__init__("bigmodel-supervisor", TICK_SECONDS)
        self.store, self.on_finished = store, on_finished
        self.executor = executor or LocalExecutor()
        self.index = IndexWriter(store.index_file)
        self._lock = Lock(store.supervisor_lock)
        self._handles: dict[str, Handle] = {}  # of the workers that this supervisor has started
        self._missing_since: dict[str, float] = {}  # starting run without a worker -> since when, monotonic
        self._devices: dict[str, str] = {}  # queued run -> the device it waits for
        self._not_retried: dict[str, int] = {}  # interrupted run that is not requeued -> bytes of its events then
        self._retry_at: dict[str, float] = {}  # interrupted run -> when it is requeued, monotonic
        self._unfinished: set[str] = set()
        self._logged: set[tuple[str, str]] = set()
        self._next_sweep = self._next_clear = 0.0

    def close(self) -> None:
        self.index.close()
        self._lock.release()

    # -- a round -----------------------------------------------------------------------------------
    def tick(self) -> bool:
        """Whether anything waits or runs here. False also where another supervisor works, or the home folder has gone."""
        if lost := self.store.lost():
            self._log_once("home", lost)
            return False
        if not self._lock.held:
            if not self._lock.acquire():
                return False
            self._remove_leftovers()
        try:
            return self._round()
        except sqlite3.OperationalError as error:  # the disk is full or the index is locked: the next round tries again
            self._log_once("index", error)
        except sqlite3.DatabaseError:
            logger.exception("the index is broken and is built again")
            self.index.rebuild()
        return True

    def _round(self) -> bool:
        marks = self._sync_index()
        busy = self._check_workers(marks)
        self._announce_finished(marks)
        self._requeue(marks)
        waiting = sorted((mark.number, id) for id, mark in marks.items() if mark.state == QUEUED)
        for _number, id in waiting:
            with self._log_errors(id):
                self._start_if_free(self._folder(id), busy)
        if not waiting and time.monotonic() >= self._next_clear:
            self._next_clear = time.monotonic() + CACHE_EVICTION_SECONDS
            with self._log_errors("cache"):
                evict(self.store.cache, lambda: self._needed_cache_keys(marks))
        return bool(waiting or busy or self._missing_since or self._retry_at)

    def _announce_finished(self, marks: Mapping[str, IndexedRun]) -> None:
        finished = {id for id, mark in marks.items() if mark.state == FINISHED}
        for id in sorted(finished & self._unfinished):
            with self._log_errors(id):
                self.on_finished(id)
        self._unfinished = marks.keys() - finished

    def _remove_leftovers(self) -> None:
        """Delete staging and trash folders of processes that were killed."""
        with Lock(self.store.launch_lock):  # nobody is writing there at this moment
            shutil.rmtree(self.store.home / "staging", ignore_errors=True)
        shutil.rmtree(self.store.trash, ignore_errors=True)

    def _sync_index(self) -> Mapping[str, IndexedRun]:
        """Index new events of all runs; how far each run is indexed."""
        marks, ids = self.index.indexed_runs(), self.store.ids()
        for id in marks.keys() - ids:
            self.index.remove_run(id)
        sweep = time.monotonic() >= self._next_sweep
        for id in sorted(ids):
            if not sweep and id in marks and marks[id].state in ENDED:
                continue
            with self._log_errors(id):
                folder = self._folder(id)
                while (id not in marks or marks[id].offset != folder.size()) and self.index.sync_run(folder):
                    marks[id] = self.index.indexed_run(id)
        if sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
        return {id: mark for id, mark in marks.items() if id in ids}

    def _needed_cache_keys(self, marks: Mapping[str, IndexedRun]) -> set[str]:
        """Cache keys of the encoded data of every run that is queued, live or resumable."""
        names = set()
        for id, mark in marks.items():
            if mark.state == QUEUED or mark.state in LIVE | RESUMABLE:
                with suppress(Refusal, OSError):  # its data, its base or its network are gone: nothing is needed for it
                    names.add(run_cache_key(self._folder(id).spec()))
        return names

    # -- what runs ---------------------------------------------------------------------------------
    def _check_workers(self, marks: Mapping[str, IndexedRun]) -> set[str]:
        """The devices in use. A live run without a worker is marked interrupted."""
        live = {id for id, mark in marks.items() if mark.state in LIVE}
        self._missing_since = {id: since for id, since in self._missing_since.items() if id in live}
        busy = set()
        for id in sorted(live | self._handles.keys()):
            with self._log_errors(id):
                self._folder(id).trim_log()
                if self._has_worker(self._folder(id), id in live):
                    busy.add(self.index.facts(id)["device"])
        return busy

    def _has_worker(self, folder: Folder, live: bool) -> bool:
        handle = self._handles.get(folder.id)
        ended = handle.exit_reason() if handle else None
        if handle is not None and ended is None:
            return True
        if live and folder.alive():
            return True
        if live and handle is None and self._in_grace_period(folder):
            return True
        if live and not self._mark_interrupted(folder, ended):
            return True
        self._handles.pop(folder.id, None)
        return False

    def _in_grace_period(self, folder: Folder) -> bool:
        """Another supervisor may have been killed between starting a worker and the worker's taking its lock."""
        if folder.facts()["state"] != STARTING:
            return False
        return time.monotonic() < self._missing_since.setdefault(folder.id, time.monotonic()) + GRACE_SECONDS

    def _mark_interrupted(self, folder: Folder, reason: Words | None) -> bool:
        """Mark a run interrupted and recover its folder, holding its lock so that no worker can take it meanwhile."""
        from bigmodel.training.resume_state import recover

        lock = folder.lock()
        if not lock.acquire():
            return False
        try:
            state = folder.facts()["state"]
            if state in LIVE:
                words = reason or (NEVER_STARTED if state == STARTING else PROCESS_GONE)
                folder.append(Event("state", {"state": INTERRUPTED, "reason": words.to_json(), "died": True}))
                recover(folder.path)
        finally:
            lock.release()
        return True

    def _requeue(self, marks: Mapping[str, IndexedRun]) -> None:
        """Requeue runs that died, with backoff, at most len(RETRY_DELAYS) times."""
        dead = {id for id, mark in marks.items() if mark.state == INTERRUPTED}
        self._retry_at = {id: due for id, due in self._retry_at.items() if id in dead}
        for id in sorted(dead - self._not_retried.keys() - self._retry_at.keys()):
            with self._log_errors(id):
                wait = retry_delay(self._folder(id))
                if wait is None:
                    self._not_retried[id] = marks[id].offset
                else:
                    self._retry_at[id] = time.monotonic() + wait
        self._not_retried = {
            id: offset for id, offset in self._not_retried.items() if id in dead and marks[id].offset == offset
        }
        for id in [id for id, due in self._retry_at.items() if time.monotonic() >= due]:
            with self._log_errors(id):
                folder = self._folder(id)
                self._retry_at.pop(id)
                deaths = folder.facts()["deaths"]
                again = {"state": QUEUED, "again": deaths, "reason": _retry_message(deaths).to_json()}
                folder.append(Event("state", again))

    # -- what waits --------------------------------------------------------------------------------
    def _start_if_free(self, folder: Folder, busy: set[str]) -> None:
        try:
            where = self._device(folder)
        except Refusal as refusal:
            folder.append(Event("state", {"state": FAILED, "error": refusal.to_json()}))
            return
        if where in busy:
            return
        folder.append(Event("state", {"state": STARTING, "device": where}))
        if folder.facts()["state"] != STARTING:  # it was cancelled at this very moment
            return
        busy.add(where)
        try:
            self._handles[folder.id] = self.executor.start(folder.path)
        except OSError as error:
            what = _("The training process could not be started: {reason}.", reason=error.strerror or str(error))
            folder.append(Event("state", {"state": FAILED, "error": Refusal(what).to_json()}))

    def _folder(self, id: str) -> Folder:
        return Folder(self.store.runs_folder / id)

    def _device(self, folder: Folder) -> str:
        if folder.id not in self._devices:
            self._devices[folder.id] = device.resolve(str(folder.spec().settings.get("device", "auto")))
        return self._devices[folder.id]

    @contextmanager
    def _log_errors(self, id: str) -> Iterator[None]:
        """One bad run folder must not stop the others; each error is logged once."""
        try:
            yield
        except sqlite3.Error:  # of the index, which is not that folder's alone
            raise
        except Exception as error:
            self._log_once(id, error)

    def _log_once(self, what: str, error: Exception) -> None:
        if (what, str(error)) not in self._logged:
            self._logged.add((what, str(error)))
            expected = isinstance(error, OSError | Refusal | sqlite3.Error)
            logger.warning("%s: %s", what, error, exc_info=None if expected else error)


def retry_delay(folder: Folder) -> float | None:
    """Seconds until a run that died is requeued; None where that is left to a person."""
    facts = folder.facts()
    if facts["state"] != INTERRUPTED or folder.stop_requested():
        return None
    if not 1 <= facts["deaths"] <= len(RETRY_DELAYS) or time.time() - facts["ended"] > RETRY_WINDOW_SECONDS:
        return None
    return None if changes_since_checkpoint(folder) else RETRY_DELAYS[facts["deaths"] - 1]


def changes_since_checkpoint(folder: Folder) -> list[Words]:
    """What differs from when the newest checkpoint was written (versions, settings, data, device), so that a resumed run
    would not be the same run."""
    from bigmodel.training import pretraining, resume_state

    spec, before = folder.spec(), resume_state.read_newest(folder.path)
    where = device.resolve(str(spec.settings.get("device", "auto"))).split(":")[0]
    if before is None and pretraining.is_enabled(spec.settings):
        spec, before = (
            pretraining.pretraining_spec(spec),
            resume_state.read_newest(pretraining.pretraining_folder(folder.path)),
        )
    return resume_state.changes(before, spec, where, device.processor_name(where)) if before else []


def _retry_message(deaths: int) -> Words:
    return _("It goes on by itself (try {number} of {most}).", number=deaths, most=len(RETRY_DELAYS))


def ensure_supervisor(store: Store) -> None:
    """Start a supervisor process unless one holds the lock."""
    if is_held(store.supervisor_lock):
        return
    child_process.start("bigmodel.runs.supervisor", str(store.home), log=store.home / "supervisor.log", survive=True)


def main(arguments: list[str]) -> int:
    """Work the queue off, then exit. Checks once more after releasing the lock: a run launched just before that saw the
    lock held and started no other supervisor."""
    (home,) = arguments
    registry.register_home(Path(home))
    bases.register_bases(Path(home))
    store = Store(Path(home))
    while True:
        supervisor = Supervisor(store)
        while supervisor.tick():
            time.sleep(TICK_SECONDS)
        supervisor.close()
        if is_held(store.supervisor_lock) or not store.all(states=(QUEUED,), limit=1):
            return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
