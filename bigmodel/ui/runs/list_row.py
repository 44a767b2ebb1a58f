"""A run in a line, and the questions asked before it is stopped or deleted."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog, events
from bigmodel.core.errors import Refusal
from bigmodel.runs.run import Run
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.models.facts import network_of
from bigmodel.ui.runs.status import status_badge
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of


def plain_title(run: Run) -> str:
    return run.spec.name or title_of("dataset", run.spec.dataset)


def run_title(run: Run) -> str:
    """For a place that obeys Markdown."""
    return escape_markdown(plain_title(run))


def run_row(run: Run) -> None:
    """What it is, how it stands, how good it is, and the way to it."""
    with st.container(border=True):
        what, standing = st.columns([4, 5], vertical_alignment="center")
        with what, st.container(gap="xxsmall"):
            st.markdown(f"**{run_title(run)}**")
            branch = _("branched off")
            parts = (
                title_of("task", run.spec.task),
                network_of(run.spec.architecture, run.spec.settings),
                number_format.ago(run.created),
            )
            branched = [f":material/alt_route: {escape_markdown(branch)}"] if run.spec.parent else []
            if run.spec.study:
                trial = _("trial {number}", number=run.spec.study["trial"])
                branched.append(f":material/tune: {escape_markdown(trial)}")
            tags = [f":blue-badge[{escape_markdown(tag)}]" for tag in studio().runs.annotations(run.id).tags]
            st.caption(" · ".join([*(escape_markdown(part) for part in parts), *branched, *tags]))
        with standing:
            grid = st.grid(3, min_column_width=80, gap="small", vertical_alignment="center")
            with grid.cell():
                status_badge(run)
            with grid.cell():
                _progress_or_metric(run)
            with grid.cell(), st.container(horizontal_alignment="right"):
                navigation.link("runs", _("Open"), icon=":material/arrow_forward:", run=run.id)


def _progress_or_metric(run: Run) -> None:
    if run.state in events.LIVE and run.steps:
        left = _("{time} left", time=number_format.duration(run.eta)) if run.eta is not None else ""
        st.progress(min(1.0, run.step / run.steps), text=left or None)
        return
    metrics = run.result or run.best or run.validation
    task = catalog.tasks().get(run.spec.task)
    said = number_format.headline(task, metrics) if task else None
    if said:
        st.markdown(f"{escape_markdown(said[1])}  \n:small[:gray[{said[0]}]]")
        return
    why = Refusal.from_json(run.error).what if run.error else run.reason
    if why:
        st.caption(escape_markdown(say(why)))


def confirm_stop(run: Run) -> None:
    waiting = run.state == events.QUEUED
    title = _("Take this run out of the queue?") if waiting else _("Stop this run?")

    @st.dialog(title)
    def ask() -> None:
        st.markdown(
            _("It has not begun; nothing is lost.")
            if waiting
            else _("The worker saves the weights it has and ends. The model can be tried, and the run resumed.")
        )
        if st.button(title.rstrip("?？"), type="primary", key="confirm.stop"):
            with refusals():
                studio().runs.stop(run.id)
                st.rerun()

    ask()


def confirm_delete(run: Run) -> None:
    @st.dialog(_("Delete this run?"))
    def ask() -> None:
        st.markdown(
            _(
                "{name}: its curves, its log and its model are removed from the disk. This cannot be undone.",
                name=run_title(run),
            )
        )
        if st.button(_("Delete for good"), type="primary", key="confirm.delete"):
            with refusals():
                studio().runs.delete(run.id)
                navigation.go("runs")

    ask()
