"""The time limit of a form: as on the command line there is none where epochs or steps are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from bigmodel.core.spec import LENGTH_SETTINGS, without_time_limit
from bigmodel.ui.ask import Form
from bigmodel.ui.language import _

FIELD = "max_minutes"


def implied_limit(settings: Mapping[str, object], usual: Mapping[str, object]) -> object:
    """The minutes that hold where nobody sets any: none where epochs or steps differ from the `usual` ones."""
    given = {name: settings[name] for name in LENGTH_SETTINGS if settings[name] != usual[name]}
    return {**usual, **without_time_limit(given)}[FIELD]


def follow_length(form: Form, usual: Mapping[str, object]) -> None:
    """Before the fields are drawn: the limit that is implied, until a person sets one."""
    settings = {name: st.session_state.get(f"{form.key}.{name}", form.start[name]) for name in LENGTH_SETTINGS}
    form.follow(FIELD, implied_limit(settings, usual))


def explain_limit(form: Form, usual: Mapping[str, object]) -> None:
    """Under the field, once it is drawn: why there is no limit any more."""
    if usual[FIELD] and form.values[FIELD] == 0 == implied_limit(form.values, usual):
        form.error_slots[FIELD].caption(_("No limit: epochs or steps are asked for."))
