"""A second model beside the one that is tried: its base, or another of the same task; and what differs between the two."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.ui import number_format
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.models import facts
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice
from bigmodel.ui.state import studio

NO_MODEL = "none"


def select_comparison(model: Model, models: Sequence[Model]) -> Model | None:
    """Of these and the bases, who is asked the same: its base, unless a person has chosen somebody else, or nobody. Kept in the URL."""
    base, why = _base_model(model)
    own = [one for one in models if one.task == model.task and not one.is_base]
    peers = [base, *own, *studio().models.bases(model.task)]
    others = {peer.id: peer for peer in peers if peer is not None and peer.id != model.id}
    if not others:
        if why:
            st.caption(f":material/info: {escape_markdown(why)}")
        return None
    usual = base.id if base is not None else NO_MODEL
    key = f"try.beside.{model.id}"
    _read_url(key, others, model)
    lines = disambiguate({NO_MODEL: _("Nothing"), **{id: facts.summary_line(other) for id, other in others.items()}})
    if base is not None:
        lines[base.id] = _("Its base: {model}", model=facts.name(base))
    pin_choice(key, lines, usual)
    id = st.selectbox(_("Compare with"), list(lines), format_func=lines.__getitem__, key=key, persist_state="session")
    if why and id == NO_MODEL:
        st.caption(f":material/info: {escape_markdown(why)}")
    _write_url(id, usual)
    return others.get(id)


def _base_model(model: Model) -> tuple[Model | None, str]:
    """(its base as it is, '') or (None, why it cannot stand beside; '' where there is nothing to explain)."""
    if not model.base:
        return None, ""
    try:
        return studio().models.base_of(model.id), ""
    except Refusal as refusal:
        return None, refusal.say(current())


def _read_url(key: str, others: Mapping[str, Model], model: Model) -> None:
    """Take over what the URL asks for, once."""
    asked = st.query_params.get("beside", "")
    if not asked or asked == st.session_state.get("try.beside.written"):
        return
    st.session_state["try.beside.written"] = asked
    if asked in (NO_MODEL, *others):
        st.session_state[key] = asked
        return
    with refusals():
        found = studio().models.get(asked, model.task)
        what = _("{model} cannot be asked the same.", model=facts.name(found))
        raise Refusal(what, do=_("Choose another one to compare with."), field="beside")


def _write_url(id: str, usual: str) -> None:
    """Only what is not the usual stands in the URL."""
    written = "" if id == usual else id
    if st.query_params.get("beside", "") != written:
        if written:
            st.query_params["beside"] = written
        else:
            del st.query_params["beside"]
    st.session_state["try.beside.written"] = written


# -- what differs ----------------------------------------------------------------------------------------
def heading(model: Model, other: Model) -> None:
    """Above an answer: whose it is, and how well it does on rows that neither was trained on."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{facts.title(model)}**")
        _metric_badge(model, other)
    st.caption(facts.description(model))


def _metric_badge(model: Model, other: Model) -> None:
    """A number, green for the better of two that can be compared."""
    mine, its = held_out_metrics(model, other)
    metric = _comparison_metric(model, other)
    if metric.name not in mine:
        return
    value, sign = mine[metric.name], 1 if metric.higher_is_better else -1
    better = metric.name in its and sign * value > sign * its[metric.name]
    st.badge(
        _(
            "{metric} {value} on held-out rows",
            metric=say(metric.label),
            value=number_format.metric_value(metric, value),
        ),
        color="green" if better else "gray",
        help=say(metric.help),
    )


def _comparison_metric(model: Model, other: Model) -> Metric:
    """By which number the two are held against each other: a base and its child, who share a tokenizer, by the loss."""
    task = facts.task_of(model)
    if _is_base_of(model, other) or _is_base_of(other, model):
        return LOSS
    return (
        next((metric for metric in task.metrics if metric.name == task.comparison_metric), None)
        or number_format.primary_metric(task, model.metrics)
        or LOSS
    )


def held_out_metrics(model: Model, other: Model) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """What each was measured by on the same rows, as far as that is known: ({}, {}) where nothing is."""
    if _is_base_of(other, model):
        return model.validation, model.before
    if _is_base_of(model, other):
        return other.before, other.validation
    if model.dataset and model.dataset == other.dataset:
        return model.metrics, other.metrics
    return {}, {}


def _is_base_of(one: Model, tuned: Model) -> bool:
    return bool(tuned.base) and one.id == f"base:{tuned.base}"


def differences(model: Model, other: Model, task: Task) -> None:
    """What is not the same of the two, side by side; folded away."""
    left, right = _facts(model, task), _facts(other, task)
    mine, its = held_out_metrics(model, other)
    for metric in task.metrics:
        if metric.name in mine or metric.name in its:
            name = say(metric.label)
            left[name], right[name] = (
                number_format.metric_value(metric, values[metric.name]) if metric.name in values else "–"
                for values in (mine, its)
            )
    titles = [facts.name(model), facts.name(other)]
    for more in (facts.network_title, lambda one: one.id):
        if titles[0] == titles[1]:
            titles = [f"{facts.name(one)} ({more(one)})" for one in (model, other)]
    rows = [
        {
            _("What"): label,
            escape_markdown(titles[0]): escape_markdown(left[label]),
            escape_markdown(titles[1]): escape_markdown(right[label]),
        }
        for label in left
        if left[label] != right[label]
    ]
    with st.container(key="try.differences"), st.expander(_("What differs"), icon=":material/difference:"):
        if rows:
            st.table(rows, border="horizontal", hide_index=True, alt=_("What differs between the two models"))
        else:
            st.caption(_("Nothing that is known: the same data, network and settings."))
        if mine or its:
            st.caption(_("The figures are those of rows that neither was trained on."))
        else:
            st.caption(
                _("They were not measured on the same rows, so their numbers cannot be held against each other.")
            )


def _facts(model: Model, task: Task) -> dict[str, str]:
    """Label -> value; the same labels for every model."""
    return {
        _("Network"): facts.network_title(model),
        _("Trained on"): facts.dataset_title(model) or "–",
        _("What was trained"): facts.training_method(model) or "–",
        _("Learning rate"): f"{model.settings['learning_rate']:.3g}" if "learning_rate" in model.settings else "–",
        _("Parameters"): number_format.compact(model.parameters),
        _("Size on disk"): number_format.byte_size(model.bytes),
    }
