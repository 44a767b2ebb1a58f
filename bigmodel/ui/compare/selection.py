"""Which runs are compared: of one task, those that differ in their seed alone as one group with one letter and colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field
from bigmodel.core.spec import RunSpec, fields_for
from bigmodel.core.words import _ as words
from bigmodel.evaluation.comparison import SEED, differing_settings, group_by_seed, letters
from bigmodel.runs.run import Run
from bigmodel.ui import number_format
from bigmodel.ui.language import _, say
from bigmodel.ui.runs.details import format_value
from bigmodel.ui.runs.list_row import plain_title
from bigmodel.ui.stable_selectbox import disambiguate
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of

MAX_RUNS = 500  # that can be chosen from, the newest
MANY = 8  # chosen runs, more than which are folded away
LABEL_SETTINGS = 3  # of those that differ, in the name of a group
NAMES = {"task": words("Task"), "architecture": words("Network"), "dataset": words("Data set")}


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone. number: its place among the groups, and in the palette."""

    number: int
    runs: Sequence[Run]
    label: str

    @property
    def letter(self) -> str:
        return letters(self.number)

    @property
    def spec(self) -> RunSpec:
        return self.runs[0].spec

    @cached_property
    def name(self) -> str:
        return f"{self.letter} · {self.title}"

    @property
    def title(self) -> str:
        count = len(self.runs)
        return _("{title} ({count} seeds)", title=self.label, count=count) if count > 1 else self.label


def selectable_runs() -> list[Run]:
    """Newest first, those of tasks that are there."""
    return [run for run in studio().runs.all(limit=MAX_RUNS) if run.spec.task in catalog.tasks()]


def select_runs(runs: Sequence[Run]) -> list[Run]:
    """What the address asks for, else the two newest of one task; more are added and taken away by hand."""
    by_id = {run.id: run for run in runs}
    _read_address(by_id)
    chosen = [by_id[id] for id in st.session_state.get("compare.runs", ()) if id in by_id]
    task = chosen[0].spec.task if chosen else runs[0].spec.task
    task = _select_task(runs, task)
    offered = {run.id: run for run in runs if run.spec.task == task}
    kept = [id for id in st.session_state.get("compare.runs", ()) if id in offered]
    st.session_state["compare.runs"] = kept or list(offered)[:2]
    if len(kept) > MANY:
        with st.expander(_("{count} runs are chosen", count=len(kept)), icon=":material/checklist:"):
            ids = _multiselect(offered)
    else:
        ids = _multiselect(offered)
    if ",".join(ids) != st.query_params.get("runs", ""):
        st.query_params["runs"] = ",".join(ids)
    st.session_state["compare.written"] = st.query_params.get("runs", "")
    return [offered[id] for id in ids]


def _read_address(by_id: Mapping[str, Run]) -> None:
    """Take over what the address asks for, once. What is not there (any more) is told."""
    asked = st.query_params.get("runs", "")
    if not asked or asked == st.session_state.get("compare.written"):
        return
    ids = list(dict.fromkeys(asked.split(",")))
    missing = [id for id in ids if id not in by_id]
    st.session_state["compare.runs"] = [id for id in ids if id in by_id]
    if missing:
        st.warning(
            _("These runs are not there: {runs}.", runs=number_format.join_list([id[:80] for id in missing[:5]]))
        )


def _select_task(runs: Sequence[Run], task: str) -> str:
    names = list(dict.fromkeys(run.spec.task for run in runs))
    if len(names) < 2:
        return names[0]
    if st.session_state.get("compare.task") not in names or st.session_state.get("compare.task.of") != task:
        st.session_state["compare.task"] = task
    chosen = st.segmented_control(
        _("Task"), names, format_func=lambda name: say(catalog.task(name).title), key="compare.task", required=True,
        label_visibility="collapsed",
    )  # fmt: skip
    st.session_state["compare.task.of"] = chosen
    return chosen


def _multiselect(offered: Mapping[str, Run]) -> list[str]:
    named = {id: f"{plain_title(run)} · {number_format.ago(run.created)}" for id, run in offered.items()}
    lines = disambiguate(named, lambda id: id[-4:])
    return st.multiselect(
        _("Runs"), list(offered), format_func=lines.__getitem__, key="compare.runs",
        placeholder=_("Choose two or more"), persist_state="session",
    )  # fmt: skip


# -- groups -------------------------------------------------------------------------------------------------
def groups_of(runs: Sequence[Run]) -> list[Group]:
    """In the order in which the runs were chosen, each called by its name or by what it alone has."""
    by_id = {run.id: run for run in runs}
    members = [[by_id[id] for id in ids] for ids in group_by_seed({run.id: run.spec for run in runs})]
    labels = _labels([group[0] for group in members])
    return [Group(number, group, labels[group[0].id]) for number, group in enumerate(members)]


def _labels(firsts: Sequence[Run]) -> dict[str, str]:
    apart = differing_settings([run.spec for run in firsts])
    fields = fields_by_name(firsts)
    shown = sorted(apart, key=lambda name: (name == SEED, -len(set(map(str, apart[name])))))[:LABEL_SETTINGS]
    named = {}
    for number, run in enumerate(firsts):
        own = ", ".join(
            f"{setting_title(name, fields)} {show_setting(name, apart[name][number], fields)}" for name in shown
        )
        named[run.id] = run.spec.name or own or plain_title(run)
    return disambiguate(named, lambda id: id[-4:])


def fields_by_name(runs: Sequence[Run]) -> dict[str, Field]:
    fields: dict[str, Field] = {}
    for task, architecture in {(run.spec.task, run.spec.architecture) for run in runs}:
        try:
            fields |= {
                field.name: field for field in fields_for(catalog.task(task), catalog.architecture(architecture))
            }
        except Refusal:  # of a network that is no longer there: its settings keep their own names
            continue
    return fields


def setting_title(name: str, fields: Mapping[str, Field]) -> str:
    if name in NAMES:
        return say(NAMES[name])
    return say(fields[name].label) if name in fields else name


def show_setting(name: str, value: object, fields: Mapping[str, Field]) -> str:
    if value is None:
        return "-"
    if name in NAMES:
        return title_of(name, str(value))
    return format_value(fields[name], value) if name in fields else str(value)


def task_of(groups: Sequence[Group]) -> Task:
    return catalog.task(groups[0].spec.task)
