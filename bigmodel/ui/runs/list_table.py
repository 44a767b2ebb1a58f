"""The list of runs as a table: sorted by any column, filtered by words, metrics and settings, chosen to be compared."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import LOSS, Metric
from bigmodel.evaluation.comparison import differing_settings
from bigmodel.runs.run import Run
from bigmodel.ui import navigation, number_format
from bigmodel.ui.language import _, say
from bigmodel.ui.models.facts import network_of
from bigmodel.ui.runs.list_row import plain_title
from bigmodel.ui.runs.run_filter import matches, metrics_of
from bigmodel.ui.runs.status import status_style
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of

LIST, TABLE = "list", "table"
HEIGHT, ROW_HEIGHT, BORDER = 640, 35, 3  # pixels


def select_view() -> str:
    """Kept in the address."""
    names = {LIST: _("List"), TABLE: _("Table")}
    asked = st.query_params.get("view", "")
    st.session_state.setdefault("runs.view", asked if asked in names else LIST)
    view = st.segmented_control(
        _("View"), list(names), format_func=names.__getitem__, key="runs.view", required=True,
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    if view == TABLE:
        st.query_params["view"] = view
    elif "view" in st.query_params:
        del st.query_params["view"]
    return view


def run_table(runs: Sequence[Run]) -> None:
    asked = st.text_input(
        _("Filter"), key="runs.filter", placeholder="accuracy>0.9 channels=8", persist_state="session",
        help=_("Words that stand in a run's name, tags, note or settings; and conditions on metrics and settings by their names on the command line: `accuracy>90%`, `learning_rate<=0.001`, `state=finished`, `tag=good`."),
    )  # fmt: skip
    annotations = {run.id: studio().runs.annotations(run.id) for run in runs}
    shown = [run for run in runs if matches(run, annotations[run.id], _words(run), asked)]
    if not shown:
        st.caption(_("No run is like that."))
        return
    frame = _frame(shown, {id: found.tags for id, found in annotations.items()})
    event = st.dataframe(
        frame, hide_index=True, column_config=_columns(frame), on_select="rerun", selection_mode="multi-row",
        key=f"runs.table.{asked}.{shown[0].id}.{len(shown)}",  # rows are chosen by their numbers
        height=min(ROW_HEIGHT * (len(frame) + 1) + BORDER, HEIGHT),
    )  # fmt: skip
    chosen = [shown[number] for number in event.selection.rows if number < len(shown)]
    _actions(chosen)


def _actions(chosen: Sequence[Run]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        ready = len(chosen) > 1 and len({run.spec.task for run in chosen}) == 1
        label = _("Compare {count} runs", count=len(chosen)) if len(chosen) > 1 else _("Compare")
        if st.button(label, type="primary", icon=":material/balance:", key="runs.compare", disabled=not ready):
            navigation.go("compare", runs=",".join(run.id for run in chosen))
        if len(chosen) == 1:
            navigation.link("runs", _("Open"), icon=":material/arrow_forward:", run=chosen[0].id)
        elif not ready:
            words = (
                _("Choose runs of one task.")
                if len(chosen) > 1
                else _("Choose two or more runs by the boxes at their left.")
            )
            st.caption(words)


def _words(run: Run) -> str:
    names = [title_of(kind, getattr(run.spec, kind)) for kind in ("task", "architecture", "dataset")]
    return " ".join([plain_title(run), say(status_style(run.state).title), *names])


def _frame(runs: Sequence[Run], tags: dict[str, tuple[str, ...]]) -> pd.DataFrame:
    """A row a run; the settings in which they differ and all their metrics have a column each, shares in percent."""
    apart = {
        name: values
        for name, values in differing_settings([run.spec for run in runs]).items()
        if name not in ("task", "architecture", "dataset")
    }
    metrics = _metrics(runs)
    rows = []
    for number, run in enumerate(runs):
        row: dict[str, object] = {
            _("Run"): plain_title(run),
            _("Status"): say(status_style(run.state).title),
            _("Task"): title_of("task", run.spec.task),
            _("Network"): network_of(run.spec.architecture, run.spec.settings),
        }
        measured = metrics_of(run)
        for metric in metrics:
            value = measured.get(metric.name)
            row[say(metric.label)] = value * (100 if metric.percent else 1) if isinstance(value, int | float) else None
        row |= {name: _plain(values[number]) for name, values in apart.items()}
        row |= {
            _("Tags"): number_format.join_list(list(tags[run.id])),
            _("Started"): pd.Timestamp(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(run.created))),
            _("Name on disk"): run.id,
        }
        rows.append(row)
    frame = pd.DataFrame(rows)
    for name in apart:  # words and numbers in one column cannot be sorted
        if frame[name].map(type).nunique() > 1 and not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].map(lambda value: "" if value is None else str(value))
    return frame.dropna(axis=1, how="all")


def _plain(value: object) -> object:
    return str(value) if isinstance(value, bool) else value


def _metrics(runs: Sequence[Run]) -> list[Metric]:
    tasks = catalog.tasks()
    known = {metric.name: metric for run in runs if run.spec.task in tasks for metric in tasks[run.spec.task].metrics}
    return [*known.values(), *([LOSS] if LOSS.name not in known else [])]


def _columns(frame: pd.DataFrame) -> dict:
    shares = {say(metric.label) for task in catalog.tasks().values() for metric in task.metrics if metric.percent}
    columns: dict = {
        name: st.column_config.NumberColumn(name, format="%.1f %%" if name in shares else "%.4g")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    }
    return columns | {_("Started"): st.column_config.DatetimeColumn(_("Started"), format="YYYY-MM-DD HH:mm")}
