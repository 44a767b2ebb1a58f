"""The hash of a file's bytes: computed once for each state of the file, and kept in the home folder."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path

from bigmodel.core.files import write_atomic

SETTLED_NANOSECONDS = (
    2 * 10**9
)  # nanoseconds: what was written later than that may be written again under the very same times

_cache_homes: list[Path] = []  # the one folder in which hashes are kept; none in a process that was told of none


def set_cache_home(home: Path) -> None:
    """From now on hashes are kept in this home folder, and taken from there."""
    _cache_homes[:] = [home]


def fingerprint(path: Path) -> str:
    """SHA-256 of a file. Not computed anew where size, inode and the times of the last writing and of the last change
    are those under which it was kept: whoever puts back the first of these times cannot put back the second."""
    state, kept = _state(path), _cache_file(path)
    if kept is None:
        return _hash(path)
    known = _read(kept)
    if known and known["path"] == str(path) and known["state"] == state:
        return known["sha256"]
    found = _hash(path)
    if _state(path) == state and _settled(state):
        _write(kept, {"path": str(path), "state": state, "sha256": found})
    return found


def _state(path: Path) -> list[int]:
    """[bytes, inode, last written, last changed (on Windows: made)], times in nanoseconds."""
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _settled(state: list[int]) -> bool:
    return time.time_ns() - max(state[2:]) > SETTLED_NANOSECONDS


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _cache_file(path: Path) -> Path | None:
    name = hashlib.sha256(os.fsencode(path)).hexdigest()[:24]
    return _cache_homes[0] / "cache" / "fingerprints" / f"{name}.json" if _cache_homes else None


def _read(kept: Path) -> dict | None:
    try:
        known = json.loads(kept.read_bytes())
        return known if {"path", "state", "sha256"} <= known.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def _write(kept: Path, known: dict) -> None:
    """A home that is gone, full or not ours is left as it is."""
    with suppress(OSError):
        for folder in (kept.parent.parent, kept.parent):
            folder.mkdir(exist_ok=True)
        write_atomic(kept, json.dumps(known))
