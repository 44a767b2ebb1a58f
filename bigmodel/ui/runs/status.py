"""The states of a run as people see them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from bigmodel.core import events
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.runs.run import Run
from bigmodel.ui.language import _, say


@dataclass(frozen=True)
class StatusStyle:
    title: Words
    colour: str
    icon: str


STATUS_STYLES = {
    events.QUEUED: StatusStyle(words("Waiting"), "gray", ":material/schedule:"),
    events.STARTING: StatusStyle(words("Starting"), "blue", ":material/rocket_launch:"),
    events.RUNNING: StatusStyle(words("Training"), "blue", ":material/directions_run:"),
    events.STOPPING: StatusStyle(words("Stopping"), "orange", ":material/hourglass_bottom:"),
    events.FINISHED: StatusStyle(words("Finished"), "green", ":material/check_circle:"),
    events.STOPPED: StatusStyle(words("Stopped"), "orange", ":material/stop_circle:"),
    events.CANCELLED: StatusStyle(words("Cancelled"), "gray", ":material/cancel:"),
    events.FAILED: StatusStyle(words("Failed"), "red", ":material/error:"),
    events.DIVERGED: StatusStyle(words("Diverged"), "red", ":material/trending_up:"),
    events.INTERRUPTED: StatusStyle(words("Interrupted"), "orange", ":material/power_off:"),
}


def status_style(state: str) -> StatusStyle:
    return STATUS_STYLES.get(state) or StatusStyle(words("Unknown"), "gray", ":material/help:")


def status_badge(run: Run) -> None:
    one = status_style(run.state)
    title = say(one.title)
    if run.state == events.QUEUED and run.position:
        title = _("Waiting, number {position}", position=run.position)
    st.badge(title, icon=one.icon, color=one.colour)
