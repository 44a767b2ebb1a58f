"""The cards of the first page: models that answer at once, tasks to train for, the five steps."""

from __future__ import annotations

import threading

import streamlit as st

from bigmodel.core import catalog
from bigmodel.core.contracts import Task
from bigmodel.core.jobs import FAILED
from bigmodel.core.model import Model
from bigmodel.core.words import _ as words
from bigmodel.ui import navigation
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.models import facts
from bigmodel.ui.state import studio
from bigmodel.ui.try_it.answer_card import answer_card
from bigmodel.ui.try_it.answers import Answer

MAX_CARD_SCORES = 4  # scores on a card

STEPS = (
    (words("Choose"), words("A task, data and a network. Only what fits together is offered.")),
    (words("See what it takes"), words("Parameters, memory and time are measured before anything starts.")),
    (words("Start"), words("Training runs in the background. The browser may be closed.")),
    (words("Watch"), words("The loss falls, the samples get better, step by step.")),
    (words("Try it"), words("Ask your model. It also opens in plain transformers.")),
)

_example_answers: dict[
    tuple[str, int], Answer
] = {}  # what the starters have answered since the server began, for everybody
_lock = threading.Lock()


def example_answer(model: Model, number: int) -> Answer | None:
    """The answer to one of the model's examples, asked once for all visitors; None for a model without examples."""
    with _lock:
        known = _example_answers.get((model.id, number))
        if known and known.state != FAILED:
            return known
        examples = studio().models.examples(model.id)
        if not examples:
            return None
        inputs = {field.name: field.default for field in facts.task_of(model).inputs} | examples[number % len(examples)]
        _example_answers[model.id, number] = Answer(
            model.id, inputs, studio().models.ask
        )  # in the place of one that failed
        return _example_answers[model.id, number]


def starter_models() -> list[Model]:
    """The models that come along, in the order of their tasks."""
    order = list(catalog.tasks())
    return sorted(
        (model for model in studio().models.all() if model.starter), key=lambda model: order.index(model.task)
    )


def prefetch_examples() -> None:
    """Ask the examples of the front page, so that the first visitor finds them answered."""
    for model in starter_models():
        example_answer(model, 0)


def starter_cards() -> None:
    known = starter_models()
    if not known:
        st.info(
            _(
                "No models have come along with this copy of bigmodel. Train one below, or build them: python scripts/train_starters.py build"
            ),
            icon=":material/deployed_code:",
        )
        return
    with st.grid(2 if len(known) % 3 == 1 else 3, min_column_width=250, gap="medium"):  # none is left alone
        for model in known:
            starter_card(model)


def starter_card(model: Model) -> None:
    """What it is, and an answer of it that is there without asking."""
    task = facts.task_of(model)
    with st.container(border=True, height="stretch"):
        st.markdown(f"{task.icon} **{facts.title(model)}**")
        if say(model.about):
            st.caption(escape_markdown(say(model.about)))
        key = f"home.{model.id}"
        answer = example_answer(model, st.session_state.get(key, 0))
        if answer:
            answer_card(answer, task, f"{key}.answer", stoppable=False, scores=MAX_CARD_SCORES)
        st.space("stretch")
        merit = facts.test_score(model)
        if merit:
            st.caption(merit, help=facts.test_score_help(model))
        with st.container(horizontal=True):
            if st.button(_("Try it"), type="primary", icon=":material/play_circle:", key=f"{key}.try"):
                navigation.go("try", model=model.id)
            if answer:
                st.button(
                    _("Another one"), icon=":material/refresh:", key=f"{key}.next", on_click=_next_example, args=(key,)
                )


def _next_example(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 0) + 1


def task_card(task: Task) -> None:
    """A task with the data and the network that are offered first; a click leads to the filled-in form."""
    datasets, networks = catalog.datasets_for(task), catalog.architectures_for(task)
    if not datasets or not networks:
        return
    dataset, network = next(iter(datasets.values())), next(iter(networks.values()))
    with st.container(border=True, height="stretch"):
        st.markdown(f"{task.icon} **{say(task.title)}**")
        st.caption(escape_markdown(say(task.about)))
        st.space("stretch")
        st.markdown(f":small[{escape_markdown(say(dataset.title))} · {escape_markdown(say(network.title))}]")
        if st.button(_("Train this"), icon=":material/model_training:", key=f"home.train.{task.name}", width="stretch"):
            navigation.go("train", task=task.name, dataset=dataset.name, architecture=network.name)


def steps() -> None:
    with st.grid(5, min_column_width=140, gap="medium"):
        for number, (title, sentence) in enumerate(STEPS, start=1):
            with st.container():
                st.markdown(f":blue-badge[{number}] **{say(title)}**")
                st.caption(say(sentence))
