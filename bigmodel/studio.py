"""The front desk: all that a page, the command line or a notebook may ask for. Loads no torch."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from bigmodel.base_models import store as bases
from bigmodel.base_models import suggestions
from bigmodel.base_models.fetch_process import FetchProcess
from bigmodel.base_models.store import Base
from bigmodel.base_models.suggestions import Suggestion
from bigmodel.base_models.supported_models import find_family
from bigmodel.core import catalog
from bigmodel.core.blocks import Block
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.events import LIVE, QUEUED, Event
from bigmodel.core.fields import Field
from bigmodel.core.spec import RunSpec, check_inputs, fields_for
from bigmodel.core.words import Words, _, join_words, say
from bigmodel.data import browse
from bigmodel.data.browse import CHARACTERS, Page, RowQuery
from bigmodel.data.model_view import BatchView
from bigmodel.data_checks.check_jobs import CheckJobs, CheckProgress
from bigmodel.data_checks.finding import Finding, merge_steps
from bigmodel.data_checks.run_checks import CheckReport
from bigmodel.data_checks.run_checks import checks as lint_checks
from bigmodel.importing import import_plan as plans
from bigmodel.importing.formats import chat_formats
from bigmodel.importing.import_jobs import ImportJob, ImportJobs, UploadedFile, UploadWriter
from bigmodel.importing.import_plan import FilePreview, ImportPlan
from bigmodel.importing.store import originals, registry, rejected_rows, repair_rows, versions
from bigmodel.importing.store.originals import Original
from bigmodel.importing.store.registry import ImportedDataset, Version, default_title
from bigmodel.importing.store.version_jobs import VersionJob, VersionJobs
from bigmodel.runs import device
from bigmodel.runs.device import Device
from bigmodel.runs.lock import Lock
from bigmodel.runs.run import Run, fold
from bigmodel.runs.store import Store
from bigmodel.runs.supervisor import Supervisor, changes_since_checkpoint, retry_delay
from bigmodel.training import checkpoint, pretraining, resume_state
from bigmodel.training.forecast import Forecast

if TYPE_CHECKING:
    from bigmodel.inference.client import ModelClient

STARTER_PREFIX, BASE_PREFIX = "starter:", "base:"
STARTERS = Path(__file__).parent / "starters"
NO_CHECKPOINT_YET = _("Wait for its first one: it is written with the first validation, or after half a minute.")


@dataclass(frozen=True)
class Model:
    """Something that can be tried: a starter that ships with bigmodel, what a run has trained, or a base as it is."""

    id: str  # 'starter:poet', a run's id, or 'base:minimind2-small'
    title: Words | str
    task: str
    architecture: str
    dataset: str
    settings: Mapping[str, object]
    metrics: Mapping[str, float]  # on the test split
    parameters: int
    bytes: int
    created: float
    folder: Path  # opens in plain transformers
    starter: bool = False
    about: Words | str = ""
    validation: Mapping[str, float] = field(default_factory=dict)  # of the weights that were kept
    before: Mapping[str, float] = field(default_factory=dict)  # on the same rows, of the base as it was

    @property
    def base(self) -> str:
        """The name of the base that it was fine-tuned from, '' for one from scratch."""
        return str(self.settings.get("base", "")) if self.architecture == "pretrained" else ""

    @property
    def is_base(self) -> bool:
        return self.id.startswith(BASE_PREFIX)


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a run that can be gone back to."""

    step: int
    best: bool  # on validation
    bytes: int
    folder: Path


def home() -> Path:
    """Where runs live: $BIGMODEL_HOME, else ~/.bigmodel."""
    return Path(os.environ.get("BIGMODEL_HOME") or Path.home() / ".bigmodel").expanduser().absolute()


class Studio:
    """One object for one home folder. All methods raise Refusal for what cannot be done."""

    def __init__(self, home_folder: Path | None = None):
        self.home = (home_folder or home()).absolute()
        self.store = Store(self.home)
        self.imports = ImportJobs(self.home, self._ready)
        self._changes = VersionJobs(self.home, self._ready)
        self._lints = CheckJobs(self.store.cache, self.home, self.home / "lint.log")
        self._fetchings: dict[str, FetchProcess] = {}
        registry.register_home(self.home)
        bases.register_bases(self.home)
        self._server = Lock(self.store.server_lock)
        self._serving = False
        self._supervisor: Supervisor | None = None
        self._desk: ModelClient | None = None
        self._mutex = threading.RLock()

    # -- as a server -----------------------------------------------------------------------------
    def serve(self) -> None:
        """Begin to work on this home, unless another server does: then this one may only look."""
        self._serving = True
        self._take_over(wait=1.0)

    def close(self) -> None:
        """Leave. What is being trained goes on, and is found again by the next server."""
        with self._mutex:
            self._serving = False
            self.imports.close()
            self._changes.close()
            self._lints.close()
            if self._supervisor is not None:
                self._supervisor.stop()
            if self._desk is not None:
                self._desk.close()
            self._supervisor = self._desk = None
            self._server.release()

    @property
    def read_only(self) -> bool:
        """Whether another server works on this home. When that one has gone, this one takes over."""
        return self._serving and not self._take_over()

    def _take_over(self, wait: float = 0.0) -> bool:
        with self._mutex:
            if self._server.held:
                return True
            if not self._server.acquire(wait):
                return False
            self._supervisor = Supervisor(self.store, spare=os.environ.get("BIGMODEL_SPARE", "1") != "0")
            self._supervisor.start()
            return True

    def _refuse_read_only(self) -> None:
        if self.read_only:
            what = _("Another bigmodel server works on {home}.", home=str(self.home))
            why = _("This one may look, but not start, stop or delete anything.")
            raise Refusal(what, why=why, do=_("Use the other one, or stop it and try again."))

    # -- runs: written and read ------------------------------------------------------------------
    def launch(self, spec: Mapping | RunSpec, token: str = "") -> str:
        """Check the spec, write the run folder with its first event, wake the supervisor; the run's id.
        The same token twice is one run."""
        self._refuse_read_only()
        return self._launch(_checked(spec), token)

    def _launch(self, spec: RunSpec, token: str, origin: Path | None = None) -> str:
        device.check(str(spec.settings["device"]))
        run = self.store.launch(spec, token, origin)
        self._wake()
        return run

    def stop(self, run: str) -> None:
        """A waiting run is cancelled; one that is trained saves its weights and ends."""
        self._refuse_read_only()
        self.store.stop(run, _("Cancelled before it began."))
        self._wake()

    def resume(self, run: str, anyway: bool = False) -> None:
        """A run that was stopped or has died goes on from its newest checkpoint, bit by bit as if nothing had been.
        Where versions, device, settings or data have changed since, that is refused with what has changed, unless
        `anyway`."""
        self._refuse_read_only()
        changes = [] if anyway else changes_since_checkpoint(self.store.folder(run))
        if changes:
            what = _("What comes would not be the same run any more: {changes}.", changes=join_words(changes))
            raise Refusal(what, do=_("Resume it anyway, or branch off a new run."), field="anyway")
        self.store.resume(run)
        self._wake()

    def goes_on(self, run: str) -> bool:
        """Whether a run that died will be resumed by itself, within seconds or a minute."""
        return retry_delay(self.store.folder(run)) is not None

    def resumes_at(self, run: str) -> tuple[str, int]:
        """Where a run would go on: ('step', N); ('pretraining', N), a step of what comes before; ('pretrained', 0), after
        that; ('start', 0)."""
        folder, kept = self.store.folder(run).path, self.checkpoints(run)
        if kept:
            return "step", kept[0].step
        before = pretraining.latest_step(folder)
        if before:
            return "pretraining", before
        return ("pretrained" if pretraining.is_finished(folder) else "start"), 0

    def checkpoints(self, run: str) -> list[Checkpoint]:
        """What a run can go on or branch off from, newest first."""
        known, folder = self.store.run(run), self.store.folder(run).path
        found = []
        for place in resume_state.checkpoint_folders(folder):
            step = int(place.name.removeprefix("step-"))
            with suppress(FileNotFoundError):  # a run that goes on has just put newer ones in its place
                if (place / resume_state.STATE_FILE).exists():
                    size = sum(file.stat().st_size for file in place.iterdir())
                    found.append(Checkpoint(step, known.best_step == step, size, place))
        return found

    def branch(self, run: str, step: int | None = None, settings: Mapping | None = None, name: str = "",
               token: str = "") -> str:  # fmt: skip
        """A new run that begins with a checkpoint of another, with changed settings: more epochs, another learning
        rate. The newest whole checkpoint where no step is named; also of a run that goes on meanwhile. Refuses to change
        the network or the encoding."""
        self._refuse_read_only()
        parent, found = self.store.run(run), self.checkpoints(run)
        wanted = [one for one in found if step in (None, one.step)]
        if not wanted:
            what = _("The run {run} has no checkpoint to begin with.", run=run)
            options = ", ".join(str(one.step) for one in found) or "-"
            do = _("Choose one of: {options}.", options=options)
            raise Refusal(what, do=NO_CHECKPOINT_YET if parent.live and not found else do, field="step")
        chosen = next((one for one in wanted if checkpoint.verify(one.folder)), None)
        if chosen is None:
            if parent.live and not wanted[0].folder.exists():
                raise _checkpoint_replaced(wanted[0])
            what = _("The checkpoint of step {step} is damaged.", step=wanted[0].step)
            raise Refusal(what, do=_("Choose another one."), field="step")
        spec = RunSpec.check(
            parent.spec.to_json()
            | {"settings": {**parent.spec.settings, **(settings or {})}, "name": name}
            | {"parent": {"run": run, "step": chosen.step}}
        )
        _refuse_another_network(parent.spec, spec)
        try:
            _refuse_no_epochs_left(resume_state.read(chosen.folder)["epoch"], spec)
            return self._launch(spec, token, chosen.folder)
        except OSError as error:
            if chosen.folder.exists():
                raise
            raise _checkpoint_replaced(chosen) from error

    def rollback(self, run: str, token: str = "") -> str:
        """A new run with half the learning rate, from the best checkpoint; from the newest other one where that is
        damaged or of the run's end; from the beginning where none will do."""
        known, found = self.store.run(run), self.checkpoints(run)
        spec, rate = known.spec, rate_setting(known)
        half = {rate: spec.settings[rate] / 2}
        best_first = sorted(found, key=lambda one: not one.best)
        good = next((one for one in best_first if _has_epochs_left(one, spec)), None)
        if good is not None:
            return self.branch(run, good.step, half, token=token)
        return self.launch(spec.to_json() | {"settings": {**spec.settings, **half}}, token)

    def delete(self, run: str) -> None:
        """The run with its model; refused while it is trained."""
        self._refuse_read_only()
        self.store.delete(run)

    def runs(self, states: Sequence[str] = (), limit: int = 200) -> list[Run]:
        """Newest first."""
        return self.store.runs(states, limit)

    def run(self, run: str) -> Run:
        return self.store.run(run)

    def branches(self, run: str) -> list[Run]:
        """The runs that begin with a checkpoint of this one, newest first."""
        return self.store.branches(run)

    def events(self, run: str, after: int = 0, kinds: Sequence[str] = (), limit: int = -1) -> tuple[int, list[Event]]:
        """(cursor, events after the cursor): what a live page polls. With a limit, the first of them only."""
        return self.store.events(run, after, kinds, limit)

    def story_bytes(self, run: str) -> int:
        """Where the cursor stands when all events have been read."""
        return self.store.folder(run).size()

    def log(self, run: str) -> str:
        """The tail of the worker's log."""
        return self.store.folder(run).log()

    def _wake(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wake()

    # -- models: tried --------------------------------------------------------------------------
    def models(self, task: str = "") -> list[Model]:
        """The starters, then what has been trained, newest first."""
        folders = [(f"{STARTER_PREFIX}{path.name}", path) for path in sorted(STARTERS.glob("*")) if path.is_dir()]
        folders += [(run.id, self.home / "runs" / run.id / "model") for run in self.runs(limit=10_000) if run.has_model]
        models = (_model(id, folder) for id, folder in folders)
        return [one for one in models if one and one.task in catalog.tasks() and task in ("", one.task)]

    def base_models(self, task: str = "") -> list[Model]:
        """Bases that people brought, as they are: those that can answer without being trained first."""
        found = []
        for base in self.bases():
            if not base.included and (base.folder / bases.METADATA_FILE).exists():
                with suppress(Refusal):
                    found.append(self._base_model(f"{BASE_PREFIX}{base.name}", task))
        return [one for one in found if one.task in catalog.tasks() and task in ("", one.task)]

    def base_behind(self, model: str) -> Model:
        """The base that a model was fine-tuned from, as it is; Refusal where it has gone, or cannot answer by itself."""
        tuned = self.model(model)
        return self.model(f"{BASE_PREFIX}{tuned.base}", tuned.task)

    def tunable(self, model: Model) -> bool:
        """Whether a network of this kind can be fine-tuned for the task that it has learnt."""
        try:
            kind = find_family(json.loads((model.folder / "config.json").read_text("utf-8"))["model_type"])
        except (OSError, ValueError, KeyError, TypeError):  # not a model that could be read
            return False
        return kind is not None and catalog.task(model.task).head in kind.heads

    def as_base(self, model: str) -> str:
        """Under which name a model can be fine-tuned; '' for one that has to be brought first, as 'run:ID'."""
        for start in (STARTER_PREFIX, BASE_PREFIX):
            if model.startswith(start):
                return bases.get_base(self.home, model.removeprefix(start)).name
        made = self.model(model).created
        own = [base for base in self.bases() if base.source == f"run:{model}" and base.created >= made]
        return own[0].name if own else ""

    def model(self, model: str, task: str = "") -> Model:
        """`task`: what a base is asked for, where its head can be asked for several things."""
        if model.startswith(BASE_PREFIX):
            return self._base_model(model, task)
        starter = STARTERS / model.removeprefix(STARTER_PREFIX)
        is_starter = model.startswith(STARTER_PREFIX) and starter in set(STARTERS.glob("*"))
        folder = starter if is_starter else self.home / "runs" / model / "model" if model in self.store.ids() else None
        found = _model(model, folder) if folder else None
        if found is None:
            what = _("There is no model {model}.", model=model[:100])
            raise Refusal(what, do=_("Look at the list of models."), field="model")
        return found

    def _base_model(self, model: str, task: str) -> Model:
        """A base as it is, to be held against what was made of it."""
        base = bases.get_base(self.home, model.removeprefix(BASE_PREFIX))
        found = _model(model, base.folder)
        if found is not None and task not in ("", found.task):
            same = found.task in catalog.tasks() and catalog.task(found.task).head == catalog.task(task).head
            found = (
                replace(found, task=task) if same and not catalog.task(task).head.endswith("classification") else None
            )
        if found is None:
            what = _("{name} cannot answer before it is trained.", name=base.title)
            why = _("As it is, it has no head for the answers of this task.")
            raise Refusal(what, why, _("Fine-tune it first."), field="model")
        return replace(found, title=base.title)

    def examples(self, model: str) -> list[dict]:
        """Filled-in inputs, checked values by field name; pictures as PNG bytes."""
        chosen = self.model(model)
        if chosen.is_base and not chosen.dataset:
            chosen = replace(chosen, dataset=self._suiting(chosen))
        return self.desk().examples(chosen)

    def _suiting(self, model: Model) -> str:
        """The first data set for a base's task in a language of the base."""
        base, fitting = (
            bases.get_base(self.home, model.id.removeprefix(BASE_PREFIX)),
            catalog.datasets_for(catalog.task(model.task)),
        )
        own = [name for name, one in fitting.items() if set(one.facts.languages) & set(base.languages)]
        return next(iter(own or fitting), "")

    def ask(self, model: str, inputs: Mapping, task: str = "") -> Iterator[Block]:
        """Blocks as they come. Closing the iterator stops the work. `task`: as in `model`."""
        chosen = self.model(model, task)
        return self.desk().ask(chosen, check_inputs(catalog.task(chosen.task), inputs))

    def forecast(self, spec: Mapping | RunSpec) -> Forecast:
        """A probe of at most some seconds in another process."""
        checked = _checked(spec)
        device.check(str(checked.settings["device"]))
        return self.desk().forecast(checked, self.store.cache)

    def desk(self) -> ModelClient:
        """In front of the process that has the models loaded."""
        from bigmodel.inference.client import ModelClient

        with self._mutex:
            self._desk = self._desk or ModelClient(self.home / "models.log", self.store.cache, self.home)
            return self._desk

    # -- data: looked at --------------------------------------------------------------------------
    def find_rows(self, dataset: str, wanted: RowQuery | None = None, start: int = 0, count: int = 50) -> Page:
        """Rows as a person reads them: text, the name of a class, pictures as PNG bytes, each with its number (`row`)
        and its part (`split`); and how many were found."""
        return browse.find(dataset, wanted or RowQuery(), start, count, self.store.cache)

    def peek(self, dataset: str, split: str = "train", start: int = 0, count: int = 50, search: str = "") -> list[dict]:
        """The columns alone of the rows of one part. `search` looks for a part of a text or of a class's name."""
        found = self.find_rows(dataset, RowQuery(split, search), start, count)
        return [{name: value for name, value in row.items() if name not in ("row", "split")} for row in found.rows]

    def data_facts(self, dataset: str) -> dict:
        """rows {split: n}, lengths {text column: [(from, to, rows)] in characters, both inclusive},
        classes {name: rows}, bytes (of the file)."""
        return browse.dataset_stats(dataset, self.store.cache)

    def seen(self, spec: Mapping | RunSpec, row: int = 0) -> BatchView:
        """The first batch as a model sees it, or the row of a number: tokens, what counts, labels, pictures. Encodes the
        data first where nobody has, which takes seconds or more."""
        return self.desk().batch_view(_checked(spec), self.store.cache, row)

    def count_tokens(self, spec: Mapping | RunSpec) -> Iterator[float | str]:
        """Count the tokens of every text by the tokenizer of a spec; how far it is, and at last the `unit` of `Wanted`
        under which rows can be found by them."""
        return self.desk().count_tokens(_checked(spec), self.store.cache)

    def rows_named(self, dataset: str, rows: Sequence[int]) -> list[dict]:
        """The rows of these numbers, each with its number (`row`) and its part (`split`)."""
        return browse.rows_by_number(dataset, rows, self.store.cache)

    def lint(self, dataset: str) -> CheckProgress | CheckReport | Refusal | None:
        """How far the looking for faults is, what was found, or why that could not be; None before it was asked for."""
        return self._lints.state(dataset)

    def begin_lint(self, dataset: str) -> None:
        """Look for faults in another process; `lint` tells how far it is. Changes nothing but the cache."""
        self._lints.begin(dataset)

    def cancel_lint(self, dataset: str) -> None:
        self._lints.cancel(dataset)

    # -- data: brought ----------------------------------------------------------------------------
    def incoming(self, name: str) -> UploadWriter:
        """To write a file into that a browser sends: `with` it, `write` pieces, `done` gives the parcel."""
        self._refuse_read_only()
        return self.imports.open_upload(name)

    def paste(self, text: str) -> UploadedFile:
        self._refuse_read_only()
        return self.imports.paste(text)

    def place(self, path: str, trusted: bool = False) -> UploadedFile:
        """A file or folder of this machine; `trusted`: not only inside `data_roots`."""
        self._refuse_read_only()
        return self.imports.add_path(path, trusted)

    def data_roots(self) -> list[Path]:
        return self.imports.roots()

    def hub_about(self, name: str, revision: str = "") -> dict:
        """What the Hub says of a data set: id, revision, licence, card, configs {name: {split: rows}}, of which only the
        first is filled."""
        return self.imports.hub_info(name, revision)

    def hub_splits(self, about: Mapping, config: str) -> dict[str, int]:
        """The splits of a configuration, with their rows; 0 where nobody has counted them."""
        return self.imports.hub_splits(about, config)

    def hub_parcel(self, about: Mapping, config: str, splits: Sequence[str], most: int) -> UploadedFile:
        """At most `most` rows of each of some splits, to be fetched when they are taken in."""
        self._refuse_read_only()
        configs = {config: self.hub_splits(about, config)}
        return self.imports.add_hub_dataset(
            {**about, "configs": configs, "config": config, "splits": list(splits), "most": most}
        )

    def parcel(self, id: str) -> UploadedFile:
        """What has come and was not taken in yet."""
        return self.imports.uploaded_file(id)

    def look_into(self, parcel: str, corrected: Mapping | None = None) -> FilePreview:
        """What a file is, how it could be read, and why; `corrected`: the parts of a plan that are decided."""
        return self.imports.preview(parcel, corrected)

    def begin_import(
        self, parcel: str, plan: ImportPlan | Mapping, title: str = "", licence: str = "", wait: bool = False
    ) -> ImportJob:
        """Read a file into a data set, beside everything else."""
        self._refuse_read_only()
        return self.imports.begin(parcel, plan, title, licence, wait)

    def import_of(self, parcel: str) -> ImportJob | None:
        """The newest reading of a file."""
        return next((job for job in reversed(self.imports.jobs.values()) if job.upload.id == parcel), None)

    def running_imports(self) -> list[ImportJob]:
        return [job for job in list(self.imports.jobs.values()) if job.running]

    def cancel_import(self, parcel: str) -> None:
        job = self.import_of(parcel)
        if job is not None:
            job.cancel()

    def own_datasets(self) -> list[ImportedDataset]:
        """The newest version of each, the last that was brought first."""
        own = self.imports.registry
        return [own[name] for name in own]

    def data_versions(self, slug: str) -> list[Version]:
        """Newest first."""
        return self.imports.registry.versions(slug)

    def newest_version(self, slug: str) -> str:
        """The hash of the version that a data set's name means."""
        return self.imports.registry.about(slug).get("newest", "")

    def original(self, dataset: str) -> Original | None:
        """Where the file lies that a data set was made of, and how it was kept; None for what ships."""
        own = self.imports.registry
        return originals.find(own.folder / own.version(dataset).slug)

    def check_original(self, dataset: str) -> bool:
        """Whether it is what it was when it was read."""
        return self.imports.check_original(self.imports.registry.version(dataset).slug)

    def set_aside(self, dataset: str, start: int = 0, count: int = 50) -> list[dict]:
        """{"row", "count", "raw", "reason", "cells"} of what could not be taken in; "picture": true where it has one that
        only lacks its class."""
        return list(islice(rejected_rows.entries(self.imports.registry.version(dataset), start), count))

    def pictures_aside(self, dataset: str, rows: Sequence[int]) -> dict[int, bytes]:
        """The pictures of such rows, small."""
        return dict(rejected_rows.pictures(self.imports.registry.version(dataset), rows))

    def set_aside_table(self, dataset: str, language: str) -> bytes:
        """All of it as CSV, to be mended elsewhere and given back."""
        return repair_rows.to_csv(self.imports.registry.version(dataset), lambda words: say(words, language))

    def mended(self, dataset: str, parcel: str) -> dict:
        """What such a table says that has come back: {"mends", "left", "reasons"} (bigmodel/importing/store/repair_rows.py)."""
        return self.imports.parse_repairs(self.imports.registry.version(dataset).name, parcel)

    def derive(self, dataset: str, steps: Sequence[Mapping]) -> str:
        """A new version with these steps applied (bigmodel/importing/store/versions.py); its name, when it is done."""
        return self.begin_change(dataset, steps, wait=True).outcome()

    def begin_change(self, dataset: str, steps: Sequence[Mapping], wait: bool = False) -> VersionJob:
        """The same beside everything else."""
        self._refuse_read_only()
        return self._changes.begin(dataset, steps, wait)

    def change_of(self, dataset: str) -> VersionJob | None:
        """The newest change that was asked for of a version."""
        return self._changes.jobs.get(dataset)

    def _ready(self, name: str) -> None:
        """Rows have just come: they are counted, and a server looks for faults in them by itself."""
        with suppress(Refusal):  # whoever looks at it will be told
            self.data_facts(name)
            if self._serving:
                self.begin_lint(name)

    def use_version(self, name: str) -> str:
        """From now on the data set's name means this version."""
        self._refuse_read_only()
        return versions.set_newest(self.imports.registry, name)

    def delete_dataset(self, slug: str) -> None:
        """With all versions; refused while a run waits for it or learns from it."""
        self._refuse_read_only()
        for run in self.runs(states=(*LIVE, QUEUED)):
            if run.spec.dataset.partition("@")[0] == slug:
                what = _("The run {run} needs this data set.", run=run.id)
                raise Refusal(what, do=_("Stop it first."), field="dataset")
        self.imports.registry.delete(slug)

    # -- base models: brought ------------------------------------------------------------------------
    def bases(self, head: str = "") -> list[Base]:
        """What can be fine-tuned: what people brought, newest first, and what is included."""
        return [base for base in bases.list_bases(self.home).values() if head in ("", *base.heads)]

    def base_suggestions(self, task: Task) -> list[tuple[Suggestion, str]]:
        """(model of the Hub, how it can be trained with the memory that is free: 'full', 'lora' or '')."""
        import psutil

        return suggestions.suggestions_for(task, psutil.virtual_memory().available)

    def way_for(self, parameters: int) -> str:
        """How a model of this size can be trained with the memory that is free: 'full', 'lora' or ''."""
        import psutil

        return suggestions.training_method(parameters, psutil.virtual_memory().available)

    def look_base(self, id: str, revision: str = "") -> FetchProcess:
        """Ask the Hub about a model; `outcome()['offer']` has its size, licence, languages and revision. Without one that
        of the suggestion, else the newest."""
        return FetchProcess(
            self.home, {"kind": "look", "source": id, "revision": revision or suggestions.revision_of(id)}
        )

    def bring_base(self, source: str, revision: str = "", trusted: bool = False) -> FetchProcess:
        """Fetch a model of the Hub by its id, or take one in from a folder, a GGUF file or a run ('run:ID') of this
        machine. Works in a process of its own; `outcome()['base']` has its name. `trusted`: from any folder. What is
        being brought already is not begun a second time."""
        self._refuse_read_only()
        with self._mutex:
            known = self._fetchings.get(source)
            if known is None or not known.running:
                known = self._fetchings[source] = FetchProcess(self.home, self._request(source, revision, trusted))
            return known

    def fetching(self, source: str) -> FetchProcess | None:
        """How it stands with a base that is being brought, or was, until it is forgotten."""
        return self._fetchings.get(source)

    def fetchings(self) -> list[FetchProcess]:
        """Those under way."""
        return [one for one in list(self._fetchings.values()) if one.running]

    def forget_fetching(self, source: str) -> None:
        """Its end has been taken note of."""
        known = self._fetchings.get(source)
        if known is not None and not known.running:
            self._fetchings.pop(source, None)

    def _request(self, source: str, revision: str, trusted: bool) -> dict:
        path = Path(source).expanduser()
        if source.startswith("run:"):
            model = self.model(source.removeprefix("run:"))
            title = model.title if isinstance(model.title, str) else str(model.title)
            return {"kind": "folder", "source": str(model.folder), "roots": [str(model.folder.parent)], "own": True,
                    "title": title, "from": source}  # fmt: skip
        if source.startswith(("/", "~", ".")) or path.suffix == ".gguf" or path.is_absolute():
            place = path.absolute()
            roots = [place if place.is_dir() else place.parent] if trusted else self.data_roots()
            kind = "gguf" if place.suffix == ".gguf" else "folder"
            return {"kind": kind, "source": str(place), "roots": [str(root) for root in roots]}
        return {"kind": "hub", "source": source, "revision": revision or suggestions.revision_of(source)}

    def delete_base(self, name: str) -> None:
        """Refused while a run that has not come to its end begins with it."""
        self._refuse_read_only()
        for run in self.runs(states=(*LIVE, QUEUED)):
            if run.spec.settings.get("base") == name:
                what = _("The run {run} needs this base model.", run=run.id)
                raise Refusal(what, do=_("Stop it first."), field="base")
        bases.remove(self.home, name)

    def device(self) -> Device:
        """What the next run is trained on, and how busy it is."""
        return device.current_device()


def _checked(spec: Mapping | RunSpec) -> RunSpec:
    return RunSpec.check(spec.to_json() if isinstance(spec, RunSpec) else spec)


def _checkpoint_replaced(one: Checkpoint) -> Refusal:
    """A run that goes on keeps its best and its newest checkpoints only."""
    what = _("The checkpoint of step {step} has just given way to a newer one.", step=one.step)
    return Refusal(what, do=_("Choose another one."), field="step")


def _has_epochs_left(one: Checkpoint, spec: RunSpec) -> bool:
    """Whether a checkpoint is whole, and not that of the run's end."""
    return resume_state.is_valid(one.folder) and resume_state.read(one.folder)["epoch"] < spec.settings["epochs"]


def rate_setting(run: Run) -> str:
    """The setting that is halved when a run has diverged: the learning rate of what it had come to."""
    return "pretraining_rate" if run.pretraining and not run.plan else "learning_rate"


def branchable_fields(spec: RunSpec) -> list[Field]:
    """The settings that a branch of the run may change: not what its weights are the weights of."""
    task, architecture = catalog.task(spec.task), catalog.architecture(spec.architecture)
    fixed = {field.name for field in architecture.hyperparameters_for(task)} - {"dropout"} | {
        "block_size",
        *task.encoding_settings,
    }
    return [field for field in fields_for(task, architecture) if field.name not in fixed]


def _refuse_another_network(parent: RunSpec, spec: RunSpec) -> None:
    """A branch keeps the weights, so it keeps what they are weights of."""
    free = {field.name for field in branchable_fields(spec)}
    for name in sorted(spec.settings.keys() & parent.settings.keys() - free):
        if spec.settings[name] != parent.settings[name]:
            what = _("A branch cannot change '{setting}': the weights are made for {value}.", setting=name,
                     value=str(parent.settings[name]))  # fmt: skip
            raise Refusal(what, do=_("Start a new run instead."), field=name)


def _refuse_no_epochs_left(epoch: float, spec: RunSpec) -> None:
    """Said now, not by a worker that has to be started for it."""
    if epoch >= spec.settings["epochs"]:
        what = _("The weights have been trained for {epochs} epochs already.", epochs=round(epoch, 2))
        raise Refusal(what, do=_("Ask for more epochs than that."), field="epochs")


# -- models ------------------------------------------------------------------------------------------
def _model(id: str, folder: Path) -> Model | None:
    """The model in a folder, None where there is none that can be read."""
    try:
        about = json.loads((folder / "bigmodel.json").read_text("utf-8"))
        spec = about["spec"]
        return Model(
            id=id,
            title=_words(about["title"]) if "title" in about else spec["name"] or _title(spec),
            task=spec["task"],
            architecture=spec["architecture"],
            dataset=spec["dataset"],
            settings=spec["settings"],
            metrics=about["metrics"],
            validation=about.get("validation") or {},
            before=about.get("before") or {},
            parameters=about["parameters"],
            bytes=sum(path.stat().st_size for path in folder.iterdir() if path.is_file()),
            created=about["created"],
            folder=folder,
            starter=id.startswith(STARTER_PREFIX),
            about=_words(about.get("about", "")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _title(spec: Mapping) -> Words:
    """'GPT, Chinese poetry', for a run without a name."""
    architecture, dataset = catalog.architectures().get(spec["architecture"]), catalog.find_dataset(spec["dataset"])
    return _(
        "{architecture}, {dataset}",
        architecture=architecture.title if architecture else spec["architecture"],
        dataset=dataset.title if dataset else spec["dataset"],
    )


def _words(value: Mapping | str) -> Words | str:
    return Words.from_json(value) if isinstance(value, Mapping) else value


__all__ = [
    "CHARACTERS",
    "NO_CHECKPOINT_YET",
    "Base",
    "BatchView",
    "CheckProgress",
    "CheckReport",
    "Checkpoint",
    "Device",
    "FetchProcess",
    "FilePreview",
    "Finding",
    "Forecast",
    "ImportJob",
    "ImportPlan",
    "ImportedDataset",
    "Model",
    "Page",
    "RowQuery",
    "Run",
    "Studio",
    "Suggestion",
    "UploadedFile",
    "Version",
    "VersionJob",
    "branchable_fields",
    "catalog",
    "chat_formats",
    "default_title",
    "fold",
    "home",
    "lint_checks",
    "merge_steps",
    "originals",
    "plans",
    "rate_setting",
    "repair_rows",
]
