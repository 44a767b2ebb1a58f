"""The models that can be tried: found, asked, held against the base they come from. Loads no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

from bigmodel.base_models import store as bases
from bigmodel.base_models.supported_models import find_family
from bigmodel.core import catalog
from bigmodel.core.blocks import Block
from bigmodel.core.contracts import HEADS
from bigmodel.core.errors import Refusal
from bigmodel.core.model import BASE_PREFIX, METADATA_FILE, STARTER_PREFIX, STARTERS, Model, read_model
from bigmodel.core.spec import RunSpec, check_inputs
from bigmodel.core.words import _
from bigmodel.data.model_view import BatchView
from bigmodel.inference.client import ModelClient
from bigmodel.runs import device
from bigmodel.runs.store import Store
from bigmodel.training.forecast import Forecast


class ModelService:
    """The starters, what the runs of a home folder have trained, and bases as they are. `client`: in front of the
    process that has the models loaded, which is started by the first question."""

    def __init__(self, store: Store):
        self.home, self._store = store.home, store
        self.client = ModelClient(self.home / "models.log", store.cache, self.home)

    def all(self, task: str = "") -> list[Model]:
        """The starters, then what has been trained, newest first."""
        folders = [(f"{STARTER_PREFIX}{path.name}", path) for path in sorted(STARTERS.glob("*")) if path.is_dir()]
        folders += [
            (run.id, self._store.runs_folder / run.id / "model")
            for run in self._store.all(limit=10_000)
            if run.has_model
        ]
        models = (read_model(id, folder) for id, folder in folders)
        return [model for model in models if model and _is_of(model, task)]

    def bases(self, task: str = "") -> list[Model]:
        """Bases that people brought, as they are: those that can answer without being trained first."""
        models = []
        for base in bases.list_bases(self.home).values():
            if not base.included and (base.folder / METADATA_FILE).exists():
                with suppress(Refusal):
                    models.append(self._base(f"{BASE_PREFIX}{base.name}", task))
        return [model for model in models if _is_of(model, task)]

    def get(self, id: str, task: str = "") -> Model:
        """`task`: what a base is asked for, where its head can be asked for several things."""
        if id.startswith(BASE_PREFIX):
            return self._base(id, task)
        starter = STARTERS / id.removeprefix(STARTER_PREFIX)
        is_starter = id.startswith(STARTER_PREFIX) and starter in set(STARTERS.glob("*"))
        folder = starter if is_starter else None
        if not is_starter and id in self._store.ids():
            folder = self._store.runs_folder / id / "model"
        model = read_model(id, folder) if folder else None
        if model is None:
            what = _("There is no model {model}.", model=id[:100])
            raise Refusal(what, do=_("Look at the list of models."), field="model")
        return model

    def _base(self, id: str, task: str) -> Model:
        """A base as it is, to be held against what was made of it."""
        base = bases.get_base(self.home, id.removeprefix(BASE_PREFIX))
        model = read_model(id, base.folder)
        if model is not None and task not in ("", model.task):
            model = replace(model, task=task) if _shares_head(model.task, task) else None
        if model is None:
            what = _("{name} cannot answer before it is trained.", name=base.title)
            why = _("As it is, it has no head for the answers of this task.")
            raise Refusal(what, why, _("Fine-tune it first."), field="model")
        return replace(model, title=base.title)

    def base_of(self, id: str) -> Model:
        """The base that a model was fine-tuned from, as it is; Refusal where it has gone, or cannot answer by itself."""
        model = self.get(id)
        return self.get(f"{BASE_PREFIX}{model.base}", model.task)

    def is_tunable(self, model: Model) -> bool:
        """Whether a network of this kind can be fine-tuned for the task that it has learnt."""
        try:
            family = find_family(json.loads((model.folder / "config.json").read_text("utf-8"))["model_type"])
        except (OSError, ValueError, KeyError, TypeError):  # not a model that could be read
            return False
        return family is not None and catalog.task(model.task).head in family.heads

    def as_base(self, id: str) -> str:
        """Under which name a model can be fine-tuned; '' for one that has to be imported first, as 'run:ID'."""
        for prefix in (STARTER_PREFIX, BASE_PREFIX):
            if id.startswith(prefix):
                return bases.get_base(self.home, id.removeprefix(prefix)).name
        created = self.get(id).created
        imported = bases.list_bases(self.home).values()
        return next((base.name for base in imported if base.source == f"run:{id}" and base.created >= created), "")

    # -- asked ---------------------------------------------------------------------------------------
    def examples(self, id: str) -> list[dict]:
        """Filled-in inputs, checked values by field name; pictures as PNG bytes."""
        model = self.get(id)
        if model.is_base and not model.dataset:
            model = replace(model, dataset=self._matching_dataset(model))
        return self.client.examples(model)

    def _matching_dataset(self, model: Model) -> str:
        """The first data set for a base's task in a language of the base."""
        languages = set(bases.get_base(self.home, model.id.removeprefix(BASE_PREFIX)).languages)
        datasets = catalog.datasets_for(catalog.task(model.task))
        spoken = [name for name, dataset in datasets.items() if languages & set(dataset.facts.languages)]
        return next(iter(spoken or datasets), "")

    def ask(self, id: str, inputs: Mapping, task: str = "") -> Iterator[Block]:
        """Blocks as they come. Closing the iterator stops the work. `task`: as in `get`."""
        model = self.get(id, task)
        checked = check_inputs(catalog.task(model.task), inputs)
        return self.client.ask(model, checked, from_outside=self._is_from_outside(model))

    def _is_from_outside(self, model: Model) -> bool:
        """Whether its tokenizer came from a stranger: a base that was brought, or what was fine-tuned from one."""
        base = model.id.removeprefix(BASE_PREFIX) if model.is_base else model.base
        return bases.outside_folder(self.home, base) is not None

    # -- before training -----------------------------------------------------------------------------
    def forecast(self, spec: Mapping | RunSpec) -> Forecast:
        """A probe of at most some seconds in another process."""
        spec = RunSpec.check(spec)
        device.check(str(spec.settings["device"]))
        return self.client.forecast(spec, self._store.cache)

    def batch_view(self, spec: Mapping | RunSpec, row: int = 0) -> BatchView:
        """The first batch as a model sees it, or the row of a number: tokens, what counts, labels, pictures. Encodes the
        data first where nobody has, which takes seconds or more."""
        return self.client.batch_view(RunSpec.check(spec), self._store.cache, row)

    def count_tokens(self, spec: Mapping | RunSpec) -> Iterator[float | str]:
        """Count the tokens of every text by the tokenizer of a spec; the fraction done, and at last the `unit` of
        `RowQuery` under which rows can be found by them."""
        return self.client.count_tokens(RunSpec.check(spec), self._store.cache)


def _is_of(model: Model, task: str) -> bool:
    return model.task in catalog.tasks() and task in ("", model.task)


def _shares_head(task: str, other: str) -> bool:
    """Whether weights that were made for one task answer another: a classifier's classes are its own."""
    if task not in catalog.tasks():
        return False
    head = catalog.task(task).head
    return head == catalog.task(other).head and not HEADS[head].classifies
