"""One run as it goes: its state in words, its numbers, its curves, its samples, its log. Redrawn in place."""

from __future__ import annotations

import time

import streamlit as st

from bigmodel.core import catalog, events
from bigmodel.core.contracts import LOSS, Task
from bigmodel.core.errors import Refusal
from bigmodel.runs.run import Run
from bigmodel.ui import number_format
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs import poll_interval
from bigmodel.ui.runs.curve_view import draw_curves
from bigmodel.ui.runs.curves import Curves, cached_curves
from bigmodel.ui.runs.details import log, samples, settings
from bigmodel.ui.runs.doctor_card import doctor_cards
from bigmodel.ui.runs.status import status_badge
from bigmodel.ui.state import studio

REFRESH_SECONDS = 1.0
LOADING_SECONDS = 0.4  # while a long story is read


def run_monitor(run: Run) -> None:
    """The live part of the page: looked at each second, or less often where many look, until the run is over."""
    every = _interval(run, cached_curves(str(studio().home), run.id).read(studio(), patience=0.0).complete)
    st.fragment(_refresh, run_every=every)(run.id, run.state, every)


def _interval(run: Run, whole: bool) -> float | None:
    if run.state in events.ENDED and whole:
        return None
    return poll_interval.interval(REFRESH_SECONDS if whole else LOADING_SECONDS)


def _refresh(id: str, drawn: str, every: float | None) -> None:
    """Redraw. A new state also changes what can be done with the run, so that the whole page is drawn again."""
    run = studio().runs.get(id)
    past = cached_curves(str(studio().home), id).read(studio())
    if run.state != drawn or every != _interval(run, past.complete):
        st.rerun()
    task = catalog.task(run.spec.task)
    with st.container():  # one place for all of it: charts whose place moves are built anew, and lose their zoom
        if not past.complete:
            st.progress(min(past.read_fraction, 1.0), text=_("Reading its long story: the curves below are growing."))
        _state(run)
        _progress(run)
        _metrics(run, past, task)
        doctor_cards(run, past)
    views = {"curves": _("Curves"), "samples": _("Samples"), "log": _("Log"), "settings": _("Settings")}
    st.session_state.setdefault(f"run.view.{id}", "curves")
    view = st.segmented_control(
        _("View"),
        list(views),
        format_func=views.__getitem__,
        key=f"run.view.{id}",
        required=True,
        label_visibility="collapsed",
        persist_state="session",
    )
    if view == "samples":
        samples(run, past, task)
    elif view == "log":
        log(run, past)
    elif view == "settings":
        settings(run, past)
    else:
        draw_curves(run, past, task)


# -- state in words ---------------------------------------------------------------------------------
def _state(run: Run) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        status_badge(run)
        words = run.reason or run.phase
        if run.error is None and words is not None:
            st.markdown(escape_markdown(say(words)))
        elif run.state == events.QUEUED:
            st.markdown(_("It begins when the runs before it are done."))
        elif run.state == events.STARTING:
            st.markdown(_("A worker is getting ready."))
    if run.error is not None:
        show_refusal(Refusal.from_json(run.error))
        number = run.error.get("id")
        if number:
            st.caption(_("The details are in the log below under {number}.", number=number))


def _progress(run: Run) -> None:
    if run.state not in events.LIVE:
        return
    if not run.steps:
        _pretraining(run)
        return
    parts = [_("Step {step} of {steps}", step=number_format.count(run.step), steps=number_format.count(run.steps))]
    if run.epoch:
        parts.append(_("epoch {epoch}", epoch=f"{run.epoch:.1f}"))
    if run.eta is not None:
        parts.append(_("{time} left", time=number_format.duration(run.eta)))
    st.progress(min(1.0, run.step / run.steps), text=" · ".join(parts))


def _pretraining(run: Run) -> None:
    """What comes before the first step, where the network guesses masked words first."""
    before = run.pretraining
    if before.get("steps"):
        text = _(
            "Pretraining, step {step} of {steps}",
            step=number_format.count(before["step"]),
            steps=number_format.count(before["steps"]),
        )
        st.progress(min(1.0, before["step"] / before["steps"]), text=text)


def _metrics(run: Run, past: Curves, task: Task) -> None:
    """The few numbers that say how it goes: where, how much, of what."""
    if run.loss is None:
        return
    first = task.metrics[0]
    name = say(first.label)
    tiles = [(_("Training"), number_format.number(run.loss), say(LOSS.label))]
    if first.name in run.validation:
        told = [name]
        if first.name in run.baseline:  # there is room for one more, and this tells how far it has come
            told.append(_("base {value}", value=number_format.metric_value(first, run.baseline[first.name])))
        elif first.name in run.best:
            told.append(_("best {value}", value=number_format.metric_value(first, run.best[first.name])))
        tiles.append((_("Validation"), number_format.metric_value(first, run.validation[first.name]), " · ".join(told)))
    if first.name in run.result:
        tiles.append((_("Test"), number_format.metric_value(first, run.result[first.name]), name))
    rate = past.lines["rate"]
    if len(rate) and run.state in events.LIVE:
        tiles.append((_("Speed"), number_format.compact(rate.value[-1]), _("{unit} a second", unit=say(task.unit))))
    trained = number_format.trained_parameters(run.plan.get("trainable"), run.plan.get("parameters"))
    if trained:
        tiles.append((_("Parameters"), number_format.compact(run.plan["parameters"]), trained))
    tiles.append(
        (
            _("Time"),
            number_format.duration(_elapsed(run)),
            _("since the start") if run.state in events.LIVE else _("in all"),
        )
    )
    with st.grid(len(tiles), min_column_width=150, gap="small"):
        for place, value, what in tiles:
            st.metric(place, value, delta=what, delta_color="off", delta_arrow="off", border=True)


def _elapsed(run: Run) -> float:
    end = run.ended or time.time()
    return max(0.0, end - (run.started or end))
