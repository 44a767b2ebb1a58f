"""A SQLite index over the run folders. It holds nothing that the folders do not: delete it and it is built again."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeVar

from bigmodel.core.events import Event, parse
from bigmodel.runs.folder import Folder
from bigmodel.runs.run import Facts, apply_event, empty_facts

T = TypeVar("T")
VERSION = 4  # what facts hold: an index of another version is made anew
EVENTS_PER_TRANSACTION = (
    5_000  # events in one transaction, so that a long run's first reading does not hold up the others
)

SCHEMA = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS runs (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    offset INTEGER NOT NULL,  -- bytes of events.jsonl that are in the index
    state TEXT NOT NULL,
    number INTEGER NOT NULL,
    spec TEXT NOT NULL,
    facts TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS events (
    run INTEGER NOT NULL,
    offset INTEGER NOT NULL,  -- of the first byte after the event
    kind TEXT NOT NULL,
    line TEXT NOT NULL,
    PRIMARY KEY (run, offset)
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class Row:
    """A run's summary, with the place in its events up to which it is true."""

    id: str
    offset: int
    state: str
    number: int
    spec: str
    facts: str

    def load_facts(self) -> Facts:
        return json.loads(self.facts)


class IndexedRun(NamedTuple):
    """How far the index has read a run, and what decides what is to be done with it."""

    offset: int
    state: str
    number: int


COLUMNS = "id, offset, state, number, spec, facts"


class IndexReader:
    """Looks things up; any number of threads and processes may. An index that is missing or broken reads as empty:
    whoever reads goes on in the folders from where the index ends, and the supervisor mends it."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self) -> dict[str, Row]:
        query = f"SELECT {COLUMNS} FROM runs"
        return self._query(lambda file: {row[0]: Row(*row) for row in file.execute(query)}, {})

    def row(self, id: str) -> Row | None:
        query = f"SELECT {COLUMNS} FROM runs WHERE id = ?"
        found = self._query(lambda file: file.execute(query, (id,)).fetchone(), None)
        return Row(*found) if found else None

    def rows_containing(self, text: str) -> tuple[set[str], dict[str, Row]]:
        """(ids of all runs, those whose spec has this text in it)."""
        query = f"SELECT {COLUMNS} FROM runs WHERE instr(spec, ?)"

        def look(file: sqlite3.Connection) -> tuple[set[str], dict[str, Row]]:
            every = {row[0] for row in file.execute("SELECT id FROM runs")}
            return every, {row[0]: Row(*row) for row in file.execute(query, (text,))}

        return self._query(look, (set(), {}))

    def events(self, id: str, after: int, kinds: Sequence[str], limit: int = -1) -> tuple[int, list[Event]]:
        """(place up to which the index knows the run's events, those of them after `after`): all, or the first `limit`,
        with the place of the last of these."""
        chosen = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else ""
        query = f"SELECT line, offset FROM events WHERE run = ? AND offset > ? {chosen} ORDER BY offset LIMIT ?"

        def look(file: sqlite3.Connection) -> tuple[int, list[Event]]:
            found = file.execute("SELECT key, offset FROM runs WHERE id = ?", (id,)).fetchone()
            if found is None:
                return 0, []
            rows = file.execute(query, (found[0], after, *kinds, limit)).fetchall()
            place = rows[-1][1] if len(rows) == limit else found[1]
            return place, [parse(line) for line, _offset in rows]

        return self._query(look, (0, []))

    def _query(self, look: Callable[[sqlite3.Connection], T], empty: T) -> T:
        """What `look` sees, all of one moment."""
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as file:
                file.execute("BEGIN")
                known = file.execute("PRAGMA user_version").fetchone()[0] == VERSION
                return look(file) if known else empty
        except sqlite3.DatabaseError:
            return empty


class IndexWriter:
    """The writing side. There is one at a time: whoever holds the supervisor's lock."""

    def __init__(self, path: Path):
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._inode = 0

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def indexed_runs(self) -> dict[str, IndexedRun]:
        query = "SELECT id, offset, state, number FROM runs"
        return {id: IndexedRun(*mark) for id, *mark in self._connect().execute(query)}

    def indexed_run(self, id: str) -> IndexedRun:
        query = "SELECT offset, state, number FROM runs WHERE id = ?"
        return IndexedRun(*self._connect().execute(query, (id,)).fetchone())

    def facts(self, id: str) -> Facts:
        found = self._connect().execute("SELECT facts FROM runs WHERE id = ?", (id,)).fetchone()
        return json.loads(found[0]) if found else empty_facts()

    def sync_run(self, folder: Folder) -> bool:
        """Copy what is new in a run's events; whether anything was. Offset, rows and summary in one transaction."""
        file = self._connect()
        found = file.execute("SELECT key, offset, facts, spec FROM runs WHERE id = ?", (folder.id,)).fetchone()
        size = folder.size()
        if found and found[1] == size:
            return False
        if found and found[1] > size:  # an older state of the folder was put back
            self.remove_run(folder.id)
            found = None
        key, offset, facts, spec = found or (None, 0, None, None)
        facts = json.loads(facts) if facts else empty_facts()
        spec = spec or json.dumps(folder.spec().to_json(), ensure_ascii=False)
        fresh = list(islice(folder.events(offset), EVENTS_PER_TRANSACTION))
        if not fresh and key is not None:
            return False
        for _offset, event in fresh:
            apply_event(facts, event)
        end = fresh[-1][0] if fresh else offset
        summary = (end, facts["state"], facts["number"], spec, json.dumps(facts, ensure_ascii=False))
        with file:
            file.execute("BEGIN IMMEDIATE")
            if key is None:
                query = "INSERT INTO runs (offset, state, number, spec, facts, id) VALUES (?, ?, ?, ?, ?, ?)"
                key = file.execute(query, (*summary, folder.id)).lastrowid
            else:
                query = "UPDATE runs SET offset = ?, state = ?, number = ?, spec = ?, facts = ? WHERE key = ?"
                file.execute(query, (*summary, key))
            lines = ((key, place, event.kind, event.line().decode().rstrip("\n")) for place, event in fresh)
            file.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", lines)
        return True

    def remove_run(self, id: str) -> None:
        file = self._connect()
        with file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("DELETE FROM events WHERE run = (SELECT key FROM runs WHERE id = ?)", (id,))
            file.execute("DELETE FROM runs WHERE id = ?", (id,))

    def rebuild(self) -> None:
        """Throw the file away; the next reading starts from nothing."""
        self.close()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        """The open file; anew if somebody deleted it, from nothing if it cannot be used."""
        inode = _inode(self.path)
        if self._connection is not None and inode == self._inode:
            return self._connection
        if self._connection is not None or not inode:
            self.rebuild()  # takes a left write-ahead log along, which would be played back into the new file
        try:
            self._connection = _open_database(self.path)
        except sqlite3.DatabaseError:
            self.rebuild()
            self._connection = _open_database(self.path)
        self._inode = _inode(self.path)
        return self._connection


def _open_database(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    file = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5)
    try:
        if file.execute("PRAGMA user_version").fetchone()[0] not in (0, VERSION):
            raise sqlite3.DatabaseError("an index of another version")
        file.executescript(SCHEMA)
    except sqlite3.DatabaseError:
        file.close()
        raise
    return file


def _inode(path: Path) -> int:
    try:
        return os.stat(path).st_ino
    except FileNotFoundError:
        return 0
