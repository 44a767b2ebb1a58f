"""The sandbox: strangers' files are read in a child process whose memory, computing and time are bounded."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from bigmodel.core import child_process, limits
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

PREVIEW_SECONDS = 30.0  # for a first look, the start of the process among them
STALL_SECONDS = 180.0  # without any headway
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}


def run_in_sandbox(
    request: Mapping,
    tell: Callable[[dict], None] = lambda progress: None,
    cancelled: threading.Event | None = None,
    seconds: float = 0.0,
    log: Path | None = None,
) -> dict:
    """The child's result. Refusal for what it refuses, when it dies, makes no headway, or needs more than `seconds`."""
    try:
        return child_process.call(
            "bigmodel.importing.sandbox_worker", request, tell, cancelled,
            log=log, seconds=seconds, stall_seconds=STALL_SECONDS, environment=ENVIRONMENT,
        )  # fmt: skip
    except child_process.TimedOut as late:
        what = _(
            "Reading this file takes too long: it was stopped after {seconds} seconds.", seconds=round(late.seconds)
        )
        raise Refusal(what, do=_("Give a smaller part of it, or another format.")) from None
    except child_process.Died as died:
        raise _death_refusal(died) from None


def memory_refusal() -> Refusal:
    what = _("The file needs more than {maximum} MB of memory when it is opened.", maximum=limits.CHILD_BYTES // 2**20)
    why = _("Files from others may have so much, so that none of them can stop this machine.")
    return Refusal(what, why, _("Give it in smaller parts, or as JSON lines or CSV, which are read piece by piece."))


def cpu_seconds(source_bytes: int) -> int:
    """That a file of this size may be computed on."""
    relative = limits.CHILD_CPU_SECONDS + limits.CHILD_CPU_SECONDS_A_MB * (source_bytes // 2**20)
    return min(relative, limits.CHILD_CPU_SECONDS_IN_ALL)


def _work_refusal() -> Refusal:
    what = _("The file needs more computing than files of its size may: it was stopped.")
    why = _("They may have {seconds} s and {rate} s for each MB, {maximum} s in all.", seconds=limits.CHILD_CPU_SECONDS,
            rate=limits.CHILD_CPU_SECONDS_A_MB, maximum=limits.CHILD_CPU_SECONDS_IN_ALL)  # fmt: skip
    return Refusal(what, why, _("Give a smaller part of it, or another format."))


def _death_refusal(died: child_process.Died) -> Refusal:
    if died.out_of_memory:
        return memory_refusal()
    if died.code == -getattr(signal, "SIGXCPU", 0):
        return _work_refusal()
    if died.code >= 0:
        what = _("Something went wrong in bigmodel itself while reading this file.")
        return Refusal(what, do=_("The log has the details: {file}.", file="imports.log"))
    what = _("This file brought the process that read it to its end (signal {signal}).", signal=-died.code)
    return Refusal(what, _("It is damaged, or made to do that. Nothing else was touched."), _("Give another file."))
