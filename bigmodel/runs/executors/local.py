"""Workers as processes of this machine, each in a session of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bigmodel.core.cpu import thread_count
from bigmodel.core.words import Words, _

ROOT = Path(__file__).parents[3]  # the folder that holds the package
CRASH_SIGNALS = [getattr(signal, name, 0) for name in ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGFPE", "SIGILL")]
SPARE_RETRY_SECONDS = 30.0  # seconds before another spare is tried when one has died by itself


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
        with (folder / "log.txt").open("ab") as log:
            return WorkerProcess(spawn("bigmodel.runs.worker", str(folder), output=log))

    def prepare(self) -> None:
        if self._spare is not None and self._spare.poll() is None:
            return
        if time.monotonic() < self._last_attempt + SPARE_RETRY_SECONDS and self._spare is not None:
            return
        self._last_attempt = time.monotonic()
        with (self.home / "spare.log").open("wb") as log:
            self._spare = spawn("bigmodel.runs.worker", "--spare", output=log, stdin=subprocess.PIPE)

    def close(self) -> None:
        """The spare sees its input end and leaves."""
        spare, self._spare = self._spare, None
        if spare is not None:
            spare.stdin.close()
            _wait_for_exit(spare)


def spawn(module: str, *arguments: str, output, stdin: int = subprocess.DEVNULL) -> subprocess.Popen:
    """A process of ours that outlives the one that starts it: own session, own output."""
    flags = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP} if os.name == "nt" else {"start_new_session": True}
    command = [sys.executable, "-P", "-m", module, *arguments]  # -P: nothing is imported from the current folder
    return subprocess.Popen(
        command, stdin=stdin, stdout=output, stderr=subprocess.STDOUT, cwd=ROOT, env=_environment(), **flags
    )


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
    if spare.poll() is not None:
        return False
    try:
        spare.stdin.write(f"{folder}\n".encode())
        spare.stdin.close()
    except OSError:  # a broken pipe: it died at this moment
        return False
    return True


def _wait_for_exit(spare: subprocess.Popen) -> None:
    try:
        spare.wait(timeout=5)
    except subprocess.TimeoutExpired:  # it has no run, so nothing is lost
        spare.kill()
        spare.wait()


def _environment() -> dict[str, str]:
    """Ours, with the package findable from any folder and a sensible number of threads."""
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    settings = {
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(places)),
        "PYTHONUNBUFFERED": "1",
        "PYTHONIOENCODING": "utf-8",
    }
    return os.environ | settings | {"OMP_NUM_THREADS": thread_count()}
