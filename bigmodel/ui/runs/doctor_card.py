"""What the doctor says of a run: a card for each diagnosis, with what was seen, what would do, and the button that does it."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import NoReturn

import streamlit as st

from bigmodel.core import catalog, events
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field
from bigmodel.core.spec import fields_for
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.doctor import signs
from bigmodel.doctor.diagnosis import Diagnosis
from bigmodel.runs.run import Run
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs.curves import Curves
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import session_token, studio

log = logging.getLogger("bigmodel.ui")
_logged: set[tuple[str, str]] = set()  # (run, diagnosis) whose buttons could not be drawn

ICON, STOP_ICON, BRANCH_ICON = ":material/stethoscope:", ":material/stop_circle:", ":material/alt_route:"
# at the curve, where there is room for a word
MARKER_LABELS: Mapping[str, Words] = {
    signs.NOT_A_NUMBER: words("Not a number"),
    signs.SPIKE: words("Spike"),
    signs.PLATEAU: words("Standstill"),
    signs.OVERFITTING: words("Turning point"),
    signs.RATE_TOO_HIGH: words("Rate too high"),
}


def doctor_cards(run: Run, past: Curves) -> None:
    """One card for each diagnosis, the most telling first; nothing for a run that is well."""
    for diagnosis in past.diagnoses:
        with st.container(border=True, key=f"doctor.{diagnosis.kind}", gap="small"):
            _diagnosis_text(diagnosis)
            try:
                _buttons(run, diagnosis, f"doctor.{diagnosis.kind}")
            except Exception as error:  # the page is there for the run, whatever becomes of the advice
                _without_buttons(run, diagnosis, error)


def diagnosis_markers(past: Curves) -> dict[str, float]:
    """Label -> step of the places that the diagnoses speak of; what has held from the start has no place."""
    return {
        say(MARKER_LABELS[diagnosis.kind]): float(diagnosis.since_step)
        for diagnosis in past.diagnoses
        if diagnosis.kind in MARKER_LABELS
    }


def _diagnosis_text(diagnosis: Diagnosis) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{ICON} **{escape_markdown(say(diagnosis.title))}**")
        since = _("step {step}", step=number_format.count(diagnosis.since_step))
        st.badge(since if diagnosis.since_step > 1 else _("from the start"), color="orange")
    st.markdown(escape_markdown(say(diagnosis.evidence)))
    st.markdown(escape_markdown(say(diagnosis.advice)))


def _without_buttons(run: Run, diagnosis: Diagnosis, error: Exception) -> None:
    """Said each time, logged once: a live page is drawn each second."""
    if (run.id, diagnosis.kind) not in _logged:
        _logged.add((run.id, diagnosis.kind))
        log.error("no buttons for %s of %s", diagnosis.kind, run.id, exc_info=error)
    st.caption(_("What would do cannot be offered as a button just now; the server's log says why."))


# -- buttons -------------------------------------------------------------------------------------------------------
def _buttons(run: Run, diagnosis: Diagnosis, key: str) -> None:
    if diagnosis.kind == signs.SHUFFLED:
        if st.button(_("Look at the data"), icon=":material/table_view:", key=f"{key}.data"):
            navigation.go("data", dataset=run.spec.dataset)
        return
    fields = _fields(run)
    if not fields:
        return
    if not diagnosis.remedy:  # a setting that stands at its bound already: what else to change is for the person
        if st.button(_("Train again with other settings"), icon=":material/replay:", key=f"{key}.again"):
            navigation.go("train", **{"from": run.id})
        return
    st.caption(_("Change: {changes}", changes=_changes(run, diagnosis, fields)))
    goes_on, step = _is_running(run), _healthy_checkpoint_step(run, diagnosis)
    if goes_on:
        st.caption(_("This run goes on. The new one waits in the queue until this and those before it have ended."))
    with st.container(horizontal=True, gap="small"):
        if (
            goes_on
            and step is None
            and st.button(
                _("Stop this run and train again with this"),
                icon=STOP_ICON,
                key=f"{key}.stop",
                **disabled_if_read_only(),
            )
        ):
            with refusals():
                _stop(run)
                _train_again(run, diagnosis)
        if step is not None:
            _branch_buttons(run, diagnosis, step, goes_on, key)
        if st.button(_("Train again with this"), icon=":material/replay:", key=f"{key}.again"):
            _train_again(run, diagnosis)


def _branch_buttons(run: Run, diagnosis: Diagnosis, step: int, goes_on: bool, key: str) -> None:
    """A sick run that goes on holds the device: what is begun beside it waits, unless the run is stopped for it."""
    said = number_format.count(step)
    label = _("Stop this run and go on from step {step} with this", step=said)
    if goes_on and st.button(label, icon=STOP_ICON, key=f"{key}.stop", **disabled_if_read_only()):
        with refusals():
            child = _branch(run, diagnosis, step)
            _stop(run)  # only now: where a branch is refused, nothing is lost
            navigation.go("runs", run=child)
    if st.button(
        _("Go on from step {step} with this", step=said), icon=BRANCH_ICON, key=f"{key}.on", **disabled_if_read_only()
    ):
        with refusals():
            navigation.go("runs", run=_branch(run, diagnosis, step))


def _branch(run: Run, diagnosis: Diagnosis, step: int) -> str:
    """Its id. The same wish twice, by a double click say, is the same run."""
    wish = f"doctor {run.id} {step} {format_overrides(diagnosis.remedy)}"
    return studio().runs.branch(run.id, step, dict(diagnosis.remedy), token=session_token(wish))


def _stop(run: Run) -> None:
    with suppress(Refusal):  # it has just ended by itself
        studio().runs.stop(run.id)


def _train_again(run: Run, diagnosis: Diagnosis) -> NoReturn:
    navigation.go("train", **{"from": run.id, "with": format_overrides(diagnosis.remedy)})


def _is_running(run: Run) -> bool:
    return run.state in (*events.LIVE, events.QUEUED) and run.state != events.STOPPING


def _healthy_checkpoint_step(run: Run, diagnosis: Diagnosis) -> int | None:
    """The newest checkpoint from before the harm was done that leaves something to train; None where there is none."""
    if not diagnosis.from_checkpoint:
        return None
    before = min(diagnosis.sound_before, run.steps or math.inf)
    return next((checkpoint.step for checkpoint in studio().runs.checkpoints(run.id) if checkpoint.step < before), None)


def _changes(run: Run, diagnosis: Diagnosis, fields: Mapping[str, Field]) -> str:
    """'Learning rate 0.001 → 0.0005, ...'"""
    parts = []
    for name, value in diagnosis.remedy.items():
        before, after = (_format_value(fields[name], one) for one in (run.spec.settings.get(name), value))
        parts.append(escape_markdown(f"{say(fields[name].label)} {before} → {after}"))
    return number_format.join_list(parts)


def _fields(run: Run) -> dict[str, Field]:
    """The settings of the run's task and network; none where these are no longer there."""
    try:
        known = fields_for(catalog.task(run.spec.task), catalog.architecture(run.spec.architecture))
    except Refusal:
        return {}
    return {field.name: field for field in known}


def _format_value(field: Field, value: object) -> str:
    if isinstance(field, Choice) and value in field.options:
        return say(field.options[value])
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def format_overrides(remedy: Mapping[str, object]) -> str:
    """Settings as they stand in a link: 'learning_rate=0.0005,clip=1.0'."""
    return ",".join(f"{name}={value}" for name, value in remedy.items())
