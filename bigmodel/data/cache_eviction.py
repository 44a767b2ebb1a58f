"""The cache of encoded data is cleared: what was not used for long leaves it, and what no longer fits; nothing that is needed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from bigmodel.core import limits
from bigmodel.data.prepare import FACTS, encoded_folder

TRASH_PREFIX = ".removed-"


def evict(cache: Path, needed: Callable[[], set[str]]) -> list[str]:
    """Remove what was not used for `limits.ENCODED_SECONDS`, then the longest unused while all are more than
    `limits.ENCODED_BYTES`; the names of what has gone.

    What was used within `limits.ENCODED_REST` stays, as somebody may be reading it, and so does what `needed()` names;
    that is asked only where something could go. All of it can be made again from its data.
    """
    now = time.time()
    _remove_leftovers(cache, now)
    known = sorted(
        (_last_used(folder), folder) for folder in encoded_folder(cache).glob("[!.]*") if (folder / FACTS).exists()
    )
    sizes = {folder: _folder_bytes(folder) for _last, folder in known}
    room = limits.ENCODED_BYTES - sum(sizes.values())
    keep: set[str] | None = None
    gone = []
    for last, folder in known:  # the longest unused first
        age = now - last
        if age <= limits.ENCODED_MIN_AGE_SECONDS or (room >= 0 and age <= limits.ENCODED_MAX_AGE_SECONDS):
            break
        keep = needed() if keep is None else keep
        if folder.name not in keep and _remove(folder, last):
            room += sizes[folder]
            gone.append(folder.name)
    return gone


def _remove_leftovers(cache: Path, now: float) -> None:
    """Of an encoding or a clearing that was killed."""
    for folder in encoded_folder(cache).glob(".*"):
        if folder.name.startswith(TRASH_PREFIX) or now - _last_modified(folder) > limits.ENCODED_MIN_AGE_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path, last: float) -> bool:
    """Renamed away first, so that nothing half deleted ever bears the name; put back where somebody has taken it up at
    this very moment."""
    away = folder.with_name(f"{TRASH_PREFIX}{folder.name}")
    try:
        folder.rename(away)
        if _last_used(away) != last:
            away.rename(folder)
            return False
    except OSError:  # open, where a system does not let go of that
        return False
    shutil.rmtree(away, ignore_errors=True)
    return True


def _last_used(folder: Path) -> float:
    """When it was last used, or made."""
    return (folder / FACTS).stat().st_mtime


def _last_modified(folder: Path) -> float:
    """When something in it was last written."""
    try:
        return max(file.stat().st_mtime for file in (folder, *folder.iterdir()))
    except OSError:  # gone by now: it was renamed
        return time.time()


def _folder_bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())
