"""All runs of a home folder: launched, listed, read, deleted."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

from bigmodel.core import checked_json, disk_space, files, limits
from bigmodel.core.checked_json import MAX_COUNT
from bigmodel.core.errors import Refusal
from bigmodel.core.events import CANCELLED, DAMAGED, LIVE, QUEUED, RESUMABLE, Event
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.runs.curve_sample import SampledCurve, sample_curve
from bigmodel.runs.folder import Folder, create_run_folder, parse_spec, unreadable
from bigmodel.runs.index import IndexReader, Row
from bigmodel.runs.lock import Lock
from bigmodel.runs.run import Facts, Run, apply_event, build_run, empty_facts


class Store:
    """Reads what is true now: the index as far as it goes, the folders from there on."""

    def __init__(self, home: Path):
        self.home = home.absolute()
        self.runs_folder = self.home / "runs"
        self.cache = self.home / "cache"
        self.index_file = self.home / "index.sqlite"
        self.supervisor_lock = self.home / "supervisor.lock"
        self.launch_lock = self.home / "launch.lock"
        self.server_lock = self.home / "server.lock"
        self.trash = self.home / "trash"
        self.index = IndexReader(self.index_file)
        try:
            files.make_home(self.home)
            self._inode = self.home.stat().st_ino
        except OSError as error:
            what = _("{home} cannot be used: {reason}.", home=str(self.home), reason=error.strerror or str(error))
            raise Refusal(what, do=_("Name another folder with {variable}.", variable="BIGMODEL_HOME")) from error

    def lost(self) -> Refusal | None:
        """Why nothing can be read or written here; None where the home folder is the one that was opened."""
        try:
            same = self.home.stat().st_ino == self._inode
        except OSError:
            return disk_space.home_gone(self.home)
        return None if same else disk_space.home_gone(self.home)

    # -- written -----------------------------------------------------------------------------------
    def launch(self, spec: RunSpec, token: str = "", origin: Path | None = None) -> str:
        """A run folder with its first event; the run's id. The same token gives the same run, from whatever process.
        `origin`: the checkpoint that it begins with."""
        key = hashlib.sha256(token.encode()).hexdigest() if token else secrets.token_hex(32)
        with Lock(self.launch_lock):
            facts = dict(self._facts())
            for id in facts:
                if id.endswith(key[:4]) and facts[id]["token"] == key:
                    return id
            if sum(fact["state"] == QUEUED for fact in facts.values()) >= limits.QUEUE_LENGTH:
                what = _("{count} runs are waiting already.", count=limits.QUEUE_LENGTH)
                raise Refusal(what, do=_("Wait until some have finished, or cancel some."))
            number = min(max((fact["number"] for fact in facts.values()), default=0) + 1, MAX_COUNT)
            id = self._new_id(spec, key)
            create_run_folder(
                self.runs_folder / id, spec, Event("state", {"state": QUEUED, "number": number, "token": key}), origin
            )
        return id

    def stop(self, id: str, reason: Words) -> None:
        """A waiting run is cancelled at once; a worker reads the message, saves and leaves."""
        folder = self.folder(id)
        state = folder.facts()["state"]
        if state == QUEUED:
            folder.request_stop()  # first, for the worker that may be starting at this moment
            folder.append(Event("state", {"state": CANCELLED, "reason": reason.to_json()}))
        elif state in LIVE:
            folder.request_stop()
        else:
            what = _("The run {run} is not running.", run=id)
            raise Refusal(what, why=_("It has ended already."), field="run")

    def resume(self, id: str) -> None:
        """Back into the queue: a run that ended before its end goes on from its newest checkpoint."""
        folder = self.folder(id)
        with Lock(self.launch_lock):  # two clicks are one
            state = folder.facts()["state"]
            if state == QUEUED or state in LIVE:
                return
            if state not in RESUMABLE:
                what = _("The run {run} has come to its end and cannot be resumed.", run=id)
                raise Refusal(what, do=_("Branch off a new run from one of its checkpoints."), field="run")
            folder.resume()

    def delete(self, id: str) -> None:
        folder = self.folder(id)
        if _state_of(folder) == QUEUED:
            self.stop(id, _("It was deleted."))
        if folder.alive() or _state_of(folder) in LIVE:
            what = _("The run {run} is still being trained.", run=id)
            raise Refusal(what, do=_("Stop it first."), field="run")
        files.discard(folder.path, self.trash)  # what stays is emptied by the supervisor

    # -- read --------------------------------------------------------------------------------------
    def folder(self, id: str) -> Folder:
        """The folder of a run that exists."""
        if id not in self.ids():
            if lost := self.lost():
                raise lost
            raise Refusal(_("There is no run {run}.", run=id[:100]), do=_("Look at the list of runs."), field="run")
        return Folder(self.runs_folder / id)

    def ids(self) -> set[str]:
        try:
            return {entry.name for entry in os.scandir(self.runs_folder) if entry.is_dir()}
        except FileNotFoundError:
            return set()

    def all(self, states: Sequence[str] = (), limit: int = 200) -> list[Run]:
        """Newest first, by order of launch. A folder that cannot be read is left out (`get` says why)."""
        rows = self.index.rows()
        known = sorted(self._facts_or_rows(rows), key=lambda item: (item[2], item[0]), reverse=True)
        waiting = sorted(number for _id, state, number, _facts in known if state == QUEUED)
        chosen = (item for item in known if not states or item[1] in states)
        found: list[Run] = []
        for id, state, number, facts in chosen:
            if len(found) == limit:
                break
            position = waiting.index(number) + 1 if state == QUEUED else 0
            try:
                found.append(self._run(id, rows.get(id), facts or rows[id].load_facts(), position))
            except Refusal:
                continue
        return found

    def damaged(self) -> list[str]:
        """The runs that are left out, as what is written down of them cannot be read."""
        rows = self.index.rows()
        readable = {id for id, _state, _number, facts in self._facts_or_rows(rows) if self._has_spec(id, rows.get(id))}
        return sorted(self.ids() - readable)

    def damage(self) -> Words | None:
        """What is said of them; None where all can be read."""
        ids = self.damaged()
        if not ids:
            return None
        return _("{count} runs cannot be read and are left out: {names}.", count=len(ids), names=", ".join(ids[:5]))

    def _has_spec(self, id: str, row: Row | None) -> bool:
        try:
            return bool(self._spec(id, row))
        except Refusal:
            return False

    def get(self, id: str) -> Run:
        folder = self.folder(id)
        row = self.index.row(id)
        try:
            facts = _current_facts(folder, row)
        except OSError as error:
            raise unreadable(id, error) from error
        if not facts["state"]:
            raise unreadable(id, ValueError("no first event"))
        position = self._position(facts["number"]) if facts["state"] == QUEUED else 0
        return self._run(id, row, facts, position)

    def branches(self, id: str) -> list[Run]:
        """The runs that begin with a checkpoint of this one, newest first."""
        indexed, naming = self.index.rows_containing(json.dumps(id))
        found: list[Run] = []
        for other in self.ids() - (indexed - naming.keys()):
            try:
                parent = self._spec(other, naming.get(other)).parent
                if parent and parent["run"] == id:
                    found.append(self.get(other))
            except (Refusal, OSError):  # deleted while we look, or not a run's folder
                continue
        return sorted(found, key=lambda run: run.number, reverse=True)

    def events(self, id: str, after: int = 0, kinds: Sequence[str] = (), limit: int = -1) -> tuple[int, list[Event]]:
        """(cursor, events after the cursor). Only what is new is read, and no more than about `limit` at a time."""
        folder = self.folder(id)
        indexed, found = self.index.events(id, after, kinds, limit)
        start = max(indexed, after)
        if len(found) == limit:
            return start, found
        tail = list(islice(folder.events(start), limit if limit >= 0 else None))
        found += [event for _offset, event in tail if (event.kind in kinds if kinds else event.kind != DAMAGED)]
        return (tail[-1][0] if tail else start), found

    def curve(self, id: str, points: int) -> SampledCurve:
        """The curve of a run in at most about so many points, quickly: for many runs at a time."""
        return sample_curve(self.folder(id).events_file, points)

    # -- how ---------------------------------------------------------------------------------------
    def _facts_or_rows(self, rows: dict[str, Row]) -> Iterator[tuple[str, str, int, Facts | None]]:
        """(id, state, number, facts where they are newer than the row) of every run that can be read."""
        for id in self.ids():
            row, folder = rows.get(id), Folder(self.runs_folder / id)
            try:
                facts = None if row and row.offset == folder.size() else _current_facts(folder, row)
            except OSError:  # deleted meanwhile, or not a run's folder
                continue
            state, number = (facts["state"], facts["number"]) if facts else (row.state, row.number) if row else ("", 0)
            if state:
                yield id, state, number, facts

    def _facts(self) -> Iterator[tuple[str, Facts]]:
        rows = self.index.rows()
        for id, _state, _number, facts in self._facts_or_rows(rows):
            yield id, facts or rows[id].load_facts()

    def _position(self, number: int) -> int:
        known = self._facts_or_rows(self.index.rows())
        return 1 + sum(state == QUEUED and other < number for _id, state, other, _facts in known)

    def _run(self, id: str, row: Row | None, facts: Facts, position: int) -> Run:
        return build_run(id, self._spec(id, row), facts, position, Folder(self.runs_folder / id).has_model())

    def _spec(self, id: str, row: Row | None) -> RunSpec:
        return parse_spec(checked_json.parse(row.spec)) if row else Folder(self.runs_folder / id).spec()

    def _new_id(self, spec: RunSpec, key: str) -> str:
        """Sorts by time, says what it is, and ends in four characters of the token's hash."""
        seconds = int(time.time())
        while True:
            moment = time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds))
            data = spec.dataset.partition("@")[0]  # the version of an own data set stands in the spec
            id = f"{moment}-{spec.architecture}-{data}-{key[:4]}"
            if not (self.runs_folder / id).exists():
                return id
            seconds += 1


def _state_of(folder: Folder) -> str:
    """'' of a run whose story cannot be read: it can still be deleted."""
    try:
        return folder.facts()["state"]
    except OSError:
        return ""


def _current_facts(folder: Folder, row: Row | None) -> Facts:
    """The indexed facts, and the events that the index does not have yet. OSError for a folder without events."""
    size = folder.size()
    facts, offset = (row.load_facts(), row.offset) if row and row.offset <= size else (empty_facts(), 0)
    for _offset, event in folder.events(offset):
        apply_event(facts, event)
    return facts
