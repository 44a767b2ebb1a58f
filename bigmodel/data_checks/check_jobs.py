"""Checks of data sets in the background: each in a process of its own, one at a time."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

from bigmodel.core import catalog, child_process, files
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import Job, JobQueue
from bigmodel.core.words import Words, _
from bigmodel.data_checks.run_checks import CheckReport, load_report


@dataclass(frozen=True)
class CheckProgress:
    """A data set is being checked, or waits for its turn. `share` from 0 to 1."""

    title: Words
    share: float


WAITING = CheckProgress(_("Waiting for another data set to be looked at"), 0.0)


class CheckJobs:
    """What is known of each data set, for all sessions of a server."""

    def __init__(self, cache: Path, home: Path, log: Path):
        self.cache, self.home, self.log = cache, home, log
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queue = JobQueue("bigmodel-lint")
        self._reports: dict[str, tuple[tuple, CheckReport]] = {}  # with the state of the file that it is about

    def state(self, name: str) -> CheckProgress | CheckReport | Refusal | None:
        """Its progress, or the report, or why there is none; None where nobody has asked."""
        job = self._jobs.get(name)
        if job is not None and job.running:
            progress = job.progress
            return CheckProgress(Words.from_json(progress["title"]), progress["share"]) if progress else WAITING
        return job.refusal if job is not None and job.refusal is not None else self._cached_report(name)

    def _cached_report(self, name: str) -> CheckReport | None:
        """Read once for each state of the file: pages ask each second."""
        data = catalog.dataset(name)
        status = data.path().stat()
        state = (data.name, status.st_mtime_ns, status.st_size)
        if name not in self._reports or self._reports[name][0] != state:
            report = load_report(data, self.cache)
            if report is None:
                return None
            self._reports[name] = state, report
        return self._reports[name][1]

    def begin(self, name: str) -> None:
        """Check a data set, unless that is under way."""
        catalog.dataset(name)
        with self._lock:
            if name not in self._jobs or not self._jobs[name].running:
                job = self._jobs[name] = Job()
                self._queue.put(job, lambda: self._check(job, name))

    def _check(self, job: Job, name: str) -> None:
        def tell(progress: dict) -> None:
            job.progress = progress

        request = {"name": name, "cache": str(self.cache), "home": str(self.home)}
        files.make_folder(self.log.parent)
        try:
            child_process.call(
                "bigmodel.data_checks.check_worker", request, tell, job.stop, log=self.log, preloaded=True
            )
        except child_process.Died:
            what = _("The process that looked at the rows ended unexpectedly.")
            raise child_process.death_refusal(what, _("Try again.")) from None

    def cancel(self, name: str) -> None:
        """End it, or take it out of the queue. What has been found is forgotten."""
        with self._lock:
            job = self._jobs.pop(name, None)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        for name in list(self._jobs):
            self.cancel(name)
