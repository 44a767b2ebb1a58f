"""The CPU: how many threads a process computes with, and the processor's name."""

from __future__ import annotations

import os
import platform
from functools import cache


def thread_count() -> str:
    """The OMP_NUM_THREADS of a worker, forecast or model process: all cores but one, which answers the browser; both of
    two."""
    asked = os.environ.get("BIGMODEL_THREADS") or os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or str(cores if cores <= 2 else cores - 1)


@cache
def cpu_name() -> str:
    """The model name that the system reports."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
