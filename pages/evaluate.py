"""How good a model is: the headline with its interval, every metric, what is taken for what, and the rows behind it."""

from dataclasses import replace

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.core.words import Words
from bigmodel.evaluation.evaluation import Evaluation
from bigmodel.evaluation.service import EvaluationProgress
from bigmodel.ui import navigation
from bigmodel.ui.error_view import refusals, show_refusal
from bigmodel.ui.evaluate.class_view import class_view
from bigmodel.ui.evaluate.evaluation_choice import Selection, select
from bigmodel.ui.evaluate.figures import headline, metric_table, other_parts, provenance
from bigmodel.ui.evaluate.loss_view import loss_view
from bigmodel.ui.evaluate.row_list import row_list
from bigmodel.ui.evaluate.slices_view import slices_view
from bigmodel.ui.language import _, say
from bigmodel.ui.models import facts
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import studio

REFRESH_SECONDS = 0.7


def begin_button(selection: Selection) -> None:
    st.caption(
        _(
            "The model answers every row once. Each answer is kept, so that every figure leads to the rows it is made of."
        )
    )
    if st.button(
        _("Evaluate"), type="primary", icon=":material/rule:", key="evaluate.begin", **disabled_if_read_only()
    ):
        with refusals():
            studio().evaluations.begin(selection.model.id, selection.dataset, selection.split)
            st.rerun()


def progress(id: str) -> None:
    state = studio().evaluations.state(id)
    if not isinstance(state, EvaluationProgress):
        st.rerun()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(min(state.share, 1.0), text=say(state.title))
        if st.button(_("Cancel"), icon=":material/close:", key="evaluate.cancel"):
            studio().evaluations.cancel(id)
            st.rerun()


def results(evaluation: Evaluation, model: Model) -> None:
    evaluation = replace(evaluation, classes=[say(Words(name)) for name in evaluation.classes])
    headline(evaluation)
    metric_table(evaluation)
    other_parts(evaluation, model)
    records = studio().evaluations.records(evaluation.id)
    key = f"evaluate.{evaluation.id}"
    if "predicted" in records:
        class_view(records, evaluation.classes, key)
    hardest, weakest = st.columns([6, 5], gap="large")
    with hardest:
        loss_view(records, key)
    with weakest:
        slices_view(evaluation, key)
    row_list(evaluation, records, key)
    next_steps(evaluation)
    provenance(evaluation)


def next_steps(evaluation: Evaluation) -> None:
    st.header(_("What next"))
    with st.container(horizontal=True):
        navigation.link("try", _("Try it"), icon=":material/play_circle:", model=evaluation.model)
        if evaluation.model in studio().runs.ids():
            again = _("Train again with these settings")
            navigation.link("train", again, icon=":material/replay:", **{"from": evaluation.model})
            navigation.link("runs", _("Its training"), icon=":material/monitoring:", run=evaluation.model)


def main() -> None:
    st.title(_("Evaluate"))
    models = facts.selectable_models()
    if not models:
        st.markdown(_("There is no model to evaluate yet. Train one: it takes about a minute."))
        if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
            navigation.go("train")
        return
    selection = select(models)
    if selection is None:
        st.info(_("There is no data set with the columns that this model reads."), icon=":material/info:")
        return
    with refusals():
        state = studio().evaluations.state(selection.id)
        if isinstance(state, EvaluationProgress):
            st.fragment(progress, run_every=REFRESH_SECONDS)(selection.id)
        elif isinstance(state, Evaluation):
            results(state, selection.model)
        else:
            if isinstance(state, Refusal):
                show_refusal(state)
            begin_button(selection)


main()
