"""Task, data and network as a person picks them on the Train page, kept in the URL and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Architecture, Dataset, Task, is_compatible
from bigmodel.core.errors import Refusal
from bigmodel.core.spec import RunSpec, fields_for, without_time_limit
from bigmodel.core.words import _ as words
from bigmodel.importing.store.registry import ImportedDataset
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, say
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice
from bigmodel.ui.state import remember, remembered, studio
from bigmodel.ui.train.base_card import select_base

URL_PARAMETERS = ("task", "dataset", "architecture")
MAX_SEGMENTS = 5  # more options than these go into a list


@dataclass(frozen=True)
class Combination:
    task: Task
    dataset: Dataset
    architecture: Architecture

    @property
    def key(self) -> str:
        """The widgets of this combination: each keeps its own settings."""
        return f"train.{self.task.name}.{self.dataset.name}.{self.architecture.name}"

    def names(self) -> dict[str, str]:
        return {"task": self.task.name, "dataset": self.dataset.name, "architecture": self.architecture.name}


def select_combination() -> Combination:
    """Three choices, each among what fits the ones before it."""
    _read_url()
    task = catalog.task(_select(_("What should the model learn?"), "train.task", catalog.tasks()))
    datasets = _with_older_version(task, catalog.datasets_for(task))
    dataset = catalog.dataset(_select(_("From which data?"), f"train.dataset.{task.name}", datasets))
    networks = catalog.architectures_for(task)
    network = catalog.architecture(_select(_("With which network?"), f"train.architecture.{task.name}", networks))
    chosen = Combination(task, dataset, network)
    _write_url(chosen)
    return chosen


def _with_older_version(task: Task, datasets: Mapping[str, Dataset]) -> Mapping[str, Dataset]:
    """An older version of an own data set, too, when that is what was asked for."""
    name = st.session_state.get(f"train.dataset.{task.name}", "")
    older = catalog.find_dataset(name) if name not in datasets else None
    return {older.name: older, **datasets} if older is not None and is_compatible(task, dataset=older) else datasets


def _select(label: str, key: str, things: Mapping[str, Task | Dataset | Architecture]) -> str:
    named = disambiguate(
        {name: _label(thing) for name, thing in things.items()}, lambda name: _version_label(things[name])
    )
    pin_choice(key, named, next(iter(named)))
    parts = {"format_func": named.__getitem__, "key": key, "persist_state": "session"}
    if len(things) <= MAX_SEGMENTS:
        name = st.segmented_control(label, list(things), required=True, wrap=True, **parts)
    else:
        name = st.selectbox(label, list(things), **parts)
    st.caption(say(things[name].about))
    return name


def _label(thing: Task | Dataset | Architecture) -> str:
    icon = getattr(thing, "icon", "")
    return f"{icon} {say(thing.title)}" if icon else say(thing.title)


def _version_label(thing: Task | Dataset | Architecture) -> str:
    """What only this one has, of those with the same title."""
    if not isinstance(thing, ImportedDataset):
        return thing.name
    return _("{name}, version {number}", name=thing.version.slug, number=thing.version.manifest["number"])


def _read_url() -> None:
    """Take over what the URL asks for, else what was chosen last, in this session or by the newest run."""
    asked = {name: st.query_params[name] for name in URL_PARAMETERS if name in st.query_params}
    again, base = st.query_params.get("from", ""), st.query_params.get("base", "")
    if base:
        _apply_base(base, asked)
    elif again:
        _apply_run(again)
    elif asked and asked != st.session_state.get("train.written"):
        with refusals():
            _check(asked)
        _apply_selection(asked)
    elif "train.task" not in st.session_state:
        _apply_selection(remembered("train") or _newest_selection())


def _apply_base(name: str, asked: Mapping[str, str]) -> None:
    """What '?base=NAME' asks for: fine-tuning it, for the task that is named or the first that it can be trained for."""
    with refusals():
        base = studio().base_models.get(name)
        suiting = [task for task in catalog.tasks().values() if task.head in base.heads]
        if not suiting:
            raise Refusal(words("{base} cannot be fine-tuned for any task here.", base=base.title), field="base")
        task = next((task for task in suiting if task.name == asked.get("task")), suiting[0])
        _apply_selection({**asked, "task": task.name, "architecture": catalog.fine_tuning().name})
        select_base(task, name)
    del st.query_params["base"]


def _check(asked: Mapping[str, str]) -> None:
    if len(asked) == len(URL_PARAMETERS):
        RunSpec.check(asked)
    for name, value in asked.items():
        getattr(catalog, name)(value)


def _apply_selection(names: Mapping[str, str]) -> None:
    task = catalog.tasks().get(names.get("task", "")) or _task_for(names)
    if task is None:
        return
    st.session_state["train.task"] = task.name
    dataset = catalog.find_dataset(names.get("dataset", ""))
    if dataset is not None and is_compatible(task, dataset=dataset):
        st.session_state[f"train.dataset.{task.name}"] = dataset.name  # in full, where only a name was given
    if names.get("architecture") in catalog.architectures_for(task):
        st.session_state[f"train.architecture.{task.name}"] = names["architecture"]


def _task_for(names: Mapping[str, str]) -> Task | None:
    """The first task that fits the data set or the network when only these are given."""
    dataset = catalog.find_dataset(names.get("dataset", ""))
    suiting = [
        task for task in catalog.tasks().values() if dataset is not None and is_compatible(task, dataset=dataset)
    ]
    if suiting:
        return max(suiting, key=lambda task: len(task.required_columns))  # texts with classes are for classifying first
    for task in catalog.tasks().values():
        if names.get("architecture") in catalog.architectures_for(task):
            return task
    return None


def _apply_run(run: str) -> None:
    """The choices and settings of an earlier run, to be trained again."""
    with refusals():
        earlier = studio().runs.get(run)
        spec = earlier.spec
        names = {"task": spec.task, "dataset": spec.dataset, "architecture": spec.architecture}
        _check(names)
        _apply_selection(names)
        key = Combination(
            catalog.task(spec.task), catalog.dataset(spec.dataset), catalog.architecture(spec.architecture)
        ).key
        changes = _parse_overrides(spec)
        decided = earlier.decided(changes)
        settings = {**spec.settings, **decided, **without_time_limit(changes)}
        settings = RunSpec.check({**spec.to_json(), "settings": settings}).settings  # of an old run not all are written
        if decided:
            st.toast(_("Precision and threads are set as that run had measured them."), icon=":material/replay:")
        for name, value in settings.items():
            st.session_state[f"{key}.{name}"] = value
        st.session_state.pop(f"{key}.max_minutes.implied", None)
        if "base" in settings:
            select_base(catalog.task(spec.task), settings["base"])
    del st.query_params["from"]
    st.query_params.pop("with", None)


def _parse_overrides(spec: RunSpec) -> dict[str, object]:
    """What a link wants to be different: '?with=learning_rate=0.0005,clip=1'. Refusal for what will not do."""
    wanted = [part.partition("=") for part in st.query_params.get("with", "").split(",") if part]
    changed = {name: value for name, _sign, value in wanted}
    fields = fields_for(catalog.task(spec.task), catalog.architecture(spec.architecture))
    parsed = {field.name: field.parse(changed[field.name]) for field in fields if field.name in changed}
    RunSpec.check({**spec.to_json(), "settings": {**spec.settings, **changed, **parsed}})
    return parsed


def _newest_selection() -> dict[str, str]:
    runs = studio().runs.all(limit=1)
    if not runs:
        return {}
    spec = runs[0].spec
    return {"task": spec.task, "dataset": spec.dataset, "architecture": spec.architecture}


def _write_url(chosen: Combination) -> None:
    """Write the choice where it is found again."""
    names = chosen.names()
    remember("train", names)
    if names != st.session_state.get("train.written") or any(
        st.query_params.get(key) != value for key, value in names.items()
    ):
        st.query_params.update(names)
        st.session_state["train.written"] = names


def title_of(kind: str, name: str) -> str:
    """A task's, data set's or network's title; the bare name of one that is no longer there."""
    try:
        return say(getattr(catalog, kind)(name).title)
    except Refusal:
        return name
