"""Workers as processes of this machine, each in a session of its own."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path

from bigmodel.core.child_process import start, wait_or_kill
from bigmodel.core.words import Words, _

WORKER = "bigmodel.runs.worker"
CRASH_SIGNALS = [getattr(signal, name, 0) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")]
SPARE_RETRY_SECONDS = 30.0  # before another spare is tried when one has died by itself
SPARE_EXIT_SECONDS = 5.0  # in which a spare leaves; it has no run, so nothing is lost


class WorkerProcess:
    """A worker with a run."""

    def __init__(self, process: subprocess.Popen):
        self._process = process

    def exit_reason(self) -> Words | None:
        code = self._process.poll()
        return None if code is None else cause(code)


class LocalExecutor:
    """Starts processes. One spare has its libraries loaded before there is a run: it begins within a second."""

    def __init__(self, home: Path):
        self.home = home
        self._spare: subprocess.Popen | None = None
        self._last_attempt = -SPARE_RETRY_SECONDS

    def start(self, folder: Path) -> WorkerProcess:
        spare, self._spare = self._spare, None
        if spare is not None and _assign(spare, folder):
            return WorkerProcess(spare)
        log = folder / "log.txt"
        return WorkerProcess(start(WORKER, str(folder), log=log, survive=True))

    def prepare(self) -> None:
        if self._spare is not None and self._spare.poll() is None:
            return
        if time.monotonic() < self._last_attempt + SPARE_RETRY_SECONDS and self._spare is not None:
            return
        self._last_attempt = time.monotonic()
        log = self.home / "spare.log"
        log.write_bytes(b"")
        self._spare = start(WORKER, "--spare", log=log, stdin=subprocess.PIPE, survive=True)

    def close(self) -> None:
        """The spare sees its input end and leaves."""
        spare, self._spare = self._spare, None
        if spare is not None and spare.stdin:
            spare.stdin.close()
            wait_or_kill(spare, seconds=SPARE_EXIT_SECONDS)


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


def _assign(spare: subprocess.Popen, folder: Path) -> bool:
    """Whether the spare could be told; it may have died since it was started."""
    if spare.poll() is not None or spare.stdin is None:
        return False
    try:
        spare.stdin.write(f"{folder}\n".encode())
        spare.stdin.close()
    except OSError:  # a broken pipe: it died at this moment
        return False
    return True
