"""Memory that a step frees is kept for the next one. glibc gives tensors of megabytes back to the system as soon as they are
freed, and each page of the next ones has to be asked for and cleared anew: up to a third of a step on the CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TRIM, MMAP = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of mallopt(3), in bytes
ALL = 2**31 - 1  # the largest that mallopt takes
SETTLED = {MMAP: 32 * 2**20, TRIM: 64 * 2**20}  # where glibc's own thresholds end up after large tensors


@contextmanager
def kept() -> Iterator[None]:
    """Within, freed memory stays with the process; afterwards what is unused goes back. Where the C library is not glibc
    nothing is changed."""
    _set({MMAP: ALL, TRIM: ALL})
    try:
        yield
    finally:
        _set(SETTLED)
        give_back()


def give_back() -> None:
    """What is unused goes back to the system now, as after something large that is done once."""
    if library := _glibc():
        library.malloc_trim(0)


def _set(thresholds: dict[int, int]) -> None:
    if library := _glibc():
        for name, size in thresholds.items():
            library.mallopt(name, size) or library.mallopt(name, SETTLED[name])  # before glibc 2.35 not more than that


@cache
def _glibc() -> Any:
    """None where there is another C library, such as musl, or another system."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
