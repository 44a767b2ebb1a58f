"""SHA-256 of files, cached in the home folder by size, inode and times."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from bigmodel.core.files import write_atomic

SETTLED_NANOSECONDS = 2 * 10**9  # the coarsest time stamps of file systems: a later write may leave the same mtime

_cache_home: Path | None = None  # no cache in a process that has set none


def set_cache_home(home: Path) -> None:
    """From now on this process caches hashes in this home folder."""
    global _cache_home
    _cache_home = home


def fingerprint(path: Path) -> str:
    """SHA-256 of a file, as hex. From the cache where size, inode, mtime and ctime are unchanged: mtime can be set back,
    ctime cannot. OSError for a file that cannot be read."""
    state, cache_file = _state(path), _cache_file(path)
    if cache_file is None:
        return _hash(path)
    record = _read(cache_file)
    if record and record["path"] == str(path) and record["state"] == state:
        return str(record["sha256"])
    sha256 = _hash(path)
    if _state(path) == state and time.time_ns() - max(state[2:]) > SETTLED_NANOSECONDS:
        _write(cache_file, {"path": str(path), "state": state, "sha256": sha256})
    return sha256


def _state(path: Path) -> list[int]:
    """[bytes, inode, mtime, ctime (on Windows: creation)], times in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_file(path: Path) -> Path | None:
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return _cache_home / "cache" / "fingerprints" / f"{name}.json" if _cache_home else None


def _read(cache_file: Path) -> dict | None:
    try:
        record = json.loads(cache_file.read_bytes())
        return record if {"path", "state", "sha256"} <= record.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write(cache_file: Path, record: dict) -> None:
    """Best effort: a home that is gone, full or read-only gets no cache."""
    with suppress(OSError):
        for folder in (cache_file.parent.parent, cache_file.parent):
            folder.mkdir(exist_ok=True)
        write_atomic(cache_file, json.dumps(record))
