"""From a model to the Train page, where it is what the training begins with."""

from __future__ import annotations

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.model import Model
from bigmodel.ui import navigation
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _
from bigmodel.ui.state import studio


def fine_tune_button(model: Model, key: str) -> None:
    """A click leads to a form that is filled in; what a run has made is first taken in as a base. Nothing for a
    network that cannot be begun with."""
    if not studio().models.is_tunable(model):
        return
    if not st.button(_("Fine-tune this"), icon=":material/tune:", key=key, disabled=studio().read_only):
        return
    with refusals():
        base = studio().models.as_base(model.id)
        if not base:
            with st.spinner(_("Making a base model of it")):
                base = studio().base_models.fetch(f"run:{model.id}").wait()["base"]
        navigation.go("train", task=model.task, architecture=catalog.fine_tuning().name, base=base)
