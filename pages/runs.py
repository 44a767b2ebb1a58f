"""All runs, newest first; with ?run=ID one of them, live."""

import streamlit as st

from bigmodel.core import events
from bigmodel.runs.run import Run
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import contained, refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.models.facts import network_of
from bigmodel.ui.runs.annotate import annotate_button, annotation_line
from bigmodel.ui.runs.list_row import confirm_delete, confirm_stop, run_row, run_title
from bigmodel.ui.runs.list_table import LIST, TABLE, run_table, select_view
from bigmodel.ui.runs.monitor import run_monitor
from bigmodel.ui.runs.resume_branch import branch_buttons, disabled_if_read_only, lineage, notes, resume_buttons
from bigmodel.ui.state import studio
from bigmodel.ui.train.selection import title_of

PAGE_SIZE = 20  # runs on one screen


def actions(run: Run) -> None:
    """What can be done with a run in its state."""
    with st.container(horizontal=True, gap="small"):
        if run.state in (*events.LIVE, events.QUEUED) and run.state != events.STOPPING:
            waiting = run.state == events.QUEUED
            label = _("Take out of the queue") if waiting else _("Stop")
            if st.button(label, icon=":material/stop_circle:", key="run.stop", **disabled_if_read_only()):
                confirm_stop(run)
        resume_buttons(run)
        first = "secondary" if run.state in (*events.RESUMABLE, events.DIVERGED) else "primary"
        if run.has_model and st.button(_("Try it"), icon=":material/play_circle:", type=first, key="run.try"):
            navigation.go("try", model=run.id)
        if run.has_model and st.button(_("Evaluate"), icon=":material/rule:", key="run.evaluate"):
            navigation.go("evaluate", model=run.id)
        branch_buttons(run)
        annotate_button(run)
        if st.button(_("Train again with these settings"), icon=":material/replay:", key="run.again"):
            navigation.go("train", **{"from": run.id})
        over = run.state in events.ENDED
        if over and st.button(_("Delete"), icon=":material/delete:", key="run.delete", **disabled_if_read_only()):
            confirm_delete(run)
    notes(run)


def run_page(id: str) -> None:
    navigation.link("runs", _("All runs"), icon=":material/arrow_back:")
    run = None
    with refusals():
        run = studio().runs.get(id)
    if run is None:
        return
    st.title(run_title(run))
    parts = [
        title_of("task", run.spec.task),
        network_of(run.spec.architecture, run.spec.settings),
        title_of("dataset", run.spec.dataset),
    ]
    st.caption(" · ".join(escape_markdown(part) for part in (*parts, number_format.ago(run.created))))
    annotation_line(run)
    lineage(run)
    if run.damage:
        st.warning(escape_markdown(say(run.damage)), icon=":material/heart_broken:")
    actions(run)
    run_monitor(run)


def run_list() -> None:
    st.title(_("Runs"))
    runs = studio().runs.all()
    if damage := studio().runs.damage():
        st.warning(escape_markdown(say(damage)), icon=":material/heart_broken:")
    if not runs:
        st.markdown(_("Nothing has been trained here yet. A first run takes about a minute."))
        if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
            navigation.go("train")
        return
    view = select_view() if len(runs) > 1 else LIST
    if view == TABLE:
        run_table(runs)
        return
    pages = -(-len(runs) // PAGE_SIZE)
    page = st.session_state.get("runs.page", 1)
    begin = (min(page, pages) - 1) * PAGE_SIZE
    for run in runs[begin : begin + PAGE_SIZE]:
        with contained():
            run_row(run)
    if pages > 1:
        st.pagination(pages, key="runs.page")


id = st.query_params.get("run", "")
if id:
    run_page(id)
else:
    busy = bool(studio().runs.all(states=(*events.LIVE, events.QUEUED), limit=1))
    st.fragment(run_list, run_every=2.0 if busy else None)()
