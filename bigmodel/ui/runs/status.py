"""The states of a run as people see them."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from bigmodel.core import events
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.studio import Run
from bigmodel.ui.language import _, say


@dataclass(frozen=True)
class Look:
    title: Words
    colour: str
    icon: str


LOOKS = {
    events.QUEUED: Look(words("Waiting"), "gray", ":material/schedule:"),
    events.STARTING: Look(words("Starting"), "blue", ":material/rocket_launch:"),
    events.RUNNING: Look(words("Training"), "blue", ":material/directions_run:"),
    events.STOPPING: Look(words("Stopping"), "orange", ":material/hourglass_bottom:"),
    events.FINISHED: Look(words("Finished"), "green", ":material/check_circle:"),
    events.STOPPED: Look(words("Stopped"), "orange", ":material/stop_circle:"),
    events.CANCELLED: Look(words("Cancelled"), "gray", ":material/cancel:"),
    events.FAILED: Look(words("Failed"), "red", ":material/error:"),
    events.DIVERGED: Look(words("Diverged"), "red", ":material/trending_up:"),
    events.INTERRUPTED: Look(words("Interrupted"), "orange", ":material/power_off:"),
}


def look(state: str) -> Look:
    return LOOKS.get(state) or Look(words("Unknown"), "gray", ":material/help:")


def badge(run: Run) -> None:
    one = look(run.state)
    title = say(one.title)
    if run.state == events.QUEUED and run.position:
        title = _("Waiting, number {position}", position=run.position)
    st.badge(title, icon=one.icon, color=one.colour)
