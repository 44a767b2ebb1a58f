"""The process that fetches, converts and takes in: `python -m bigmodel.base_models.fetch_process HOME REQUEST`.

A process of its own, so that it can be ended at any moment and no broken file takes the pages with it. It writes JSON
lines: {"phase", "done", "total"} while it works, and last {"base"} | {"offer"} | {"error"}.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from bigmodel.base_models import gguf, hub, store
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _

ROOT = Path(__file__).parents[2]
PROGRESS_SECONDS = 0.2


def main(arguments: list[str]) -> int:
    home, request = Path(arguments[0]), json.loads(arguments[1])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # who is cancelled clears away what it has half made
    try:
        store.remove_stale_folders(home)
        hub.remove_stale_downloads(home)
        print(json.dumps(_handle_request(home, request)), flush=True)
    except Refusal as refusal:
        print(json.dumps({"error": refusal.to_json()}), flush=True)
    except Exception as error:
        print(json.dumps({"error": _as_refusal(error).to_json()}), flush=True)
    return 0


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(_("The disk is full."), do=_("Free some space and try again."))
    traceback.print_exc()
    what = _("Something went wrong in bigmodel itself ({kind}).", kind=type(error).__name__)
    return Refusal(what, _("The system says: {reason}.", reason=str(error)[:200]))


def _handle_request(home: Path, request: Mapping) -> dict:
    kind, source = request["kind"], request["source"]
    roots = [Path(root) for root in request.get("roots", ())]
    if kind == "look":
        offer = hub.model_info(source, request.get("revision", ""))
        return {"offer": offer.to_json(), "arrived": hub.downloaded_bytes(home, offer)}
    if kind == "hub":
        return {"base": hub.fetch(home, source, request.get("revision", ""), _report_progress).name}
    if kind == "gguf":
        return {"base": gguf.import_gguf(home, Path(source), roots, request.get("name", ""), _report_progress).name}
    folder = Path(source)
    base = store.import_folder(
        home, folder, roots, title=request.get("title") or folder.name, source=request.get("from", f"folder: {folder.name}"),
        name=request.get("name", ""), licence=request.get("licence", ""), own=bool(request.get("own")),
        tell=lambda done, total: _report_progress("copying", done, total),
    )  # fmt: skip
    return {"base": base.name}


_last_report = [0.0]


def _report_progress(phase: str, done: int, total: int) -> None:
    now = time.monotonic()
    if now - _last_report[0] >= PROGRESS_SECONDS or done >= total:
        _last_report[0] = now
        print(json.dumps({"phase": phase, "done": done, "total": total}), flush=True)


class FetchProcess:
    """One such process, looked at from outside. Needs no heavy library."""

    def __init__(self, home: Path, request: Mapping, log: Path | None = None):
        self.request, self.progress, self.result = dict(request), {"phase": "starting", "done": 0, "total": 0}, {}
        self.started: tuple[float, int] | None = None  # when the first bytes came, and how many were there already
        home.mkdir(parents=True, exist_ok=True)
        errors = (log or home / "bases.log").open("ab")
        environment = os.environ | {"PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "bigmodel.base_models.fetch_process", str(home), json.dumps(dict(request))],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment, cwd=ROOT,
        )  # fmt: skip
        errors.close()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        for line in self.process.stdout:
            told = json.loads(line)
            if "phase" in told:
                self.progress = told
                if self.started is None and told["phase"] == "fetching":
                    self.started = time.monotonic(), told["done"]
            else:
                self.result = told
        self.process.wait()

    @property
    def running(self) -> bool:
        return self.listener.is_alive()

    @property
    def rate(self) -> float:
        """Bytes a second since the first came; 0 before that is known."""
        if self.started is None or (seconds := time.monotonic() - self.started[0]) < 1:
            return 0.0
        return max(self.progress["done"] - self.started[1], 0) / seconds

    def cancel(self) -> None:
        """What has arrived stays, so that it can be gone on from."""
        if self.process.poll() is None:
            self.process.terminate()
        self.result = self.result or {"cancelled": True}

    def wait(self, look: Callable[[Mapping], None] = lambda news: None) -> dict:
        """The result; Refusal where there is none. `look` is told the news as they come."""
        for news in self._progress_updates():
            look(news)
        return self.outcome()

    def _progress_updates(self) -> Iterator[Mapping]:
        while self.running:
            self.listener.join(0.2)
            yield self.progress

    def outcome(self) -> dict:
        if "error" in self.result:
            raise Refusal.from_json(self.result["error"])
        if not self.result:
            what = _("Fetching ended unexpectedly.")
            raise Refusal(what, _("Most often the memory was not enough."), _("Try again, or a smaller model."))
        return self.result


__all__ = ["FetchProcess"]

if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
