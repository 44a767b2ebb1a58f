"""What stands beside every page: the other pages, the run that is going on, the device, the language."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import events
from bigmodel.runs.run import Run
from bigmodel.ui import language, navigation, number_format
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, say
from bigmodel.ui.runs import poll_interval
from bigmodel.ui.runs.list_row import run_title
from bigmodel.ui.runs.status import status_style
from bigmodel.ui.state import studio

BUSY_SECONDS, IDLE_SECONDS = 2.0, 10.0  # between two looks at what is going on


def sidebar() -> None:
    with st.sidebar:
        with st.container(gap="xxsmall"):
            for name in navigation.PAGE_SPECS:
                navigation.link(name, width="stretch")
        st.space("small")
        busy = bool(_active_runs())
        st.fragment(_status, run_every=poll_interval.interval(BUSY_SECONDS) if busy else IDLE_SECONDS)(busy)
        language.language_switch()
        language.set_document_language()


def notices() -> None:
    if lost := studio().home_lost:
        show_refusal(lost)
    elif studio().read_only:
        st.warning(
            _(
                "Stop the other one, or look on: runs can be watched and models tried, but nothing can be started or changed."
            ),
            title=_("Another bigmodel works on this folder"),
            icon=":material/visibility:",
        )


def _active_runs() -> list[Run]:
    return studio().runs.all(states=(*events.LIVE, events.QUEUED))


def _status(was_busy: bool) -> None:
    """The live run and the device; looked at often only while something is going on."""
    runs = _active_runs()
    if bool(runs) != was_busy:
        st.rerun()
    live = [run for run in runs if run.state in events.LIVE]
    if live:
        _run_chip(live[0], waiting=len(runs) - len(live))
    elif runs:
        navigation.link("runs", _("Waiting: {count}", count=len(runs)), icon=":material/schedule:", width="stretch")
    _device_chip()


def _run_chip(run: Run, waiting: int) -> None:
    with st.container(border=True, gap="xsmall"):
        navigation.link("runs", run_title(run), icon="spinner", width="stretch", run=run.id)
        share = run.step / run.steps if run.steps else 0.0
        st.progress(min(1.0, share))
        left = (
            _("{time} left", time=number_format.duration(run.eta))
            if run.eta is not None
            else say(status_style(run.state).title)
        )
        st.caption(left if not waiting else _("{left} · waiting: {count}", left=left, count=waiting))


def _device_chip() -> None:
    device = studio().device()
    parts = [device.name]
    for name, used in device.used.items():
        total = device.total.get(name)
        if name.endswith("%") or name.endswith("percent"):
            parts.append(f"{used:.0f} %")
        elif total:
            parts.append(f"{used / 1e9:.1f} / {total / 1e9:.0f} GB")
    st.caption(":material/memory: " + " · ".join(parts))
