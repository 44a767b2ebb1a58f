"""One side of a comparison in a process of its own: made ready once, measured whenever it is asked to.

Threads, allocators and autocast of one side never meet those of the other, and each side pays for its imports once.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
CHILD = f"from {__name__} import child; child()"
PAUSE = 0.3  # seconds before each turn, in which threads of the other side that spin come to rest
INSTALL = "pip install -r requirements-bench.txt"


class Missing(Exception):
    """A peer that is not installed. Said in the row, never passed over."""

    def __init__(self, name: str):
        self.name = name
        super().__init__(f"not measured: {name} is missing, {INSTALL}")


class Failed(Exception):
    """A side that ended before it had a result; says the last line of what it wrote."""


def peer(name: str) -> Any:
    """A library that only benchmarks need, imported; Missing where it is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise Missing(name.split(".")[0]) from error


class Side:
    """A process that measures. `place` is 'module:function'; the function gets the arguments, makes everything ready
    and returns what measures once and gives back a dict of JSON."""

    def __init__(self, place: str, environment: Mapping[str, str] | None = None, /, **arguments: object):
        self.place = place
        self.log = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `close`
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", CHILD, place, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
                "HF_HUB_OFFLINE": "1",
                **(environment or {}),
            },
        )
        self.ready = False

    def wait(self) -> None:
        """Until it is ready to measure, so that nobody is measured while another loads its libraries."""
        if not self.ready:
            self._answer()
            self.ready = True

    def measure(self) -> dict:
        self.wait()
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()
        self.log.close()

    def _answer(self) -> dict:
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"{self.place} ended: {self._last_line()}")
        answer = json.loads(line)
        if "missing" in answer:
            raise Missing(answer["missing"])
        return answer

    def _last_line(self) -> str:
        self.process.wait()  # it has closed its pipe and is about to say why
        self.log.seek(0)
        text = self.log.read().decode("utf-8", "replace").strip()
        return text.rpartition("\n")[2] or "it said nothing"

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


Found = dict[str, list[dict] | Missing]


def alternate(sides: Mapping[str, Side], rounds: int) -> Found:
    """What each side measured, in turns: A B A B. A side that is not installed is given back as Missing."""
    found: Found = {}
    with ExitStack() as stack:
        for side in sides.values():
            stack.enter_context(side)
        for name, side in sides.items():
            try:
                side.wait()
                found[name] = []
            except Missing as missing:
                found[name] = missing
        for _round in range(rounds):
            for name, values in found.items():
                if isinstance(values, list):
                    time.sleep(PAUSE)
                    values.append(sides[name].measure())
    return found


def main(arguments: Sequence[str]) -> None:
    """The side's own process: what libraries print goes to the log, answers to the pipe."""
    place, given = arguments
    with os.fdopen(os.dup(1), "wb", buffering=0) as answers:
        os.dup2(2, 1)
        try:
            module, _, function = place.partition(":")
            measure: Callable[[], dict] = getattr(importlib.import_module(module), function)(**json.loads(given))
        except Missing as missing:
            answers.write(json.dumps({"missing": missing.name}).encode() + b"\n")
            return
        answers.write(b"{}\n")
        for _go in sys.stdin:
            answers.write(json.dumps(measure()).encode() + b"\n")


def child() -> None:
    """`main` with its last words in the log."""
    try:
        main(sys.argv[1:])
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}", file=sys.stderr, flush=True)
        os._exit(1)
    sys.stderr.flush()
    os._exit(0)  # some libraries take long to leave
