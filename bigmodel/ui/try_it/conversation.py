"""A chat: what was said stands above, and each answer is written with all of it in mind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.blocks import Block, Prose
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field, Turns
from bigmodel.core.model import Model
from bigmodel.ui.ask import Form, validated
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, current, escape_markdown
from bigmodel.ui.models import facts
from bigmodel.ui.state import studio
from bigmodel.ui.streaming_text import streaming_text
from bigmodel.ui.try_it.answer_card import answer_card
from bigmodel.ui.try_it.answers import Answer
from bigmodel.ui.try_it.compare import differences, heading
from bigmodel.ui.try_it.history import Exchange

LABEL_CHARACTERS = 24  # letters of an example on its button


def is_chat(task: Task) -> bool:
    """Whether its answers depend on what has been said before."""
    return any(isinstance(field, Turns) for field in task.inputs)


def chat_view(model: Model, other: Model | None, task: Task) -> None:
    """The conversation with a model, or with two at once, each of which remembers what it has said itself: the messages,
    a place for the next one, how it is to be answered."""
    asked = next(field for field in task.inputs if field.name == "message")
    rest = [field for field in task.inputs if field is not asked and not isinstance(field, Turns)]
    models = [one for one in (model, other) if one is not None]
    said = chat_exchanges(model)
    form = Form(f"try.{model.id}", {}, sliders=True, columns=2)
    if other is not None:
        for one, column in zip(models, st.columns(2, gap="large"), strict=True):
            with column:
                heading(one, other if one is model else model)
    form.render_advanced(rest, _("How it answers"))
    if other is not None:
        differences(model, other, task)
    for number, one in enumerate(said):
        _show_exchange(one, models, number, last=one is said[-1])
    if said:
        _actions(models, said, form)
    else:
        st.caption(_("Say something, or take an example. What has been said is remembered until a new conversation."))
        _examples(models, form, rest)
    words = st.chat_input(_("Message to the model"), max_chars=asked.maximum, key=f"{form.key}.message")
    if words:
        _send_message(models, form, rest, words)


def chat_exchanges(model: Model) -> list[Exchange]:
    """Of this conversation, in the order in which they were begun."""
    return st.session_state.setdefault("conversations", {}).setdefault(model.id, [])


def chat_history(said: Sequence[Exchange], model: str) -> list[dict[str, str]]:
    """What a model and the person have said to each other, as far as it is carried along; a question that it has not
    answered is left out."""
    found = []
    for one in said:
        text = _answer_text(one.answers.get(model))
        if text.strip():
            found.append({"role": "user", "content": str(one.inputs["message"])})
            found.append({"role": "assistant", "content": text})
    while len(found) > limits.TURNS or sum(len(turn["content"]) for turn in found) > limits.TURN_CHARACTERS:
        del found[:2]
    return found


def _answer_text(answer: Answer | None) -> str:
    blocks = answer.blocks if answer is not None else ()
    return next((block.text for block in blocks if isinstance(block, Prose)), "")


def _ask(one: Exchange, model: Model, before: Sequence[Exchange]) -> None:
    """Ask a model, with what it has said before."""

    def ask(id: str, inputs: Mapping) -> Iterator[Block]:
        return studio().models.ask(id, inputs, model.task)

    one.answers[model.id] = Answer(model.id, {**one.inputs, "history": chat_history(before, model.id)}, ask)


def _show_exchange(one: Exchange, models: Sequence[Model], number: int, last: bool) -> None:
    with st.chat_message("user", avatar=":material/person:"):
        streaming_text(str(one.inputs["message"]), key=f"turn.{number}.asked")
    there = [model for model in models if model.id in one.answers]
    columns = st.columns(len(there), gap="large") if len(there) > 1 else [st.container()]
    for model, column in zip(there, columns, strict=False):
        with column, st.chat_message("assistant", avatar=":material/smart_toy:"):
            if len(models) > 1:
                st.caption(escape_markdown(facts.name(model)))
            answer_card(one.answers[model.id], None, f"turn.{number}.{model.id}", stoppable=last)


def _send_message(models: Sequence[Model], form: Form, fields: Sequence[Field], message: str) -> None:
    """The next message; an answer that is still being written is stopped, and what it has said so far counts."""
    said = chat_exchanges(models[0])
    try:
        one = Exchange({**validated(fields, form.values), "message": message})
    except Refusal as refusal:
        if not form.show_error(refusal.field, refusal.say(current())):
            show_refusal(refusal)
        return
    if said:
        said[-1].stop()
    for model in models:
        _ask(one, model, said)
    said.append(one)
    st.rerun()


def _actions(models: Sequence[Model], said: list[Exchange], form: Form) -> None:
    """Another answer to the last message, or a new conversation."""
    last = said[-1]
    with st.container(horizontal=True):
        running = any(answer.running for answer in last.answers.values())
        if not running and st.button(_("Another answer"), icon=":material/casino:", key=f"{form.key}.again"):
            again = Exchange({**last.inputs, "seed": int(last.inputs.get("seed") or 0) + 1})
            for model in models:
                _ask(again, model, said[:-1])
            said[-1] = again
            st.rerun()
        if st.button(_("New conversation"), icon=":material/add_comment:", key=f"{form.key}.new"):
            last.stop()
            said.clear()
            st.rerun()


def _examples(models: Sequence[Model], form: Form, fields: Sequence[Field]) -> None:
    """How a conversation may begin."""
    with st.container(horizontal=True, gap="small"):
        for number, one in enumerate(studio().models.examples(models[0].id)):
            words = " ".join(str(one.get("message", "")).split())
            label = words if len(words) <= LABEL_CHARACTERS else words[: LABEL_CHARACTERS - 1] + "…"
            if st.button(escape_markdown(label), key=f"{form.key}.example.{number}", wrap=True):
                _send_message(models, form, fields, str(one["message"]))
