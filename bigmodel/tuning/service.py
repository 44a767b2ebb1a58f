"""What people do with studies: create, look, stop, let go on, delete, take the best. Loads no torch, and Optuna only where a study is read."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from bigmodel.core import child_process, files
from bigmodel.core.errors import Refusal
from bigmodel.core.events import LIVE, QUEUED
from bigmodel.core.jobs import Job, JobQueue
from bigmodel.core.spec import RunSpec
from bigmodel.core.words import Words, _
from bigmodel.runs import device
from bigmodel.runs.lock import Lock
from bigmodel.runs.service import RunService
from bigmodel.tuning.importance import MIN_TRIALS
from bigmodel.tuning.learning_rate_finder import RateCurve
from bigmodel.tuning.study import RUNNING, Study, StudyFolder, Trial, folders
from bigmodel.tuning.study_spec import StudySpec
from bigmodel.tuning.tuner import measure

MAX_KEPT = 50  # jobs whose results are kept


class TuningService:
    """The studies of a home folder. Whatever changes them calls `refuse_read_only` first; `wake` tells the tuner."""

    def __init__(self, runs: RunService, refuse_read_only: Callable[[], None], wake: Callable[[], None]):
        self.runs, self.root = runs, runs.home / "studies"
        self._refuse_read_only, self._wake = refuse_read_only, wake
        self._folders: dict[str, StudyFolder] = {}  # kept, as each has read its journal up to somewhere
        self._queue = JobQueue("bigmodel-tuning")
        self._jobs: dict[str, Job] = {}

    # -- written -----------------------------------------------------------------------------------
    def create(self, spec: Mapping | StudySpec, token: str = "") -> str:
        """Check the spec and write the study's folder, whole or not at all; its id. The same token twice is one study."""
        self._refuse_read_only()
        spec = replace(StudySpec.check(spec), created=time.time())
        device.check(str(spec.spec.settings["device"]))
        key = hashlib.sha256((token or secrets.token_hex(16)).encode()).hexdigest()[:8]
        with Lock(self.runs.launch_lock):
            again = next((id for id in folders(self.root) if id.endswith(key)), None)
            if again is not None:
                return again
            data = spec.spec.dataset.partition("@")[0]
            id = f"{time.strftime('%Y%m%d-%H%M%S')}-{spec.spec.architecture}-{data}-{key}"
            with files.staged(self.root / id, parent=self.runs.home / "staging", lasting=True) as staging:
                folder = StudyFolder(staging)
                folder.spec_file.write_text(json.dumps(spec.to_json(), ensure_ascii=False, indent=1), "utf-8")
                folder.create_journal(spec)
        self._wake()
        return id

    def stop(self, id: str) -> None:
        """No further trial begins; the one that is trained keeps its weights and ends."""
        self._refuse_read_only()
        if self.get(id).has_ended:
            what = _("The study {study} has ended already.", study=id)
            raise Refusal(what, field="study")
        self.folder(id).request_stop()
        self._wake()

    def go_on(self, id: str) -> None:
        """A study that a person stopped goes on where it was."""
        self._refuse_read_only()
        folder, study = self.folder(id), self.get(id)
        if study.has_ended and not study.stopping:
            what = _("The study {study} has come to its end.", study=id)
            raise Refusal(what, why=study.reason, do=_("Start a new one."), field="study")
        for trial in study.trials if study.stopping else ():
            if trial.state == RUNNING and trial.run in self.runs.ids():
                self.runs.resume(trial.run)
        folder.go_on()
        self._wake()

    def delete(self, id: str, with_runs: bool = False) -> None:
        """The study, and its runs only where that is asked for; refused while it goes on."""
        self._refuse_read_only()
        folder = self.folder(id)
        study = None
        with suppress(Refusal):  # a damaged one can be deleted all the same
            study = self.get(id)
        if study is not None and not study.has_ended:
            raise Refusal(_("The study {study} still goes on.", study=id), do=_("Stop it first."), field="study")
        for trial in study.trials if study is not None and with_runs else ():
            with suppress(Refusal):  # deleted already
                self.runs.delete(trial.run)
        files.discard(folder.path, self.runs.trash)
        self._folders.pop(id, None)

    # -- read --------------------------------------------------------------------------------------
    def ids(self) -> set[str]:
        return set(folders(self.root))

    def folder(self, id: str) -> StudyFolder:
        if id not in self.ids():
            self._folders.pop(id, None)
            raise Refusal(_("There is no study {study}.", study=id[:100]), do=_("Look at the list of studies."), field="study")  # fmt: skip
        return self._folders.setdefault(id, StudyFolder(self.root / id))

    def get(self, id: str) -> Study:
        folder = self.folder(id)
        spec, end = folder.spec(), folder.end()
        trials = tuple(self._with_run(trial) for trial in folder.trials(spec))
        reason, ended = end or (None, 0.0)
        return Study(id, spec, trials, reason, folder.stop_requested(), ended)

    def all(self) -> list[Study]:
        """Newest first. One that cannot be read is left out (`damaged` names it)."""
        studies = []
        for id in folders(self.root):
            with suppress(Refusal):
                studies.append(self.get(id))
        return sorted(studies, key=lambda study: study.spec.created, reverse=True)

    def damaged(self) -> Words | None:
        """What is said of studies that cannot be read; None where all can be."""
        names = sorted(folders(self.root).keys() - {study.id for study in self.all()})
        if not names:
            return None
        return _("{count} studies cannot be read and are left out: {names}.", count=len(names), names=", ".join(names))

    def is_busy(self) -> bool:
        """Whether any study goes on; reads no journal."""
        return any(not folder.end_file.exists() for folder in folders(self.root).values())

    def _with_run(self, trial: Trial) -> Trial:
        """With how far its run is, while it is trained."""
        if trial.state != RUNNING or not trial.run:
            return trial
        try:
            run = self.runs.get(trial.run)
        except Refusal:  # deleted meanwhile: the tuner will find out
            return trial
        if run.state not in (*LIVE, QUEUED):
            return trial
        steps, seconds = measure(run)
        return replace(trial, steps=steps, seconds=seconds)

    def best_spec(self, id: str) -> RunSpec:
        """The run of the best trial, to be started as a run of one's own."""
        study = self.get(id)
        best = study.best
        if best is None:
            what = _("No trial of the study {study} has been measured yet.", study=id)
            raise Refusal(what, do=_("Wait for the first validation."), field="study")
        base = study.spec.spec
        return RunSpec.check(base.to_json() | {"settings": {**base.settings, **best.settings}})

    # -- computed beside -----------------------------------------------------------------------------
    def importance(self, id: str) -> Mapping[str, float]:
        """Name -> share of 1 of how much each setting matters, as last computed; {} before it is, or where too few trials
        were measured. Begins to compute it anew where more have been."""
        study = self.get(id)
        measured = sum(trial.has_ended and trial.value is not None for trial in study.trials)
        if measured < MIN_TRIALS or len(study.spec.space) < 2:
            return {}
        request = {"study": str(self.folder(id).path)}
        newest = self._submit(f"{id} {measured}", request)
        if newest.running:  # what was true a trial ago is shown until then
            newest = self._jobs.get(f"{id} {measured - 1}", newest)
        return newest.result["importance"] if newest.result else {}

    def is_weighing(self, id: str) -> bool:
        """Whether the importance of its settings is computed at this moment."""
        return any(job.running for name, job in list(self._jobs.items()) if name.startswith(f"{id} "))

    def find_rate(self, spec: Mapping | RunSpec, begin: bool = True) -> Job[RateCurve] | None:
        """The job that looks for a learning rate for a run, the same for the same spec; its progress holds 'step'. None where
        nobody has begun it."""
        spec = RunSpec.check(spec)
        name = replace(spec, name="").fingerprint()
        if not begin:
            return self._jobs.get(name)
        device.check(str(spec.settings["device"]))
        if name in self._jobs and self._jobs[name].error is not None:  # it is tried again
            del self._jobs[name]
        return self._submit(name, {"spec": spec.to_json()}, lambda result: RateCurve(**result))

    def _submit(self, name: str, request: dict, parse: Callable[[dict], Any] = lambda result: result) -> Job:
        if name in self._jobs:
            return self._jobs[name]
        job: Job = Job()

        def work() -> Any:
            def tell(progress: dict) -> None:
                job.progress = progress

            log = self.runs.home / "tuning.log"
            request["home"] = str(self.runs.home)
            try:
                return parse(
                    child_process.call("bigmodel.tuning.worker", request, tell, job.stop, log=log, preloaded=True)
                )
            except child_process.Died:
                what = _("The process that computed this ended unexpectedly.")
                raise child_process.death_refusal(what, _("Try again.")) from None

        self._jobs[name] = self._queue.put(job, work)
        while len(self._jobs) > MAX_KEPT:
            self._jobs.pop(next(iter(self._jobs))).cancel()
        return job

    def close(self) -> None:
        """End what is computed beside."""
        for job in self._jobs.values():
            job.cancel()
