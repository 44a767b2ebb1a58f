"""New versions in the making: each in a sandbox process, in the background."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.data.sandbox import run_in_sandbox
from bigmodel.importing.import_jobs import DatasetJob
from bigmodel.importing.store import versions
from bigmodel.importing.store.registry import DatasetRegistry


class VersionJob(DatasetJob):
    """Steps that are applied to a data set. progress: rows done."""

    bug_words = _("Something went wrong in bigmodel itself while the new version was made."), _("Try again.")

    def __init__(self, dataset: str, steps: Sequence[Mapping], rows: int):
        super().__init__(rows)
        self.dataset, self.steps = dataset, steps

    def tell(self, progress: dict) -> None:
        self.progress = progress


class VersionJobs:
    """All that is being made in one home folder. `ready` is told the name of what is done."""

    def __init__(self, home: Path, ready: Callable[[str], None], refuse_read_only: Callable[[], None]):
        self.home, self.on_ready, self._refuse_read_only = home, ready, refuse_read_only
        self.jobs: dict[str, VersionJob] = {}
        self.lock = threading.Lock()

    def begin(self, dataset: str, steps: Sequence[Mapping], wait: bool = False) -> VersionJob:
        """Start to make a version. The same steps twice at one time are one job; others are refused."""
        self._refuse_read_only()
        (name, rows), steps = self._resolve_dataset(dataset), [versions.check_step(step) for step in steps]
        with self.lock:
            running = self.jobs.get(name)
            if running is not None and running.running:
                if list(running.steps) == steps:
                    return running
                what = _("A new version of this data set is being made already.")
                raise Refusal(what, do=_("Wait until it is done."), field="steps")
            job = self.jobs[name] = VersionJob(name, steps, rows)
        job.begin(self.home, lambda staging: self._derive(job, staging), self.on_ready, wait)
        return job

    def _derive(self, job: VersionJob, staging: Path) -> str:
        request = {"do": "derive", "home": str(self.home), "name": job.dataset, "steps": list(job.steps),
                   "folder": str(staging)}  # fmt: skip
        return run_in_sandbox(request, job.tell, job.stop, log=self.home / "imports.log")["name"]

    def derive(self, dataset: str, steps: Sequence[Mapping]) -> str:
        """The name of a new version with these steps applied, when it is done."""
        return self.begin(dataset, steps, wait=True).outcome()

    def _resolve_dataset(self, dataset: str) -> tuple[str, int]:
        """(the name of a version, or of what ships; how many rows it has)."""
        if dataset in catalog.datasets():
            return dataset, parquet_rows(catalog.dataset(dataset).path())
        version = DatasetRegistry(self.home).version(dataset)
        return version.name, sum(version.manifest["rows"].values())

    def close(self) -> None:
        for job in list(self.jobs.values()):
            job.cancel()


def parquet_rows(path: Path) -> int:
    import pyarrow.parquet as parquet

    return parquet.read_metadata(path).num_rows
