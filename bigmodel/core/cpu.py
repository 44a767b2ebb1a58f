"""What a process computes with on the CPU: how many threads, of which processor."""

from __future__ import annotations

import os
import platform
from functools import cache


def thread_count() -> str:
    """All cores but one, which answers the browser; both of two, since training is what they are for. As an environment
    variable says it: of a run, and of what foretells it and answers from its model."""
    asked = os.environ.get("BIGMODEL_THREADS") or os.environ.get("OMP_NUM_THREADS")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or str(cores if cores <= 2 else cores - 1)


@cache
def cpu_name() -> str:
    """Its name as the system says it."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
