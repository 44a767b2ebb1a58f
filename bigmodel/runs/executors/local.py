"""Workers as processes of this machine, each in a session of its own."""

from __future__ import annotations

import signal
from pathlib import Path

from bigmodel.core.child_process import Process, start
from bigmodel.core.words import Words, _

WORKER = "bigmodel.runs.worker"
CRASH_SIGNALS = [getattr(signal, name, 0) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")]


class WorkerProcess:
    """A worker with a run."""

    def __init__(self, process: Process):
        self._process = process

    def exit_reason(self) -> Words | None:
        code = self._process.poll()
        return None if code is None else cause(code)


class LocalExecutor:
    """Starts processes."""

    def start(self, folder: Path) -> WorkerProcess:
        return WorkerProcess(start(WORKER, str(folder), log=folder / "log.txt", survive=True, preloaded=True))


def cause(code: int) -> Words:
    """Why a process that wrote no last word has ended."""
    if code == -getattr(signal, "SIGKILL", 9):
        return _(
            "The training process was killed from outside, most often because the memory was used up. "
            "A smaller batch size or network needs less."
        )
    if -code in CRASH_SIGNALS:
        return _("The training process crashed inside a library (signal {signal}).", signal=-code)
    if code < 0:
        return _("The training process was ended from outside (signal {signal}).", signal=-code)
    return _("The training process ended without a word (exit code {code}).", code=code)
