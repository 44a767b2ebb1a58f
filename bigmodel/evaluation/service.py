"""Evaluations as pages and the command line ask for them: begun, watched, read, deleted. Loads no torch."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bigmodel.core import catalog, child_process, files
from bigmodel.core.contracts import SPLITS
from bigmodel.core.errors import Refusal
from bigmodel.core.jobs import Job, JobQueue
from bigmodel.core.model import Model
from bigmodel.core.words import Words, _
from bigmodel.data.browse import split_rows
from bigmodel.evaluation import evaluation as evaluations
from bigmodel.evaluation.comparison import Comparison, compare
from bigmodel.evaluation.evaluation import Evaluation
from bigmodel.evaluation.run_evaluation import check_fit
from bigmodel.inference.service import ModelService


@dataclass(frozen=True)
class EvaluationProgress:
    """An evaluation that is being made, or waits for its turn. share: 0 to 1."""

    title: Words
    share: float


WAITING = EvaluationProgress(_("Waiting for another evaluation"), 0.0)


class EvaluationService:
    """The evaluations of a home folder: each a folder under `evaluations/`, named by what it depends on."""

    def __init__(self, home: Path, cache: Path, models: ModelService, refuse: Callable[[], None]):
        self.folder, self._home, self._cache = home / "evaluations", home, cache
        self._models, self._refuse = models, refuse
        self._lock = threading.Lock()
        self._jobs: dict[str, Job] = {}
        self._queue = JobQueue("bigmodel-evaluations")
        self._read: dict[str, tuple[int, Evaluation]] = {}  # by id, with the mtime of its file

    # -- kept ----------------------------------------------------------------------------------------
    def all(self, model: str = "", task: str = "") -> list[Evaluation]:
        """Newest first; those that cannot be read are left out."""
        found = []
        for folder in self.folder.glob("*/"):
            with suppress(OSError, ValueError):
                evaluation = self._cached(folder.name)
                if model in ("", evaluation.model) and task in ("", evaluation.task):
                    found.append(evaluation)
        return sorted(found, key=lambda evaluation: -evaluation.created)

    def get(self, id: str) -> Evaluation:
        try:
            if id not in {folder.name for folder in self.folder.glob("*/")}:
                raise FileNotFoundError(id)
            return self._cached(id)
        except (OSError, ValueError):
            what = _("There is no evaluation {id}, or it cannot be read.", id=id[:100])
            raise Refusal(what, do=_("Evaluate the model again."), field="evaluation") from None

    def _cached(self, id: str) -> Evaluation:
        """Read once for each state of the file: pages ask each second."""
        modified = (self.folder / id / evaluations.ABOUT_FILE).stat().st_mtime_ns
        if self._read.get(id, (0,))[0] != modified:
            self._read[id] = modified, evaluations.read(self.folder / id)
        return self._read[id][1]

    def find(self, model: Model, dataset: str = "", split: str = "test") -> Evaluation | None:
        """What is known of a model as it is now on these rows; None where nobody has evaluated it yet."""
        with suppress(Refusal):
            return self.get(self.id(model, dataset, split))
        return None

    def id(self, model: Model, dataset: str = "", split: str = "test") -> str:
        """Names an evaluation by all that decides its figures. Refusal for a data set that is not there."""
        rows = catalog.dataset(dataset or model.dataset)
        parts = [evaluations.VERSION, model.id, model.created, model.task, rows.name, rows.fingerprint(), split]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
        return f"{model.id.replace(':', '-')[:60]}-{split}-{digest}"

    def records(self, id: str, columns: Sequence[str] | None = None) -> dict[str, Any]:
        """Of each row of the split: name -> array (rows, ...) or list of texts."""
        self.get(id)
        try:
            return evaluations.read_records(self.folder / id, columns)
        except Exception as error:  # Arrow has errors of many kinds for a damaged file
            what = _("The records of this evaluation cannot be read.")
            raise Refusal(what, do=_("Delete it and evaluate the model again."), field="evaluation") from error

    def compare(self, groups: Sequence[Sequence[str]], metrics: Sequence[str] = (), reference: int = 0) -> Comparison:
        """Evaluations by their ids, those that differ in the seed alone together, each group against the reference."""
        return compare([[self.get(id) for id in group] for group in groups], self.records, metrics, reference)

    def rows(self, evaluation: Evaluation, numbers: Sequence[int]) -> list[dict]:
        """The rows of the split with these numbers, decoded, in the order in which they are asked for."""
        return split_rows(evaluation.dataset, evaluation.split, numbers, self._cache)

    def delete(self, id: str) -> None:
        self._refuse()
        self.get(id)
        files.discard(self.folder / id, self._home / "trash")

    # -- made ----------------------------------------------------------------------------------------
    def begin(self, model_id: str, dataset: str = "", split: str = "test", task: str = "") -> str:
        """The id of an evaluation, which is begun unless it is there or under way. dataset: '' for what the model was
        trained on."""
        self._refuse()
        return self._begin(model_id, dataset, split, task)

    def begin_finished(self, run_id: str) -> None:
        """A run has finished: evaluate what it has trained. For the supervisor, which works on this home already."""
        self._begin(run_id, "", "test", "")

    def _begin(self, model_id: str, dataset: str, split: str, task: str) -> str:
        model = self._models.get(model_id, task)
        if split not in SPLITS:
            what = _("There is no split named {name}.", name=str(split)[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(SPLITS)), field="split")
        dataset = dataset or model.dataset
        check_fit(catalog.task(model.task), dataset)
        id = self.id(model, dataset, split)
        with self._lock:
            job = self._jobs.get(id)
            if (self.folder / id).is_dir() or (job is not None and job.running):
                return id
            job = self._jobs[id] = Job()
            self._queue.put(job, lambda: self._evaluate(job, model, id, dataset, split, task))
        return id

    def state(self, id: str) -> EvaluationProgress | Evaluation | Refusal | None:
        """How far it is, or what came of it, or why there is nothing; None where nobody has asked for it."""
        job = self._jobs.get(id)
        if job is not None and job.running:
            told = job.progress
            return EvaluationProgress(Words.from_json(told["title"]), told["share"]) if told else WAITING
        with suppress(Refusal):
            return self.get(id)
        return job.refusal if job is not None else None

    def under_way(self) -> dict[str, EvaluationProgress]:
        states = {id: self.state(id) for id, job in list(self._jobs.items()) if job.running}
        return {id: state for id, state in states.items() if isinstance(state, EvaluationProgress)}

    def wait(self, id: str, look: Callable[[EvaluationProgress], None] = lambda _progress: None) -> Evaluation:
        """The evaluation, once it is there; Refusal where there will be none."""
        job = self._jobs.get(id)
        if job is not None:
            job.wait(lambda: look(state) if isinstance(state := self.state(id), EvaluationProgress) else None)
        return self.get(id)

    def cancel(self, id: str) -> None:
        """End it, or take it out of the queue. Nothing is kept of it."""
        with self._lock:
            job = self._jobs.pop(id, None)
        if job is not None:
            job.cancel()

    def close(self) -> None:
        for id in list(self._jobs):
            self.cancel(id)

    def _evaluate(self, job: Job, model: Model, id: str, dataset: str, split: str, task: str) -> None:
        def tell(progress: Mapping) -> None:
            job.progress = dict(progress)

        files.make_folder(self.folder)
        request = {
            "home": str(self._home), "model": model.id, "folder": str(model.folder), "task": task, "id": id,
            "dataset": dataset, "split": split, "target": str(self.folder / id),
        }  # fmt: skip
        module = "bigmodel.evaluation.evaluation_worker"
        try:
            child_process.call(module, request, tell, job.stop, log=self._home / "evaluations.log", preloaded=True)
        except child_process.Died:
            what = _("The process that evaluated the model ended unexpectedly.")
            raise child_process.death_refusal(what, _("Try again.")) from None
