"""A server of bigmodel to be killed: the app itself, or only its front desk, with something switched off if asked."""

from __future__ import annotations

import json
import os
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bigmodel.core.errors import Refusal
from bigmodel.runs.folder import Folder
from bigmodel.runs.lock import Lock
from bigmodel.studio import Studio

APP = Path(__file__).resolve().parents[2] / "app.py"


@contextmanager
def _replaced(thing: Any, name: str, value: Any) -> Iterator[None]:
    real = getattr(thing, name)
    setattr(thing, name, value)
    yield
    setattr(thing, name, real)


@contextmanager
def _blind() -> Iterator[None]:
    """Looks at another file than the one that the worker has locked."""
    with (
        _replaced(Folder, "alive", lambda _self: False),
        _replaced(Folder, "lock", lambda self: Lock(self.path / "another")),
    ):
        yield


def _taken(self: Lock, wait: float = 0.0) -> bool:
    self._file = self._file or os.open(os.devnull, os.O_RDONLY)
    return True


SWITCHES: Mapping[str, Callable[[], AbstractContextManager]] = {
    "": nullcontext,
    "the lock of the run": _blind,
    "the lock itself": lambda: _replaced(Lock, "acquire", _taken),
}


def main(arguments: list[str]) -> None:
    kind, home, port, off = arguments
    os.environ |= {"BIGMODEL_HOME": home, "BIGMODEL_PREFETCH": "0", "BIGMODEL_NO_TOKEN": "1"}
    with SWITCHES[off]():
        app(port) if kind == "app" else desk(Path(home))


def app(port: str) -> None:
    sys.argv = [
        "streamlit",
        "run",
        str(APP),
        f"--server.port={port}",
        "--server.headless=true",
        "--server.address=127.0.0.1",
    ]
    runpy.run_module("streamlit", run_name="__main__", alter_sys=True)


def desk(home: Path) -> None:
    """Commands from stdin, one JSON list a line; what came of it, one JSON object a line."""
    studio = Studio(home)
    studio.serve()
    print(json.dumps({"read_only": studio.read_only}), flush=True)
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            result = studio.read_only if verb == "read_only" else getattr(studio.runs, verb)(*arguments)
            print(json.dumps({"result": result if isinstance(result, str | bool) else len(result or ())}), flush=True)
        except Refusal as refusal:
            print(json.dumps({"refused": refusal.say("en")}), flush=True)
    studio.close()


if __name__ == "__main__":
    main(sys.argv[1:])
