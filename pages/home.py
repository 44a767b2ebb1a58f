"""What this is, shown in ten seconds: models that answer at once, and the way to one of your own."""

import streamlit as st

from bigmodel.core import catalog, events
from bigmodel.ui import navigation
from bigmodel.ui.language import _
from bigmodel.ui.models.welcome import starter_cards, steps, task_card
from bigmodel.ui.runs.list_row import run_row
from bigmodel.ui.state import studio

MAX_RECENT_RUNS = 3  # runs shown
REFRESH_SECONDS = 2.0

st.title(_("Train a model of your own, and see how it learns"))
st.markdown(
    _(
        "On real data, on this machine, without a line of code. Watch the loss fall while it happens, then try what has come out."
    )
)


def live_run() -> None:
    """The run that is going on, with its progress."""
    for run in studio().runs.all(states=tuple(events.LIVE), limit=1):
        run_row(run)


if studio().runs.all(states=tuple(events.LIVE), limit=1):
    st.fragment(live_run, run_every=REFRESH_SECONDS)()

starter_cards()

st.header(_("Train your own"))
st.caption(_("Three clicks: choose one, start it, try it. The settings are chosen so that a first run works."))
with st.grid(4, min_column_width=190, gap="medium"):
    for task in catalog.tasks().values():
        task_card(task)

last = [run for run in studio().runs.all(limit=MAX_RECENT_RUNS + 1) if run.state not in events.LIVE][:MAX_RECENT_RUNS]
if last:
    st.header(_("Last runs"))
    for run in last:
        run_row(run)
    navigation.link("runs", _("All runs"), icon=":material/arrow_forward:")

st.header(_("How it works"))
steps()
