"""What watching costs: one run's speed with no server, with the server, and with 1 and 10 sessions on its page.

One worker trains throughout. What else runs changes in turns: the server is held still (SIGSTOP) where there is to be
none, so that the same process of the same run is measured under every condition.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median

from benchmarks.speed.report import compared, reached
from benchmarks.speed.side import PAUSE, ROOT, Failed
from benchmarks.speed.training import ENDLESS, cache
from bigmodel.core import child_process
from bigmodel.core.events import STARTING, Event
from bigmodel.runs.folder import Folder
from bigmodel.studio import Studio

NAME = "a watched run"  # by which sessions know that they see it
WINDOW = 6.0  # seconds of training under one condition
SETTLE = 1.5  # seconds before them, after what is watched has changed
START = 180.0  # seconds in which the run must have begun
CONDITIONS = {"no server": None, "server": 0, "1 session": 1, "10 sessions": 10}  # name -> sessions, None for no server
GOALS = {
    "server": ">= 0.99 (costs <= 1 %)",
    "1 session": ">= 0.99 (costs <= 1 %)",
    "10 sessions": ">= 0.95 (costs <= 5 %)",
}


def dashboard(
    rounds: int, window: float = WINDOW, conditions: Mapping[str, int | None] = CONDITIONS, **settings: object
) -> list[dict]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder = stack.enter_context(worker(place, **settings))
        process, address = stack.enter_context(server(place))
        found, redraws = {name: [] for name in conditions}, {}
        for _round in range(rounds):
            for name, sessions in conditions.items():
                with _still(process) if sessions is None else _watching(address, folder.id, sessions) as told:
                    time.sleep(SETTLE)
                    found[name].append(_speed(folder, window))
                redraws[name] = told
    return [_row(name, found, redraws[name]) for name in conditions if name != "no server"]


def _row(name: str, found: dict, told: dict) -> dict:
    note = "the same run in turns; the ratio is the median of those of each round"
    if told:
        note += f"; each session redrawn {told['redraws']:.2f} times a second, within {1000 * told['median']:.0f} ms"
    row = compared(
        f"training watched by {name}", found[name], "no server", found["no server"], "tokens/s", GOALS.get(name, "")
    )
    pairs = zip(found[name], found["no server"], strict=True)
    row |= {"ratio": median(one["rate"] / none["rate"] for one, none in pairs), "note": note, "reached": None}
    return row | {"reached": reached(row)}


# -- the run -------------------------------------------------------------------------------------------
@contextmanager
def worker(home: Path, **settings: object) -> Iterator[Folder]:
    """A run in a home of its own, trained by a worker that nobody but us has started; its data encoded already."""
    given = {"task": "text-generation", "architecture": "gpt", "dataset": "classics_en"}
    store = Studio(home).runs
    store.cache.symlink_to(_made(cache()), target_is_directory=True)
    studio = Studio(home)
    folder = studio.runs.folder(studio.runs.launch({**given, "name": NAME, "settings": {**ENDLESS, **settings}}))
    folder.append(Event("state", {"state": STARTING, "reason": None}))
    process = child_process.start("bigmodel.runs.worker", str(folder.path), log=folder.log_file, survive=True)
    try:
        until = time.monotonic() + START
        while not _steps(folder):
            if process.poll() is not None or time.monotonic() > until:
                raise Failed(f"the run did not begin: {folder.log()[-300:]}")
            time.sleep(0.1)
        yield folder
    finally:
        process.kill()
        process.wait()


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _steps(folder: Folder, after: int = 0) -> list[Event]:
    return [event for _offset, event in folder.events(after) if event.kind == "step"]


def _speed(folder: Folder, seconds: float) -> dict:
    """Units a second over the steps that are written down within the next seconds."""
    after, until = folder.size(), time.monotonic() + seconds
    time.sleep(seconds)
    found = _steps(folder, after)
    while len(found) < 3:  # a slow machine: two whole intervals at least
        if time.monotonic() > until + START:
            raise Failed("the run stands still")
        time.sleep(0.5)
        found = _steps(folder, after)
    first, last = found[0], found[-1]
    plan = next(event for _offset, event in folder.events() if event.kind == "plan")
    spec = folder.spec().settings
    units = (last["step"] - first["step"]) * spec["batch_size"] * spec["block_size"]
    rate = units / (last["seconds"] - first["seconds"])
    return {"rate": rate, "precision": plan["precision"], "threads": plan["threads"]}


# -- what else runs --------------------------------------------------------------------------------------
@contextmanager
def server(home: Path) -> Iterator[tuple[subprocess.Popen, str]]:
    """The app over that home; its process and address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    log = home / "server.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), f"--server.port={port}"],
            env={**os.environ, "BIGMODEL_HOME": str(home), "BIGMODEL_PREFETCH": "0", "BIGMODEL_NO_TOKEN": "1"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address, process, log)
        yield process, address
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(address: str, process: subprocess.Popen, log: Path, seconds: float = 90.0) -> None:
    until = time.monotonic() + seconds
    while process.poll() is None and time.monotonic() < until:
        try:
            urllib.request.urlopen(f"{address}/healthz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    raise Failed(f"the server did not start: {log.read_text('utf-8', 'replace')[-300:]}")


@contextmanager
def _still(process: subprocess.Popen) -> Iterator[dict]:
    process.send_signal(signal.SIGSTOP)
    try:
        yield {}
    finally:
        process.send_signal(signal.SIGCONT)
        time.sleep(PAUSE)


@contextmanager
def _watching(address: str, run: str, sessions: int) -> Iterator[dict]:
    """Sessions on the run's page while the block runs; what they saw is in the dict afterwards."""
    told: dict = {}
    if not sessions:
        yield told
        return
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.speed.sessions", address, "runs", f"run={run}", NAME, str(sessions)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            cwd=ROOT,
        )
        try:
            told |= _line(process, log)
            yield told
            process.stdin.close()
            told |= _line(process, log)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


def _line(process: subprocess.Popen, log) -> dict:
    line = process.stdout.readline()
    if line:
        return json.loads(line)
    process.wait()
    log.seek(0)
    raise Failed(f"the sessions ended: {log.read().decode('utf-8', 'replace').strip()[-1500:]}")
