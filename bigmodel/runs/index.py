"""A SQLite index over the run folders. It holds nothing that the folders do not: delete it and it is built again."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice, starmap
from pathlib import Path
from typing import NamedTuple, TypeVar

from bigmodel.core import files
from bigmodel.core.events import DAMAGED, Event, parse
from bigmodel.runs.folder import Folder
from bigmodel.runs.run import Facts, apply_event, empty_facts

T = TypeVar("T")
VERSION = 6  # schema and facts: an index of another version is rebuilt
EVENTS_PER_TRANSACTION = 5_000  # bounded, so that indexing a long run for the first time does not block the others

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
    """A run's summary. offset: bytes of events.jsonl that it sums up."""

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
    """Read-only queries, from any number of threads and processes. An index that is missing or corrupt reads as empty:
    callers go on in the folders from where the index ends, and the supervisor rebuilds it."""

    def __init__(self, path: Path):
        self.path = path

    def rows(self) -> dict[str, Row]:
        query = f"SELECT {COLUMNS} FROM runs"
        return self._query(lambda file: _rows_by_id(file.execute(query)), {})

    def row(self, id: str) -> Row | None:
        query = f"SELECT {COLUMNS} FROM runs WHERE id = ?"
        return self._query(lambda file: _rows_by_id(file.execute(query, (id,))).get(id), None)

    def rows_containing(self, text: str) -> tuple[set[str], dict[str, Row]]:
        """(ids of all runs, those whose spec has this text in it)."""
        query = f"SELECT {COLUMNS} FROM runs WHERE instr(spec, ?)"

        def select(file: sqlite3.Connection) -> tuple[set[str], dict[str, Row]]:
            return {id for (id,) in file.execute("SELECT id FROM runs")}, _rows_by_id(file.execute(query, (text,)))

        empty: tuple[set[str], dict[str, Row]] = (set(), {})
        return self._query(select, empty)

    def events(self, id: str, after: int, kinds: Sequence[str], limit: int = -1) -> tuple[int, list[Event]]:
        """(offset up to which the index has the run's events, those of them after `after`): all, or the first `limit`,
        with the offset of the last of these. Offsets: bytes in events.jsonl."""
        chosen = f"AND kind IN ({', '.join('?' * len(kinds))})" if kinds else f"AND kind != '{DAMAGED}'"
        query = f"SELECT line, offset FROM events WHERE run = ? AND offset > ? {chosen} ORDER BY offset LIMIT ?"

        def select(file: sqlite3.Connection) -> tuple[int, list[Event]]:
            run = file.execute("SELECT key, offset FROM runs WHERE id = ?", (id,)).fetchone()
            if run is None:
                return 0, []
            key, indexed = run
            rows = file.execute(query, (key, after, *kinds, limit)).fetchall()
            return rows[-1][1] if len(rows) == limit else indexed, [parse(line) for line, _offset in rows]

        empty: tuple[int, list[Event]] = (0, [])
        return self._query(select, empty)

    def _query(self, select: Callable[[sqlite3.Connection], T], empty: T) -> T:
        """What `select` returns, inside one read transaction; `empty` for an index that cannot be used."""
        try:
            with closing(sqlite3.connect(f"{self.path.as_uri()}?mode=ro", uri=True, isolation_level=None)) as file:
                file.execute("BEGIN")
                known = file.execute("PRAGMA user_version").fetchone()[0] == VERSION
                return select(file) if known else empty
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
        row = self._connect().execute("SELECT facts FROM runs WHERE id = ?", (id,)).fetchone()
        return json.loads(row[0]) if row else empty_facts()

    def sync_run(self, folder: Folder) -> bool:
        """Copy a run's new events into the index; whether there were any. Offset, rows and summary in one transaction."""
        file = self._connect()
        row = file.execute("SELECT key, offset, facts, spec FROM runs WHERE id = ?", (folder.id,)).fetchone()
        key, offset, known, spec = row or (None, 0, None, None)
        size = folder.size()
        if row and offset == size:
            return False
        if offset > size:  # an older state of the folder was put back
            self.remove_run(folder.id)
            key, offset, known, spec = None, 0, None, None
        facts = json.loads(known) if known else empty_facts()
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
            lines = ((key, offset, event.kind, event.line().decode().rstrip("\n")) for offset, event in fresh)
            file.executemany("INSERT INTO events VALUES (?, ?, ?, ?)", lines)
        return True

    def remove_run(self, id: str) -> None:
        file = self._connect()
        with file:
            file.execute("BEGIN IMMEDIATE")
            file.execute("DELETE FROM events WHERE run = (SELECT key FROM runs WHERE id = ?)", (id,))
            file.execute("DELETE FROM runs WHERE id = ?", (id,))

    def rebuild(self) -> None:
        """Delete the database; the next sync fills a new one."""
        self.close()
        for end in ("", "-wal", "-shm"):
            Path(f"{self.path}{end}").unlink(missing_ok=True)

    def _connect(self) -> sqlite3.Connection:
        """The open connection; reopened if the file was deleted, rebuilt if it is corrupt."""
        inode = _inode(self.path)
        if self._connection is not None and inode == self._inode:
            return self._connection
        if self._connection is not None or not inode:
            self.rebuild()  # deletes a stale write-ahead log too, which SQLite would replay into the new file
        try:
            self._connection = _open_database(self.path)
        except sqlite3.DatabaseError:
            self.rebuild()
            self._connection = _open_database(self.path)
        self._inode = _inode(self.path)
        return self._connection


def _rows_by_id(found: Iterable[tuple]) -> dict[str, Row]:
    return {row.id: row for row in starmap(Row, found)}


def _open_database(path: Path) -> sqlite3.Connection:
    files.make_folder(path.parent)
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
