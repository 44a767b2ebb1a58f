"""Rows 6 and 11: the web server is killed while a run goes on; several servers work on one home folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.reliability.row import Outcome, Row
from benchmarks.reliability.trial import home, spec
from bigmodel.core.events import INTERRUPTED, RUNNING, STARTING, STOPPED
from bigmodel.runs.folder import Folder
from bigmodel.runs.lock import is_held
from bigmodel.runs.store import Store
from bigmodel.studio import Studio

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
SHOWN_SECONDS = 3.0  # after the server answers
MORE_STEPS = 5  # that a run takes while nobody serves it
SERVERS = 3
switched_off = [""]


def _server(kind: str, place: Path, port: int = 0) -> subprocess.Popen:
    command = [
        sys.executable,
        "-P",
        "-m",
        "benchmarks.reliability.server",
        kind,
        str(place),
        str(port),
        switched_off[0],
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with (place.parent / "server.log").open("ab") as log:
        pipes = {"stdin": subprocess.PIPE, "stdout": log if kind == "app" else subprocess.PIPE, "stderr": log}
        return subprocess.Popen(command, cwd=place.parent, env=environment, start_new_session=True, **pipes)


@contextmanager
def without(name: str) -> Iterator[None]:
    switched_off[0] = name
    yield
    switched_off[0] = ""


def _until(what, seconds: float = PATIENCE) -> float | None:
    """Seconds until it was true; None where it never was."""
    begun = time.monotonic()
    while not what():
        if time.monotonic() - begun > seconds:
            return None
        time.sleep(0.02)
    return time.monotonic() - begun


# -- row 6 -------------------------------------------------------------------------------------------
def killed(trials: int, place: Path) -> Outcome:
    """One run; the server that started it, and each that comes after, is killed."""
    outcome, starts, shown = Outcome(), [], []
    studio = Studio(home(place / "home", place / "cache").home)
    run = studio.runs.launch(spec("cnn", epochs=10_000, eval_every=1_000_000))
    folder, port = studio.runs.folder(run), _free_port()
    server = _server("app", studio.home, port)
    try:
        if not outcome.expect(
            _until(lambda: studio.runs.get(run).step > MORE_STEPS) is not None, "the run does not begin"
        ):
            outcome.trials = trials
            return outcome
        for number in range(trials):
            outcome.trials += 1
            where = f"kill {number + 1}"
            server.kill(), server.wait()
            step = studio.runs.get(run).step
            goes_on = _until(lambda step=step: studio.runs.get(run).step > step + MORE_STEPS)
            outcome.expect(goes_on is not None, f"{where}: the run stands still without a server")
            begun = time.monotonic()
            server = _server("app", studio.home, port)
            answers = _until(lambda: _answers(port) and is_held(studio.runs.server_lock))
            starts.append(time.monotonic() - begun)
            step = studio.runs.get(run).step
            seconds = _until(lambda step=step: _indexed(studio.runs, run) > step)
            if not outcome.expect(answers is not None and seconds is not None, f"{where}: the run is not shown again"):
                continue
            shown.append(seconds)
            outcome.expect_within(seconds, SHOWN_SECONDS, f"{where}: shown again after {seconds:.1f} s")
            for wrong in _doubled(folder):
                outcome.fail(f"{where}: {wrong}")
    finally:
        folder.request_stop()
        ended = _until(lambda: studio.runs.get(run).has_ended)
        server.terminate(), server.wait()
        _end(folder)
    outcome.expect(
        ended is not None and studio.runs.get(run).state == STOPPED, f"stopped, the run is {studio.runs.get(run).state}"
    )
    outcome.worst = f"shown again {max(shown, default=0):.2f} s after the server answers"
    outcome.note = (
        f"the app itself, started again in {max(starts, default=0):.1f} s at most; shown: a step newer than the kill is in "
        "the index that pages read; what a browser draws is in the tests of the pages"
    )
    return outcome


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=2) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _indexed(store: Store, run: str) -> int:
    row = store.index.row(run)
    return row.load_facts()["step"] if row else 0


def _doubled(folder: Folder) -> list[str]:
    """A second worker, a death that was none, or a hole in the curve."""
    events = [event for _at, event in folder.events()]
    states = [event["state"] for event in events if event.kind == "state"]
    wrong = [f"{states.count(state)} times {state}" for state in (STARTING, RUNNING) if states.count(state) != 1]
    wrong += ["declared dead"] if INTERRUPTED in states else []
    wrong += [] if folder.alive() else ["nobody trains it"]
    steps = [event["step"] for event in events if event.kind == "step"]
    every = next((event["log_every"] for event in events if event.kind == "plan"), 1)
    expected = [1, *range(every, steps[-1] + 1, every)] if every > 1 else list(range(1, steps[-1] + 1))
    return wrong + ([] if steps == expected else ["the curve has a hole, or a step twice"])


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _end(folder: Folder) -> None:
    """A worker that did not hear the stop, found by the lock that it holds on the run's folder."""
    for number in Path("/proc").glob("[0-9]*"):
        try:
            command = (number / "cmdline").read_bytes().decode().split("\0")
        except OSError:  # it has just ended
            continue
        if "bigmodel.runs.worker" in command and str(folder.path) in command:
            os.kill(int(number.name), signal.SIGKILL)


# -- row 11 ------------------------------------------------------------------------------------------
def several(trials: int, place: Path) -> Outcome:
    outcome, slowest = Outcome(), 0.0
    for number in range(trials):
        outcome.trials += 1
        store = home(place / f"home-{number}", place / "cache")
        servers = [_server("desk", store.home) for _one in range(SERVERS)]
        try:
            slowest = max(slowest, _judge(servers, store, f"trial {number + 1}", outcome))
        finally:
            for server in servers:
                server.kill(), server.wait()
    outcome.worst = f"the next takes over {slowest:.2f} s after the first was killed"
    outcome.note = f"{SERVERS} servers started at the same moment"
    return outcome


def _judge(servers: list[subprocess.Popen], store: Store, where: str, outcome: Outcome) -> float:
    read_only = {server: json.loads(server.stdout.readline())["read_only"] for server in servers}
    masters = [server for server in servers if not read_only[server]]
    if not outcome.expect(len(masters) == 1, f"{where}: {len(masters)} servers work on the home"):
        return 0.0
    wanted = spec("cnn", max_steps=3).to_json()
    run = _ask(masters[0], "launch", wanted, "one")["result"]
    for server in servers:
        if server is masters[0]:
            continue
        for command in (
            ("launch", wanted, "two"),
            ("stop", run),
            ("resume", run),
            ("delete", run),
            ("branch", run),
            ("rollback", run),
        ):
            said = _ask(server, *command).get("refused", "")
            outcome.expect(
                "Another bigmodel server works on" in said, f"{where}: {command[0]} is not refused: {said!r}"
            )
        outcome.expect(_ask(server, "all")["result"] == 1, f"{where}: the second may not even look")
    masters[0].kill(), masters[0].wait()
    begun = time.monotonic()
    left = [server for server in servers if server is not masters[0]]
    took = _until(lambda: sum(not _ask(server, "read_only")["result"] for server in left) == 1)
    outcome.expect(took is not None, f"{where}: nobody takes over")
    heir = next((server for server in left if not _ask(server, "read_only")["result"]), None)
    if heir is not None:
        again = _ask(heir, "launch", wanted, "one")["result"]
        outcome.expect(again == run and len(store.ids()) == 1, f"{where}: the run is doubled")
        _ask(heir, "stop", run)
        _until(lambda: store.get(run).has_ended)
    _end(Folder(store.runs_folder / run))
    return time.monotonic() - begun if took is None else took


def _ask(server: subprocess.Popen, *command: object) -> dict:
    server.stdin.write(json.dumps(command).encode() + b"\n")
    server.stdin.flush()
    return json.loads(server.stdout.readline())


KILLED = Row(
    number=6,
    injected="SIGKILL of the web server while a run goes on, then a new server",
    promise=f"the run goes on, is shown again within {SHOWN_SECONDS:.0f} s, none is doubled or declared dead, the curve "
    "has no hole",
    trials=10,
    run=killed,
    without={"the lock of the run": lambda: without("the lock of the run")},
    fewer=1,
)

SEVERAL = Row(
    number=11,
    injected="several servers started on one home folder, the one that works killed",
    promise="one works, the others may look and say so; another takes over; nothing is doubled",
    trials=10,
    run=several,
    without={"the lock itself": lambda: without("the lock itself")},
    fewer=1,
)
