"""The time limit of a form: as on the command line there is none where epochs or steps are asked for."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from bigmodel.core.spec import LENGTH_SETTINGS, without_time_limit
from bigmodel.ui.ask import Form
from bigmodel.ui.language import _

FIELD = "max_minutes"


def follow_length(form: Form, usual: Mapping[str, object]) -> None:
    """Before the fields are drawn: no limit where epochs or steps differ from the `usual` ones, until somebody sets one."""
    if FIELD in usual:
        form.follow(FIELD, {**usual, **without_time_limit(_changed_length(form, usual))}[FIELD])


def explain_lifted(form: Form, usual: Mapping[str, object]) -> None:
    """Under the field, once it is drawn: why there is no limit any more."""
    if _changed_length(form, usual) and usual.get(FIELD) and form.values.get(FIELD) == 0:
        form.error_slots[FIELD].caption(_("No limit: epochs or steps are asked for."))


def _changed_length(form: Form, usual: Mapping[str, object]) -> dict[str, object]:
    given = {name: st.session_state.get(f"{form.key}.{name}", form.start[name]) for name in LENGTH_SETTINGS}
    return {name: value for name, value in given.items() if value != usual[name]}
