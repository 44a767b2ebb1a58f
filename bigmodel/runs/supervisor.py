"""The one thread that starts workers, keeps the queue and the index, and finds again what runs after a restart.

As a process of its own (`python -m bigmodel.runs.supervisor HOME`) it works the queue off where no server does.
"""

from __future__ import annotations

import logging
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from bigmodel.base_models import store as bases
from bigmodel.core.errors import Refusal
from bigmodel.core.events import ENDED, FAILED, INTERRUPTED, LIVE, QUEUED, RESUMABLE, STARTING, Event
from bigmodel.core.words import Words, _
from bigmodel.data.cache_eviction import clear
from bigmodel.data.prepare import key_of
from bigmodel.importing.store import registry
from bigmodel.runs import device
from bigmodel.runs.executors import Executor, Handle
from bigmodel.runs.executors.local import Local, spawn
from bigmodel.runs.folder import Folder
from bigmodel.runs.index import Index, Mark
from bigmodel.runs.lock import Lock, is_held
from bigmodel.runs.store import Store

TICK_SECONDS = 0.2
SWEEP_SECONDS = 5.0  # between two looks at the runs that have ended
CLEAR_SECONDS = 3600.0  # between two looks at what the cache need not keep
GRACE_SECONDS = 15.0  # within which a worker that another supervisor has started takes its lock
FIRST_SPARE_SECONDS = 1.0  # after the server has begun
AGAIN_SECONDS = (3.0, 15.0, 60.0)  # after which a run that died goes on by itself; the fourth death is for a person
AGAIN_WITHIN = 3600.0  # what died longer ago than this is left to whoever looks at it
SPARE_SECONDS = 10.0  # after a run has begun: loading libraries beside its first steps would slow them

GONE = _("The training process is gone: it was killed, or the machine was restarted.")
NEVER_BEGUN = _("The server ended before the training had begun.")

logger = logging.getLogger(__name__)


class Supervisor:
    """Works while it holds the home's supervisor lock; until then it waits for it to be free."""

    def __init__(self, store: Store, executor: Executor | None = None, spare: bool = True):
        self.store = store
        self.executor = executor or Local(store.home)
        self.spare = spare
        self.index = Index(store.index_file)
        self._lock = Lock(store.supervisor_lock)
        self._handles: dict[str, Handle] = {}  # of the workers that this supervisor has started
        self._missed: dict[str, float] = {}  # starting run without worker -> since when, by the monotonic clock
        self._devices: dict[str, str] = {}  # waiting run -> device it waits for
        self._left: dict[str, int] = {}  # run that died and is left alone -> size of its events then
        self._again: dict[str, float] = {}  # run that died -> when it goes on by itself, by the monotonic clock
        self._noted: set[tuple[str, str]] = set()
        self._next_sweep = self._next_spare = self._next_clear = 0.0
        self._awake, self._leave = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, name="bigmodel-supervisor", daemon=True)

    # -- as a thread -------------------------------------------------------------------------------
    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Leave. What is being trained goes on."""
        self._leave.set()
        self._awake.set()
        self._thread.join()

    def wake(self) -> None:
        """There may be something to do at once."""
        self._awake.set()

    def _live(self) -> None:
        while not self._leave.is_set():
            self._awake.clear()
            try:
                self.tick()
            except Exception:  # one bad round must not end the thread that all runs depend on
                logger.exception("a round of the supervisor failed")
                self._leave.wait(1.0)
            self._awake.wait(TICK_SECONDS)
        self.close()

    def close(self) -> None:
        self.executor.close()
        self.index.close()
        self._lock.release()

    # -- a round -----------------------------------------------------------------------------------
    def tick(self) -> bool:
        """Whether anything waits or runs here. False also where another supervisor works."""
        if not self._lock.held:
            if not self._lock.take():
                return False
            self._begin()
        try:
            return self._round()
        except (
            sqlite3.OperationalError
        ) as error:  # the disk is full, or somebody looks into the index: it will do later
            self._note("index", error)
        except sqlite3.DatabaseError:
            logger.exception("the index is broken and is built again")
            self.index.rebuild()
        return True

    def _round(self) -> bool:
        marks = self._take_in()
        busy = self._look_after(marks)
        self._raise(marks)
        waiting = sorted((mark.number, id) for id, mark in marks.items() if mark.state == QUEUED)
        for _number, id in waiting:
            with self._noting(id):
                self._start_if_free(Folder(self.store.folders / id), busy)
        if self.spare and time.monotonic() >= self._next_spare:
            with self._noting("spare"):
                self.executor.prepare()
        if not waiting and time.monotonic() >= self._next_clear:
            self._next_clear = time.monotonic() + CLEAR_SECONDS
            with self._noting("cache"):
                clear(self.store.cache, lambda: self._needed(marks))
        return bool(waiting or busy or self._missed or self._again)

    def _begin(self) -> None:
        """Clear away what a process that was killed has left half written or half deleted."""
        with Lock(self.store.launch_lock):  # nobody is writing there at this moment
            shutil.rmtree(self.store.home / "staging", ignore_errors=True)
        shutil.rmtree(self.store.trash, ignore_errors=True)
        self._next_spare = time.monotonic() + FIRST_SPARE_SECONDS

    def _take_in(self) -> Mapping[str, Mark]:
        """Copy what is new in the folders into the index; how far each run is."""
        marks, ids = self.index.marks(), self.store.ids()
        for id in marks.keys() - ids:
            self.index.forget(id)
        sweep = time.monotonic() >= self._next_sweep
        for id in sorted(ids):
            if not sweep and id in marks and marks[id].state in ENDED:
                continue
            with self._noting(id):
                folder = Folder(self.store.folders / id)
                while (id not in marks or marks[id].offset != folder.size()) and self.index.take_in(folder):
                    marks[id] = self.index.mark(id)
        if sweep:
            self._next_sweep = time.monotonic() + SWEEP_SECONDS
        return {id: mark for id, mark in marks.items() if id in ids}

    def _needed(self, marks: Mapping[str, Mark]) -> set[str]:
        """Names of the encoded data of every run that waits, is trained or can be resumed."""
        names = set()
        for id, mark in marks.items():
            if mark.state == QUEUED or mark.state in LIVE | RESUMABLE:
                with suppress(Refusal, OSError):  # its data, its base or its network are gone: nothing is needed for it
                    names.add(key_of(Folder(self.store.folders / id).spec()))
        return names

    # -- what runs ---------------------------------------------------------------------------------
    def _look_after(self, marks: Mapping[str, Mark]) -> set[str]:
        """The devices in use. A run that says it is trained while nobody has it is declared interrupted."""
        live = {id for id, mark in marks.items() if mark.state in LIVE}
        self._missed = {id: since for id, since in self._missed.items() if id in live}
        busy = set()
        for id in sorted(live | self._handles.keys()):
            with self._noting(id):
                Folder(self.store.folders / id).trim_log()
                if self._has_worker(Folder(self.store.folders / id), id in live):
                    busy.add(self.index.facts(id)["device"])
        return busy

    def _has_worker(self, folder: Folder, live: bool) -> bool:
        handle = self._handles.get(folder.id)
        ended = handle.ended() if handle else None
        if handle is not None and ended is None:
            return True
        if live and folder.alive():
            return True
        if live and handle is None and self._may_still_come(folder):
            return True
        if live and not self._bury(folder, ended):
            return True
        self._handles.pop(folder.id, None)
        return False

    def _may_still_come(self, folder: Folder) -> bool:
        """Another supervisor may have been killed between starting a worker and the worker's taking its lock."""
        if folder.facts()["state"] != STARTING:
            return False
        return time.monotonic() < self._missed.setdefault(folder.id, time.monotonic()) + GRACE_SECONDS

    def _bury(self, folder: Folder, reason: Words | None) -> bool:
        """Declare a run interrupted and put its folder in order, holding its lock so that no worker can take it up
        meanwhile."""
        from bigmodel.training.resume_state import mend

        lock = folder.lock()
        if not lock.take():
            return False
        try:
            state = folder.facts()["state"]
            if state in LIVE:
                words = reason or (NEVER_BEGUN if state == STARTING else GONE)
                folder.append(Event("state", {"state": INTERRUPTED, "reason": words.to_json(), "died": True}))
                mend(folder.path)
        finally:
            lock.release()
        return True

    def _raise(self, marks: Mapping[str, Mark]) -> None:
        """Put runs that have died back into the queue, after waits that grow, a few times."""
        dead = {id for id, mark in marks.items() if mark.state == INTERRUPTED}
        self._again = {id: due for id, due in self._again.items() if id in dead}
        for id in sorted(dead - self._left.keys() - self._again.keys()):
            with self._noting(id):
                wait = goes_on_after(Folder(self.store.folders / id))
                if wait is None:
                    self._left[id] = marks[id].offset
                else:
                    self._again[id] = time.monotonic() + wait
        self._left = {id: offset for id, offset in self._left.items() if id in dead and marks[id].offset == offset}
        for id in [id for id, due in self._again.items() if time.monotonic() >= due]:
            with self._noting(id):
                folder = Folder(self.store.folders / id)
                self._again.pop(id)
                deaths = folder.facts()["deaths"]
                folder.append(Event("state", {"state": QUEUED, "again": deaths, "reason": _again(deaths).to_json()}))

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
        self._next_spare = time.monotonic() + SPARE_SECONDS

    def _device(self, folder: Folder) -> str:
        if folder.id not in self._devices:
            self._devices[folder.id] = device.key(str(folder.spec().settings.get("device", "auto")))
        return self._devices[folder.id]

    @contextmanager
    def _noting(self, id: str) -> Iterator[None]:
        """A folder that cannot be read or written, or that holds what nobody has thought of, stops nobody else; each
        complaint is logged once."""
        try:
            yield
        except sqlite3.Error:  # of the index, which is not that folder's alone
            raise
        except Exception as error:
            self._note(id, error)

    def _note(self, what: str, error: Exception) -> None:
        if (what, str(error)) not in self._noted:
            self._noted.add((what, str(error)))
            expected = isinstance(error, OSError | Refusal | sqlite3.Error)
            logger.warning("%s: %s", what, error, exc_info=None if expected else error)


def goes_on_after(folder: Folder) -> float | None:
    """Seconds after which a run that died goes on by itself; None where it is left to a person."""
    facts = folder.facts()
    if facts["state"] != INTERRUPTED or folder.asked_to_stop():
        return None
    if not 1 <= facts["deaths"] <= len(AGAIN_SECONDS) or time.time() - facts["ended"] > AGAIN_WITHIN:
        return None
    return None if changed(folder) else AGAIN_SECONDS[facts["deaths"] - 1]


def changed(folder: Folder) -> list[Words]:
    """What is no longer as it was when that was kept from which a run would go on: it would not be the same run."""
    from bigmodel.training import pretraining, resume_state

    spec, before = folder.spec(), resume_state.newest(folder.path)
    where = device.key(str(spec.settings.get("device", "auto"))).split(":")[0]
    if before is None and pretraining.wanted(spec.settings):
        spec, before = pretraining.spec_of(spec), resume_state.newest(pretraining.place(folder.path))
    return resume_state.changes(before, spec, where, device.processor(where)) if before else []


def _again(deaths: int) -> Words:
    return _("It goes on by itself (try {number} of {most}).", number=deaths, most=len(AGAIN_SECONDS))


def summon(store: Store) -> None:
    """See to it that somebody works on the queue: start a process for it unless a supervisor is there."""
    if is_held(store.supervisor_lock):
        return
    with (store.home / "supervisor.log").open("ab") as log:
        spawn("bigmodel.runs.supervisor", str(store.home), output=log)


def main(arguments: list[str]) -> int:
    """Work the queue off, then leave. Looks once more after letting go of the lock: a run that was launched while
    this process was about to leave saw the lock held and called nobody else."""
    (home,) = arguments
    registry.bring(Path(home))
    bases.bring(Path(home))
    store = Store(Path(home))
    while True:
        supervisor = Supervisor(store, spare=False)
        while supervisor.tick():
            time.sleep(TICK_SECONDS)
        supervisor.close()
        if is_held(store.supervisor_lock) or not store.runs(states=(QUEUED,), limit=1):
            return 0


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(message)s")
    sys.exit(main(sys.argv[1:]))
