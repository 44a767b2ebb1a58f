"""Memory that a step frees is kept for the next one. glibc gives tensors of megabytes back to the system as soon as they are
freed, and each page of the next ones has to be asked for and cleared anew: up to a third of a step on the CPU."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD of mallopt(3), in bytes
MAX_THRESHOLD = 2**31 - 1  # the largest that mallopt takes
DYNAMIC_THRESHOLDS = {
    M_MMAP_THRESHOLD: 32 * 2**20,
    M_TRIM_THRESHOLD: 64 * 2**20,
}  # where glibc's own thresholds end up after large tensors


@contextmanager
def retain_freed_memory() -> Iterator[None]:
    """Within, freed memory stays with the process; afterwards what is unused goes back. Where the C library is not glibc
    nothing is changed."""
    _set_thresholds({M_MMAP_THRESHOLD: MAX_THRESHOLD, M_TRIM_THRESHOLD: MAX_THRESHOLD})
    try:
        yield
    finally:
        _set_thresholds(DYNAMIC_THRESHOLDS)
        trim()


def trim() -> None:
    """What is unused goes back to the system now, as after something large that is done once."""
    if library := _glibc():
        library.malloc_trim(0)


def _set_thresholds(thresholds: dict[int, int]) -> None:
    if library := _glibc():
        for name, size in thresholds.items():
            library.mallopt(name, size) or library.mallopt(
                name, DYNAMIC_THRESHOLDS[name]
            )  # before glibc 2.35 not more than that


@cache
def _glibc() -> Any:
    """None where there is another C library, such as musl, or another system."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
