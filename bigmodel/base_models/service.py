"""The base models of a home folder as people handle them: suggested, looked up on the Hub, fetched, deleted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from bigmodel.base_models import store, suggestions
from bigmodel.base_models.fetch_process import FetchProcess
from bigmodel.base_models.store import Base
from bigmodel.base_models.suggestions import Suggestion
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import _


class BaseModelService:
    """What can be fine-tuned, and what is being fetched to be fine-tuned, for all sessions of a server."""

    def __init__(
        self,
        home: Path,
        refuse_read_only: Callable[[], None],
        unfinished_runs: Callable[[], Mapping[str, RunSpec]],
        get_model: Callable[[str], Model],
        allowed_roots: Callable[[], Iterable[Path]],
    ):
        self.home, self._refuse_read_only, self._unfinished_runs = home, refuse_read_only, unfinished_runs
        self._get_model, self._allowed_roots = get_model, allowed_roots
        self._fetches: dict[str, FetchProcess] = {}
        self._lock = threading.Lock()

    def all(self, head: str = "") -> list[Base]:
        """What people brought, newest first, and what is included."""
        return [base for base in store.list_bases(self.home).values() if head in ("", *base.heads)]

    def get(self, name: str) -> Base:
        """Refusal where there is none."""
        return store.get_base(self.home, name)

    def suggestions(self, task: Task) -> list[tuple[Suggestion, str]]:
        """(model of the Hub, how it can be trained with the memory that is free: 'full', 'lora' or '')."""
        return suggestions.suggestions_for(task, _free_memory())

    def training_method(self, parameters: int) -> str:
        """How a model of this size can be trained with the memory that is free: 'full', 'lora' or ''."""
        return suggestions.training_method(parameters, _free_memory())

    def look_up(self, id: str, revision: str = "") -> FetchProcess:
        """Ask the Hub about a model; `outcome()['offer']` has its size, licence, languages and revision. Without one that
        of the suggestion, else the newest."""
        request = {"kind": "look", "source": id, "revision": revision or suggestions.revision_of(id)}
        return FetchProcess(self.home, request)

    def fetch(self, source: str, revision: str = "", trusted: bool = False, base: str = "") -> FetchProcess:
        """Fetch a model of the Hub by its id, or import one from a folder, a GGUF file or a run ('run:ID') of this
        machine. Works in a process of its own; `outcome()['base']` has its name. `trusted`: from any folder.
        `base`: the base model that an adapter belongs to. The same source twice at one time is one process."""
        self._refuse_read_only()
        with self._lock:
            process = self._fetches.get(source)
            if process is None or not process.running:
                process = self._fetches[source] = FetchProcess(
                    self.home, self._request(source, revision, trusted) | {"base": base}
                )
            return process

    def fetch_of(self, source: str) -> FetchProcess | None:
        """The newest fetch of a source, until it is forgotten."""
        return self._fetches.get(source)

    def running_fetches(self) -> list[FetchProcess]:
        return [process for process in list(self._fetches.values()) if process.running]

    def forget_fetch(self, source: str) -> None:
        """Its end has been taken note of."""
        process = self._fetches.get(source)
        if process is not None and not process.running:
            self._fetches.pop(source, None)

    def _request(self, source: str, revision: str, trusted: bool) -> dict:
        path = Path(source).expanduser()
        if source.startswith("run:"):
            model = self._get_model(source.removeprefix("run:"))
            return {"kind": "folder", "source": str(model.folder), "roots": [str(model.folder.parent)], "own": True,
                    "title": str(model.title), "from": source}  # fmt: skip
        is_path = source.startswith(("/", "~", ".")) or path.suffix == ".gguf" or path.is_absolute()
        if is_path or (trusted and path.is_dir()):
            path = path.absolute()
            roots = [path if path.is_dir() else path.parent] if trusted else self._allowed_roots()
            kind = "gguf" if path.suffix == ".gguf" else "folder"
            return {"kind": kind, "source": str(path), "roots": [str(root) for root in roots]}
        return {"kind": "hub", "source": source, "revision": revision or suggestions.revision_of(source)}

    def delete(self, name: str) -> None:
        """Refused while a run that has not come to its end begins with it."""
        self._refuse_read_only()
        for run, spec in self._unfinished_runs().items():
            if spec.settings.get("base") == name:
                what = _("The run {run} needs this base model.", run=run)
                raise Refusal(what, do=_("Stop it first."), field="base")
        store.remove(self.home, name)


def _free_memory() -> int:
    import psutil

    return psutil.virtual_memory().available
