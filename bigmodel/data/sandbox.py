"""The sandbox: strangers' files are read in a child process whose memory and time are bounded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from bigmodel.core import child_process
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
        raise _crash_refusal(died.code) from None


def _crash_refusal(code: int) -> Refusal:
    if code >= 0:
        what = _("Something went wrong in bigmodel itself while reading this file.")
        return Refusal(what, do=_("The log has the details: {file}.", file="imports.log"))
    what = _("This file brought the process that read it to its end (signal {signal}).", signal=-code)
    return Refusal(what, _("It is damaged, or made to do that. Nothing else was touched."), _("Give another file."))
