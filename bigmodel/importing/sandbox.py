"""In front of the process in which strangers' files are read: starts it, hears it out, ends it when it takes too long."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

ROOT = Path(__file__).parents[2]  # the folder that holds the package
PREVIEW_SECONDS = 30.0  # for a first look, the start of the process among them
STALL_SECONDS = 180.0  # without any headway
POLL_SECONDS = 0.1


class Cancelled(Exception):
    """A person has stopped it."""


def run_in_sandbox(
    request: Mapping,
    tell: Callable[[dict], None] = lambda progress: None,
    cancelled: threading.Event | None = None,
    seconds: float = 0.0,
    log: Path | None = None,
) -> dict:
    """The child's result. Refusal for what it refuses, when it dies, makes no headway, or needs more than `seconds`."""
    process = _start(request, log)
    heard: queue.Queue = queue.Queue()
    threading.Thread(target=_read_replies, args=(process, heard), daemon=True).start()
    begun = moved = time.monotonic()
    last: dict = {}
    try:
        while True:
            if cancelled is not None and cancelled.is_set():
                raise Cancelled
            now = time.monotonic()
            if (seconds and now - begun > seconds) or now - moved > STALL_SECONDS:
                what = _("Reading this file takes too long: it was stopped after {seconds} seconds.",
                         seconds=round(now - begun))  # fmt: skip
                raise Refusal(what, do=_("Give a smaller part of it, or another format."))
            try:
                part = heard.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if part is None:
                raise _crash_refusal(process.wait())
            if "error" in part:
                raise Refusal.from_json(part["error"])
            if "result" in part:
                return part["result"]
            if part["progress"] != last:
                last, moved = part["progress"], time.monotonic()
                tell(last)
    finally:
        _end(process)


def _start(request: Mapping, log: Path | None) -> subprocess.Popen:
    places = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    settings = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(places)), "PYTHONIOENCODING": "utf-8",
                "OMP_NUM_THREADS": "1", "ARROW_DEFAULT_MEMORY_POOL": "system"}  # fmt: skip
    errors = log.open("ab") if log else subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bigmodel.importing.sandbox_worker"],
            cwd=ROOT, env=os.environ | settings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors,
        )  # fmt: skip
    finally:
        if log:
            errors.close()
    process.stdin.write(json.dumps(request).encode() + b"\n")
    process.stdin.flush()
    return process


def _read_replies(process: subprocess.Popen, heard: queue.Queue) -> None:
    for line in process.stdout:
        heard.put(json.loads(line))
    heard.put(None)


def _end(process: subprocess.Popen) -> None:
    process.kill()
    process.wait()
    process.stdin.close()
    process.stdout.close()


def _crash_refusal(code: int) -> Refusal:
    if code == 0 or code > 0:
        what = _("Something went wrong in bigmodel itself while reading this file.")
        return Refusal(what, do=_("The log has the details: {file}.", file="imports.log"))
    what = _("This file brought the process that read it to its end (signal {signal}).", signal=-code)
    return Refusal(what, _("It is damaged, or made to do that. Nothing else was touched."), _("Give another file."))
