"""Tags and a note of a run, as they are shown and changed."""

from __future__ import annotations

import streamlit as st

from bigmodel.runs.run import Run
from bigmodel.ui.error_view import refusals
from bigmodel.ui.language import _, escape_markdown
from bigmodel.ui.runs.resume_branch import disabled_if_read_only
from bigmodel.ui.state import studio


def annotation_line(run: Run) -> None:
    """Nothing where nothing was written."""
    annotations = studio().runs.annotations(run.id)
    if annotations.tags:
        st.markdown(" ".join(f":blue-badge[{escape_markdown(tag)}]" for tag in annotations.tags))
    if annotations.note:
        st.caption(escape_markdown(annotations.note))


def annotate_button(run: Run) -> None:
    label = _("Tags and note")
    if st.button(label, icon=":material/sell:", key="run.annotate", **disabled_if_read_only()):
        _dialog(run)


def _dialog(run: Run) -> None:
    @st.dialog(_("Tags and note"))
    def ask() -> None:
        annotations = studio().runs.annotations(run.id)
        tags = st.multiselect(
            _("Tags"), annotations.tags, default=annotations.tags, key="annotate.tags", accept_new_options=True,
            placeholder=_("Type a tag and press Enter"),
        )  # fmt: skip
        note = st.text_area(_("Note"), annotations.note, key="annotate.note", height=120)
        if st.button(_("Save"), type="primary", key="annotate.save"):
            with refusals():
                studio().runs.annotate(run.id, tags, note)
                st.rerun()

    ask()
