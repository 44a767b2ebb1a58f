"""New versions on their way: each is made in a process of its own, beside everything else."""

from __future__ import annotations

import secrets
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.import_jobs import CANCELLED, DONE, FAILED, INCOMING, RUNNING
from bigmodel.importing.sandbox import Cancelled, run_in_sandbox
from bigmodel.importing.store import versions
from bigmodel.importing.store.registry import DatasetRegistry


@dataclass
class VersionJob:
    """Steps that are applied to a data set. name: of the new version, at the end."""

    id: str
    dataset: str
    steps: Sequence[Mapping]
    total: int  # rows
    done: int = 0
    state: str = RUNNING
    refusal: Refusal | None = None
    name: str = ""
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def fraction_done(self) -> float:
        return min(self.done / max(self.total, 1), 1.0)


class VersionJobs:
    """All that is being made in one home folder. `ready` is told the name of what is done."""

    def __init__(self, home: Path, ready: Callable[[str], None], refuse_read_only: Callable[[], None]):
        self.home, self.on_ready, self._refuse_read_only = home, ready, refuse_read_only
        self.jobs: dict[str, VersionJob] = {}
        self.lock = threading.Lock()

    def begin(self, dataset: str, steps: Sequence[Mapping], wait: bool = False) -> VersionJob:
        """Start to make a version. The same steps twice at one time are one job; others are refused."""
        self._refuse_read_only()
        (name, total), steps = self._resolve_dataset(dataset), [versions.check_step(step) for step in steps]
        with self.lock:
            running = self.running(name)
            if running is not None and list(running.steps) == steps:
                return running
            if running is not None:
                what = _("A new version of this data set is being made already.")
                raise Refusal(what, do=_("Wait until it is done."), field="steps")
            change = self.jobs[name] = VersionJob(secrets.token_hex(6), name, steps, total)
        thread = threading.Thread(target=self._work, args=(change,), name="bigmodel-change", daemon=True)
        thread.start()
        if wait:
            thread.join()
        return change

    def derive(self, dataset: str, steps: Sequence[Mapping]) -> str:
        """The name of a new version with these steps applied, when it is done."""
        job = self.begin(dataset, steps, wait=True)
        if job.refusal is not None:
            raise job.refusal
        return job.name

    def _resolve_dataset(self, dataset: str) -> tuple[str, int]:
        """(the name of a version, or of what ships; how many rows it has)."""
        if dataset in catalog.datasets():
            return dataset, parquet_rows(catalog.dataset(dataset).path())
        version = DatasetRegistry(self.home).version(dataset)
        return version.name, sum(version.manifest["rows"].values())

    def running(self, dataset: str) -> VersionJob | None:
        found = self.jobs.get(dataset)
        return found if found is not None and found.state == RUNNING else None

    def close(self) -> None:
        for change in list(self.jobs.values()):
            change.stop.set()

    def _work(self, change: VersionJob) -> None:
        staging = self.home / INCOMING / f"data-{secrets.token_hex(6)}"
        request = {"do": "derive", "home": str(self.home), "name": change.dataset, "steps": list(change.steps),
                   "folder": str(staging)}  # fmt: skip

        def tell(progress: Mapping) -> None:
            change.done = progress["done"]

        try:
            try:
                staging.mkdir(parents=True)
                change.name = run_in_sandbox(request, tell, change.stop, log=self.home / "imports.log")["name"]
                self.on_ready(change.name)
            finally:  # before anybody is told how it ended
                shutil.rmtree(staging, ignore_errors=True)
            change.state = DONE
        except Cancelled:
            change.state = CANCELLED
        except Refusal as refusal:
            change.refusal, change.state = refusal, FAILED
        except OSError as error:
            what = _("The data could not be written: {reason}.", reason=error.strerror or str(error))
            do = _("See that there is room on the disk, and try again.")
            change.refusal, change.state = Refusal(what, do=do), FAILED
        finally:
            if change.state == RUNNING:  # a fault of ours: the thread ends with its traceback in the log
                what = _("Something went wrong in bigmodel itself while the new version was made.")
                change.refusal, change.state = Refusal(what, do=_("Try again.")), FAILED


def parquet_rows(path: Path) -> int:
    import pyarrow.parquet as parquet

    return parquet.read_metadata(path).num_rows
