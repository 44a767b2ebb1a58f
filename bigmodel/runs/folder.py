"""One run's folder: the truth about it, whoever works on it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from bigmodel.core import checked_json, events, files, limits
from bigmodel.core.checked_json import fields, is_count, is_number, is_scalar, is_text, object_of, optional
from bigmodel.core.errors import Refusal
from bigmodel.core.events import QUEUED, Event
from bigmodel.core.fields import Number
from bigmodel.core.spec import TRAINING_FIELDS, RunSpec
from bigmodel.core.words import _
from bigmodel.runs.lock import Lock, is_held
from bigmodel.runs.run import Facts, apply_event, empty_facts


class Folder:
    """Names what lies where. Nothing is kept in memory: several processes read and write the same folder."""

    def __init__(self, path: Path):
        self.path = path
        self.id = path.name
        self.spec_file = path / "spec.json"
        self.events_file = path / "events.jsonl"
        self.lock_file = path / "lock"
        self.log_file = path / "log.txt"
        self.stop_file = path / "stop"
        self.reserve_file = path / "reserve"
        self.model = path / "model"

    @property
    def home(self) -> Path:
        return self.path.parent.parent

    # -- what it is --------------------------------------------------------------------------------
    def spec(self) -> RunSpec:
        """As it was written, unchecked: a run whose data set is gone can still be looked at."""
        try:
            return parse_spec(checked_json.read(self.spec_file))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise unreadable(self.id, error) from error

    def facts(self) -> Facts:
        """What all its events say."""
        facts = empty_facts()
        for _offset, event in self.events():
            apply_event(facts, event)
        return facts

    def size(self) -> int:
        """Bytes of its events so far."""
        return os.stat(self.events_file).st_size

    def events(self, after: int = 0) -> Iterator[tuple[int, Event]]:
        return events.read(self.events_file, after)

    def has_model(self) -> bool:
        return (self.model / "bigmodel.json").exists()

    def log(self) -> str:
        """The tail of what the worker has written."""
        try:
            with self.log_file.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(size - limits.LOG_TAIL_BYTES, 0))
                text = file.read().decode("utf-8", errors="replace")
        except FileNotFoundError:
            return ""
        return text.split("\n", 1)[-1] if size > limits.LOG_TAIL_BYTES else text

    def trim_log(self) -> None:
        """A worker that floods its log must not fill the disk. It goes on appending; what it writes within these few
        milliseconds may be lost."""
        try:
            if os.stat(self.log_file).st_size <= limits.LOG_BYTES:
                return
            with self.log_file.open("rb") as file:
                file.seek(-limits.LOG_BYTES // 16, os.SEEK_END)
                newest = file.read()
            os.truncate(self.log_file, 0)
            with self.log_file.open("ab") as file:
                file.write(b"[bigmodel: the log had grown too long, earlier lines were cut off]\n" + newest)
        except FileNotFoundError:
            return

    # -- what happens to it ------------------------------------------------------------------------
    def append(self, event: Event) -> None:
        """One write. A line that was torn by a full disk is ended first, so that this one can be read."""
        file = os.open(self.events_file, os.O_RDWR | os.O_APPEND)
        try:
            size = os.lseek(file, 0, os.SEEK_END)
            os.lseek(file, max(size - 1, 0), os.SEEK_SET)
            whole = os.read(file, 1) in (b"\n", b"")
            os.write(file, event.line() if whole else b"\n" + event.line())
            os.fsync(file)  # a state outlives a power failure
        finally:
            os.close(file)

    def lock(self) -> Lock:
        """The lease of whoever works on it."""
        return Lock(self.lock_file)

    def alive(self) -> bool:
        return is_held(self.lock_file)

    def resume(self) -> None:
        """Back into the queue; what was asked before is over."""
        self.stop_file.unlink(missing_ok=True)
        self.append(Event("state", {"state": QUEUED}))

    def request_stop(self) -> None:
        self.stop_file.touch()

    def stop_requested(self) -> bool:
        return self.stop_file.exists()


def create_run_folder(path: Path, spec: RunSpec, first: Event, origin: Path | None = None) -> None:
    """A new run's folder, whole or not at all, on disk when this returns. `origin`: the checkpoint it begins with."""
    with files.staged(path, parent=path.parent.parent / "staging", lasting=True) as staging:
        if origin is not None:
            shutil.copytree(origin, staging / "origin", copy_function=files.link_or_copy)
        (staging / "spec.json").write_text(json.dumps(spec.to_json(), ensure_ascii=False, indent=1), "utf-8")
        (staging / "events.jsonl").write_bytes(first.line())


IS_SPEC = fields(
    {"task": is_text, "architecture": is_text, "dataset": is_text, "settings": object_of(is_scalar), "name": is_text,
     "version": is_count},
    {"parent": optional(fields({"run": is_text, "step": is_count})),
     "study": optional(fields({"study": is_text, "trial": is_count}))},
)  # fmt: skip


def parse_spec(data: object) -> RunSpec:
    """ValueError for what is none. Whether there is such a task, and such a value, is not asked."""
    if not isinstance(data, dict) or not IS_SPEC(data) or not _has_usual_settings(data["settings"]):
        raise ValueError("not the spec of a run")
    names = ("task", "architecture", "dataset", "settings", "name", "version")
    return RunSpec(**{name: data[name] for name in names}, parent=data.get("parent"), study=data.get("study"))


def _has_usual_settings(settings: Mapping) -> bool:
    """Whether those that every run has are numbers where numbers are computed with."""
    numbers = [field.name for field in TRAINING_FIELDS if isinstance(field, Number)]
    return all(is_number(settings[name]) for name in numbers if name in settings)


def unreadable(id: str, error: Exception) -> Refusal:
    what = _("The run {run} cannot be read.", run=id)
    return Refusal(what, why=_("The system says: {reason}.", reason=str(error)[:200]), field="run")
