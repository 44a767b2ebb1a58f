"""The process that fetches, converts and takes in: `python -m bigmodel.base_models.fetch_process`, a request on stdin.

A process of its own, so that it can be ended at any moment and no broken file takes the pages with it. Progress is
{"phase", "done", "total"}; the result {"base"} or {"offer", "arrived"}.
"""

from __future__ import annotations

import errno
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from bigmodel.base_models import gguf, hub, import_adapter, store
from bigmodel.core import child_process, files
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import Job
from bigmodel.core.words import _

PROGRESS_SECONDS = 0.2
GRACE_SECONDS = 5.0  # in which a cancelled process clears away what it has half made


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # who is cancelled clears away what it has half made
    return child_process.serve(_fetch, _explain)


def _fetch(request: dict, replies: child_process.Replies) -> dict:
    home = Path(request["home"])
    store.remove_stale_folders(home)
    hub.remove_stale_downloads(home)
    last_report = 0.0

    def tell(phase: str, done: int, total: int) -> None:
        nonlocal last_report
        now = time.monotonic()
        if now - last_report >= PROGRESS_SECONDS or done >= total:
            last_report = now
            replies.progress(phase=phase, done=done, total=total)

    return _handle_request(home, request, tell)


def _explain(error: Exception) -> Refusal:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Refusal(_("The disk is full."), do=_("Free some space and try again."))
    traceback.print_exc()
    what = _("Something went wrong in bigmodel itself ({kind}).", kind=type(error).__name__)
    return Refusal(what, _("The system says: {reason}.", reason=str(error)[:200]))


def _handle_request(home: Path, request: Mapping, tell: Callable[[str, int, int], None]) -> dict:
    kind, source = request["kind"], request["source"]
    roots = [Path(root) for root in request.get("roots", ())]
    if kind == "look":
        offer = hub.model_info(source, request.get("revision", ""))
        return {"offer": offer.to_json(), "arrived": hub.downloaded_bytes(home, offer)}
    known = store.list_bases(home).keys()
    base = _import(home, request, kind, roots, tell)
    return {"base": base.name, "already": base.name in known, "ignored": list(base.ignored)}


def _import(
    home: Path, request: Mapping, kind: str, roots: list[Path], tell: Callable[[str, int, int], None]
) -> store.Base:
    source, name = request["source"], request.get("name", "")
    if kind == "hub":
        return hub.fetch(home, source, request.get("revision", ""), tell)
    if kind == "gguf":
        return gguf.import_gguf(home, Path(source), roots, name, tell)
    folder = Path(source)
    if import_adapter.is_adapter(folder):
        return import_adapter.import_adapter(home, folder, roots, request.get("base", ""), tell)
    title = request.get("title") or _title(folder)
    return store.import_folder(
        home, folder, roots, title=title, source=request.get("from", f"folder: {folder.name}"),
        name=name, licence=request.get("licence", ""), own=bool(request.get("own")),
        tell=lambda done, total: tell("copying", done, total),
    )  # fmt: skip


def _title(folder: Path) -> str:
    """The folder's name; of one in a cache of the Hub (models--org--name) that of the model."""
    cache = folder.parent.parent if folder.parent.name == "snapshots" else folder
    return cache.name.removeprefix("models--").replace("--", "/") if cache.name.startswith("models--") else folder.name


class FetchProcess(Job[dict]):
    """One such process, as a job. Needs no heavy library."""

    def __init__(self, home: Path, request: Mapping):
        super().__init__()
        self.request = dict(request)
        self.progress = {"phase": "starting", "done": 0, "total": 0}
        self.first_bytes: tuple[float, int] | None = None  # when the first bytes came, and how many were there already
        files.make_folder(home)
        self.start(lambda: self._call(home), "bigmodel-fetch")

    def _call(self, home: Path) -> dict:
        try:
            return child_process.call(
                "bigmodel.base_models.fetch_process", {"home": str(home), **self.request}, self._tell, self.stop,
                log=home / "bases.log", grace_seconds=GRACE_SECONDS,
                environment={"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_XET": "1"},
            )  # fmt: skip
        except child_process.Died:
            what = _("Fetching ended unexpectedly.")
            raise child_process.death_refusal(what, _("Try again, or a smaller model.")) from None

    def _tell(self, progress: dict) -> None:
        self.progress = progress
        if self.first_bytes is None and progress["phase"] == "fetching":
            self.first_bytes = time.monotonic(), progress["done"]

    @property
    def rate(self) -> float:
        """Bytes a second since the first came; 0 before that is known."""
        if self.first_bytes is None or (seconds := time.monotonic() - self.first_bytes[0]) < 1:
            return 0.0
        return max(self.progress["done"] - self.first_bytes[1], 0) / seconds


if __name__ == "__main__":
    child_process.exit_process(main())
