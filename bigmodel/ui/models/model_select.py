"""Which model a page is about: the one of the address, else the one looked at last, else the first."""

from __future__ import annotations

import streamlit as st

from bigmodel.core.model import Model
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _
from bigmodel.ui.models import facts
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice
from bigmodel.ui.state import studio


def select_model(models: list[Model], page: str) -> Model:
    """The list to choose from. page: under whose name the choice is remembered."""
    key, written = f"{page}.model", f"{page}.written"
    ids = {model.id: model for model in models}
    asked = st.query_params.get("model", "")
    if asked and asked != st.session_state.get(written):
        if asked in ids:
            st.session_state[key] = asked
        else:
            with refusals():
                studio().models.get(asked)
    lines = disambiguate({id: facts.summary_line(model) for id, model in ids.items()})
    pin_choice(key, lines, models[0].id)
    id = st.selectbox(_("Model"), list(ids), format_func=lines.__getitem__, key=key, persist_state="session")
    if asked != id:
        st.query_params["model"] = id
    st.session_state[written] = id
    return ids[id]
