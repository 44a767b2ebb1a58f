"""What the doctor says of a run: a card for each diagnosis, with what was seen, what would do, and the button that does it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field
from bigmodel.core.spec import fields_for
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.doctor import signs
from bigmodel.doctor.diagnosis import Diagnosis
from bigmodel.studio import Run
from bigmodel.ui import amounts, places
from bigmodel.ui.curves import Curves
from bigmodel.ui.language import _, plain, say
from bigmodel.ui.state import studio, token
from bigmodel.ui.trouble import refusals

ICON = ":material/stethoscope:"
# at the curve, where there is room for a word
MARKS: Mapping[str, Words] = {
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
            _card(run, diagnosis)


def marks(past: Curves) -> dict[str, float]:
    """Label -> step of the places that the diagnoses speak of; what has held from the start has no place."""
    return {say(MARKS[one.kind]): float(one.since_step) for one in past.diagnoses if one.kind in MARKS}


def _card(run: Run, diagnosis: Diagnosis) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"{ICON} **{plain(say(diagnosis.title))}**")
        since = _("step {step}", step=amounts.count(diagnosis.since_step))
        st.badge(since if diagnosis.since_step > 1 else _("from the start"), color="orange")
    st.markdown(plain(say(diagnosis.evidence)))
    st.markdown(plain(say(diagnosis.advice)))
    key = f"doctor.{diagnosis.kind}"
    if diagnosis.kind == signs.SHUFFLED:
        if st.button(_("Look at the data"), icon=":material/table_view:", key=f"{key}.data"):
            places.go("data", dataset=run.spec.dataset)
        return
    fields = _fields(run)
    if not fields or not diagnosis.remedy:
        return
    st.caption(_("Change: {changes}", changes=_changes(run, diagnosis, fields)))
    with st.container(horizontal=True, gap="small"):
        _go_on(run, diagnosis, key)
        if st.button(_("Train again with this"), icon=":material/replay:", key=f"{key}.again"):
            places.go("train", **{"from": run.id, "with": written(diagnosis.remedy)})


def _go_on(run: Run, diagnosis: Diagnosis, key: str) -> None:
    """A new run from the last checkpoint before the harm was done, where there is one."""
    if not diagnosis.from_checkpoint:
        return
    before = math.inf if diagnosis.kind == signs.PLATEAU else diagnosis.since_step
    step = next((one.step for one in studio().checkpoints(run.id) if one.step < before), None)
    if step is None:
        return
    label = _("Go on from step {step} with this", step=amounts.count(step))
    if not st.button(label, icon=":material/alt_route:", disabled=studio().read_only, key=f"{key}.on"):
        return
    with refusals():
        places.go("runs", run=studio().branch(run.id, step, dict(diagnosis.remedy), token=token(f"{key}.{run.id}")))


def _changes(run: Run, diagnosis: Diagnosis, fields: Mapping[str, Field]) -> str:
    """'Learning rate 0.001 → 0.0005, ...'"""
    parts = []
    for name, value in diagnosis.remedy.items():
        before, after = (_value(fields[name], one) for one in (run.spec.settings.get(name), value))
        parts.append(plain(f"{say(fields[name].label)} {before} → {after}"))
    return amounts.joined(parts)


def _fields(run: Run) -> dict[str, Field]:
    """The settings of the run's task and network; none where these are no longer there."""
    try:
        known = fields_for(catalog.task(run.spec.task), catalog.architecture(run.spec.architecture))
    except Refusal:
        return {}
    return {field.name: field for field in known}


def _value(field: Field, value: object) -> str:
    if isinstance(field, Choice) and value in field.options:
        return say(field.options[value])
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def written(remedy: Mapping[str, object]) -> str:
    """Settings as they stand in a link: 'learning_rate=0.0005,clip=1.0'."""
    return ",".join(f"{name}={value}" for name, value in remedy.items())
