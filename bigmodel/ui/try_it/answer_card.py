"""An answer on the screen, growing in place until it is done."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from bigmodel.core.blocks import Prose
from bigmodel.core.contracts import Task
from bigmodel.core.fields import Choice, Image, Text
from bigmodel.core.jobs import CANCELLED, FAILED
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.image_widgets import upscale
from bigmodel.ui.language import _
from bigmodel.ui.streaming_text import streaming_text
from bigmodel.ui.try_it.answers import Answer
from bigmodel.ui.try_it.render_blocks import MAX_SCORES, render_blocks

REFRESH_SECONDS = 0.25  # quick enough to look like writing


def answer_card(answer: Answer, task: Task | None, key: str, stoppable: bool = True, scores: int = MAX_SCORES) -> None:
    """Looked at a few times a second while it is being written, then no more. No task: what was asked is shown already."""
    running = answer.running
    st.fragment(_refresh, run_every=REFRESH_SECONDS if running else None)(answer, task, key, stoppable, scores, running)


def _refresh(answer: Answer, task: Task | None, key: str, stoppable: bool, scores: int, was_running: bool) -> None:
    if was_running and not answer.running:
        st.rerun()
    if task and not any(isinstance(block, Prose) and block.prompt for block in answer.blocks):
        show_question(task, answer.inputs, key)
    if answer.blocks:
        render_blocks(answer.blocks, f"{key}.block", done=not answer.running, scores=scores)
    elif answer.running:
        st.markdown(_(":shimmer[The model is being asked]"))
    if answer.running and stoppable:
        st.button(_("Stop"), icon=":material/stop:", key=f"{key}.stop", on_click=answer.cancel)
    elif answer.state == CANCELLED:
        st.caption(_("Stopped; this is what was there."))
    elif answer.refusal is not None:
        show_refusal(answer.refusal)
    elif answer.state == FAILED:
        st.error(
            _("The details are in the server's log. Ask again; if it happens again, train the model anew."),
            title=_("The model could not answer"),
            icon=":material/error:",
        )


def show_question(task: Task, inputs: Mapping, key: str) -> None:
    """What was asked, as far as the answer does not repeat it."""
    for field in task.inputs:
        value = inputs.get(field.name)
        if isinstance(field, Image) and isinstance(value, bytes) and value:
            st.image(upscale(value), width=96, alt=_("The picture that was asked about"))
        elif isinstance(field, Text) and not isinstance(field, Choice) and not field.advanced and value:
            streaming_text("", prompt=str(value), key=f"{key}.asked.{field.name}")
