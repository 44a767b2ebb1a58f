"""What is searched and for how long: a preset that needs no knowledge, its settings and ranges for those who have some, what it will take."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Number
from bigmodel.core.jobs import Job
from bigmodel.core.spec import RunSpec, defaults, fields_for
from bigmodel.training.forecast import Forecast
from bigmodel.tuning.search_space import Dimension, Options, Range, searchable_fields
from bigmodel.tuning.study_spec import (
    GRID,
    NO_PRUNING,
    PRESETS,
    SEARCH_FIELDS,
    StudySpec,
    preset_space,
    typical_runs,
    with_validations,
)
from bigmodel.ui import number_format
from bigmodel.ui.ask import Form, set_default, step_for
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, say
from bigmodel.ui.length_fields import explain_limit, follow_length
from bigmodel.ui.runs.details import format_value
from bigmodel.ui.state import session_token, studio
from bigmodel.ui.train.base_card import base_facts, remember_base, restore_base
from bigmodel.ui.train.forecast_queue import forecast_queue
from bigmodel.ui.train.selection import Combination

REFRESH_SECONDS = 0.7
MAX_NAMED = 6  # settings that are named in a line


def fixed_settings(chosen: Combination) -> RunSpec | None:
    """The run whose settings are varied: those of the Train page, folded away; None where one of them will not do."""
    fields = fields_for(chosen.task, chosen.architecture)
    usual = defaults(chosen.task, chosen.architecture, chosen.dataset)
    form = Form(chosen.key, usual)
    follow_length(form, usual)
    base = next((field for field in fields if field.name == "base"), None)
    if base is not None:  # what it begins with decides more than anything else
        restore_base(chosen.task, chosen.key)
        form.render_field(base)
        remember_base(chosen.task, form.values["base"])
        base_facts(form.values["base"])
    form.render_advanced(
        [field for field in fields if field is not base], _("Settings to begin with, as on the Train page")
    )
    explain_limit(form, usual)
    try:
        return RunSpec.check({**chosen.names(), "settings": form.values})
    except Refusal as refusal:
        if refusal.field not in form.error_slots:
            show_refusal(refusal)
        return None


def search_settings(spec: RunSpec, chosen: Combination) -> StudySpec | None:
    """The search; None where something of it will not do."""
    st.header(_("How long to search"))
    preset = st.radio(
        _("How long to search"),
        list(PRESETS),
        format_func=lambda name: f"{PRESETS[name].icon} {say(PRESETS[name].title)}",
        captions=[_caption(name, spec) for name in PRESETS],
        key="tune.preset",
        label_visibility="collapsed",
        persist_state="session",
    )
    key = f"tune.{chosen.key}.{preset}"
    with st.expander(_("What is searched, and how"), icon=":material/tune:"):
        space = _space(spec, chosen, preset, key)
        form = Form(
            f"{key}.search", {**{field.name: field.default for field in SEARCH_FIELDS}, **PRESETS[preset].search}
        )
        sampler = st.session_state.get(f"{key}.search.sampler", form.start["sampler"])
        form.render([field for field in SEARCH_FIELDS if field.name != "points" or sampler == GRID])
    try:
        return StudySpec.check({"spec": spec, "space": space, "search": form.values})
    except Refusal as refusal:
        if not form.show_error(refusal.field, say(refusal.what) + " " + say(refusal.do or "")):
            show_refusal(refusal)
        return None


def _caption(preset: str, spec: RunSpec) -> str:
    """What a preset searches, and what it takes as far as that is known."""
    study = StudySpec.check({"spec": spec, "space": preset_space(preset, spec), "search": PRESETS[preset].search})
    job, about = _forecast(spec), say(PRESETS[preset].about)
    if job.running or job.error is not None:
        return about
    return f"{about} **{_time(study, job.result)}**"


def _space(spec: RunSpec, chosen: Combination, preset: str, key: str) -> dict[str, dict]:
    """The settings that are searched, each with its range."""
    fields = searchable_fields(chosen.task, chosen.architecture)
    suggested = preset_space(preset, spec)
    set_default(f"{key}.names", list(suggested))
    names = st.multiselect(
        _("Settings that are searched"),
        list(fields),
        format_func=lambda name: say(fields[name].label),
        key=f"{key}.names",
        persist_state="session",
    )
    everything = {**preset_space("overnight", spec), **suggested}
    return {name: _dimension(fields[name], everything[name], f"{key}.{name}") for name in names}


def _dimension(field: Field, suggested: Dimension, key: str) -> dict:
    """The widgets of a range, or of the values that are tried."""
    if isinstance(suggested, Range) and isinstance(field, Number):
        kind = int if field.integer else float
        left, right = st.columns(2)
        bounds = []
        for column, end, label in ((left, "low", _("{name}, from", name=say(field.label))), (right, "high", _("to"))):
            set_default(f"{key}.{end}", kind(getattr(suggested, end)))
            with column:
                value = st.number_input(
                    label,
                    step=1 if field.integer else field.step or step_for(getattr(suggested, end)),
                    format="%d" if field.integer else "%g",
                    key=f"{key}.{end}",
                    persist_state="session",
                )
            bounds.append(value)
        return {"low": bounds[0], "high": bounds[1]}
    assert isinstance(suggested, Options)
    options = list(field.options) if isinstance(field, Choice) else list(suggested.values)
    set_default(f"{key}.options", [value for value in suggested.values if value in options])
    values = st.multiselect(
        say(field.label),
        options,
        format_func=lambda value: format_value(field, value),
        key=f"{key}.options",
        persist_state="session",
    )
    return {"options": values}


# -- what it will take ---------------------------------------------------------------------------------------
def cost_card(study: StudySpec) -> None:
    """Trials and time, as far as a run's forecast is there."""
    job = _forecast(study.spec)
    forecast = job.result if not job.running and job.error is None else None
    with st.grid(2, min_column_width=90, gap=("small", "small")):
        st.metric(_("Time"), _time(study, forecast) if forecast else "…" if job.running else "–")
        st.metric(_("Trials"), _trials(study))
    if job.running:
        st.fragment(_wait_for_forecast, run_every=REFRESH_SECONDS)(study.spec)
    elif job.refusal is not None:
        show_refusal(job.refusal)
    elif forecast is not None and forecast.seconds is not None:
        full = number_format.duration(forecast.seconds)
        pruned = study.search["pruner"] != NO_PRUNING
        st.caption(_("A trial of full length takes {time}; most end early.", time=full) if pruned else _("A trial takes {time}.", time=full))  # fmt: skip
    labels = [say(study.fields[name].label) for name in study.space]
    named = number_format.join_list(labels[:MAX_NAMED] + (["…"] if len(labels) > MAX_NAMED else []))
    st.caption(_("Searched: {settings}", settings=named))


def cost_line(study: StudySpec) -> str:
    """The same in a line, for a phone."""
    job = _forecast(study.spec)
    count = study.max_trials()
    trials = _("{count} trials", count=number_format.count(count)) if count else ""
    if job.running or job.error is not None:
        return trials
    return " · ".join(filter(None, [f"**{_time(study, job.result)}**", trials]))


def _wait_for_forecast(spec: RunSpec) -> None:
    if not _forecast(spec).running:
        st.rerun()
    st.caption(_(":shimmer[Measuring a few steps on the real data]"))


def _forecast(spec: RunSpec) -> Job[Forecast]:
    return forecast_queue(studio().models.forecast).submit(replace(spec, name=""), session_token("session"))


def _trials(study: StudySpec) -> str:
    count = study.max_trials()
    return number_format.count(count) if count else "∞"


def _time(study: StudySpec, forecast: Forecast) -> str:
    """Of the trials that are not pruned and of those that are, or what the search is limited to."""
    limits = [60.0 * study.search["minutes"]] if study.search["minutes"] else []
    runs = typical_runs(study)
    if runs and forecast.seconds is not None:
        limits.append(runs * forecast.seconds)
    if study.search["steps"] and forecast.step_seconds:
        limits.append(study.search["steps"] * forecast.step_seconds)
    return number_format.duration(min(limits)) if limits else "–"


def final_spec(study: StudySpec) -> Mapping:
    """With validations to prune by, where the forecast says that a run is long enough for them."""
    job = _forecast(study.spec)
    if job.running or job.error is not None:
        return study.to_json()
    return study.to_json() | {"spec": with_validations(study.spec, job.result.steps, job.result.epochs).to_json()}
