"""A model as a card: what it is, how good, how large, where it lies, and how plain transformers opens it."""

from __future__ import annotations

import json

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import HEADS, LOSS, Metric, Task
from bigmodel.core.model import Model
from bigmodel.ui import navigation, number_format
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.models import facts
from bigmodel.ui.state import studio
from bigmodel.ui.train.fine_tune import fine_tune_button

MAX_METRICS = 2  # metrics on a card


def model_card(model: Model) -> None:
    task = facts.task_of(model)
    with st.container(border=True, height="stretch"):
        st.markdown(f"{task.icon} **{facts.title(model)}**")
        if say(model.about):
            st.caption(escape_markdown(say(model.about)))
        st.caption(facts.description(model))
        _metrics(model, task)
        with st.expander(_("Recipe and files"), icon=":material/receipt_long:"):
            _details(model, task)
        st.space("stretch")
        with st.container(horizontal=True):
            if st.button(_("Try it"), type="primary", icon=":material/play_circle:", key=f"try.{model.id}"):
                navigation.go("try", model=model.id)
            fine_tune_button(model, key=f"tune.{model.id}")
            if not model.starter:
                if st.button(_("Its run"), icon=":material/monitoring:", key=f"run.{model.id}"):
                    navigation.go("runs", run=model.id)
                gone = st.button(
                    _("Delete"), icon=":material/delete:", key=f"delete.{model.id}", disabled=studio().read_only
                )
                if gone:
                    confirm_delete(model)


def _metrics(model: Model, task: Task) -> None:
    shown, _rest = _split_metrics(model, task)
    if not shown:
        st.caption(_("Not measured on the test split: its training was stopped."))
        return
    with st.grid(MAX_METRICS, min_column_width=90, gap="small"):
        for metric in shown:
            st.metric(
                say(metric.label), number_format.metric_value(metric, model.metrics[metric.name]), help=say(metric.help)
            )


def _split_metrics(model: Model, task: Task) -> tuple[list[Metric], list[Metric]]:
    """What the model was measured by: on the card, and in its recipe, where the loss goes, which says least."""
    found = [metric for metric in task.metrics if metric.name in model.metrics]
    found.sort(key=lambda metric: metric.name == LOSS.name)
    return found[:MAX_METRICS], found[MAX_METRICS:]


def _details(model: Model, task: Task) -> None:
    rows = {
        _("Task"): say(task.title),
        _("Size on disk"): number_format.byte_size(model.bytes),
        _("Made"): number_format.ago(model.created) if model.created else "",
    }
    for metric in _split_metrics(model, task)[1]:
        rows[say(metric.label)] = number_format.metric_value(metric, model.metrics[metric.name])
    network = catalog.architectures().get(model.architecture)
    if network and network.paper:
        rows[_("Paper")] = escape_markdown(network.paper)
    st.table(
        {name: value for name, value in rows.items() if value}, border="horizontal", alt=_("Facts about this model")
    )
    changed = ", ".join(f"{name}={value}" for name, value in model.settings.items())
    st.caption(escape_markdown(_("Settings: {settings}", settings=changed)))
    own = _is_custom_architecture(model)
    st.markdown(
        _("It opens in transformers; the network is one of our own, so bigmodel names it first:")
        if own
        else _("It opens in plain transformers, without bigmodel:")
    )
    st.code(usage_snippet(model, task, own), language="python", wrap_lines=True)


def _is_custom_architecture(model: Model) -> bool:
    """Whether the network is a class of bigmodel's and not of transformers'."""
    try:
        return json.loads((model.folder / "config.json").read_text("utf-8"))["model_type"].startswith("bigmodel")
    except (OSError, ValueError, KeyError):
        return False


def usage_snippet(model: Model, task: Task, own: bool = False) -> str:
    """The lines of transformers that open the model's folder."""
    head = HEADS[task.head]
    auto, processor = head.auto_class, head.processor_class
    folder = str(model.folder)
    named = (
        f"from bigmodel.core import catalog\ncatalog.architecture({model.architecture!r}).register()\n" if own else ""
    )
    return (
        f"{named}from transformers import {auto}, {processor}\n"
        f"model = {auto}.from_pretrained({folder!r})\n"
        f"processor = {processor}.from_pretrained({folder!r})"
    )


def confirm_delete(model: Model) -> None:
    @st.dialog(_("Delete this model?"))
    def ask() -> None:
        st.markdown(
            _(
                "{name}: the model, its curves and its log are removed from the disk. This cannot be undone.",
                name=facts.title(model),
            )
        )
        if st.button(_("Delete for good"), type="primary", key="confirm.delete"):
            with refusals():
                studio().runs.delete(model.id)
                st.rerun()

    ask()
