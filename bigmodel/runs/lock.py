"""A lock kept by the kernel: who holds it is alive, whatever the clock or a process id says."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

RETRY_SECONDS = 0.01  # seconds between two tries of one who waits

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int, shared: bool) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

    def _unlock(file: int) -> None:
        os.lseek(file, 0, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(file: int, shared: bool) -> None:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)

    def _unlock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)


class Lock:
    """An exclusive lock on a file. The kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path):
        self.path = path
        self._file: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self, wait: float = 0.0) -> bool:
        """Whether it could be had within `wait` seconds. FileNotFoundError when its folder is gone."""
        if self.held:
            return True
        file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        until = time.monotonic() + wait
        while not _try_lock(file, shared=False):
            if time.monotonic() >= until:
                os.close(file)
                return False
            time.sleep(RETRY_SECONDS)
        self._file = file
        return True

    def release(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        _unlock(file)
        os.close(file)

    def __enter__(self) -> Lock:
        while not self.acquire(wait=60):
            continue
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def is_held(path: Path) -> bool:
    """Whether anybody holds the lock on `path`. Looks with a shared lock, so that lookers never see each other."""
    try:
        file = os.open(path, os.O_RDWR if sys.platform == "win32" else os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        if not _try_lock(file, shared=True):
            return True
        _unlock(file)
        return False
    finally:
        os.close(file)


def _try_lock(file: int, shared: bool) -> bool:
    try:
        _lock(file, shared)
    except (BlockingIOError, PermissionError):  # the second is how Windows says it
        return False
    return True
