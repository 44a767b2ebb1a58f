"""Ask a trained model: fill in what its task asks for, or take an example; the answer is written as it comes.
With a second model beside it both answer the same question."""

from collections.abc import Mapping

import streamlit as st

from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field, Image, Text
from bigmodel.core.model import Model
from bigmodel.ui import navigation
from bigmodel.ui.ask import Form, validated
from bigmodel.ui.css import scroll_into_view
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.image_widgets import gallery
from bigmodel.ui.language import _, current, escape_markdown
from bigmodel.ui.models import facts
from bigmodel.ui.models.model_select import select_model
from bigmodel.ui.state import studio
from bigmodel.ui.train.base_card import base_facts
from bigmodel.ui.try_it.answer_card import answer_card
from bigmodel.ui.try_it.compare import differences, heading, select_comparison
from bigmodel.ui.try_it.conversation import chat_view, is_chat
from bigmodel.ui.try_it.history import Exchange, ask_models, ask_other_model, exchanges_of

LABEL_CHARACTERS = 24  # letters of an example on its button


def ask_example(model: Model, other: Model | None, form: str, fields: tuple[Field, ...], example: Mapping) -> None:
    """Fill in an example and ask it, in one click."""
    inputs = {field.name: field.default for field in fields} | dict(example)
    for field in fields:
        if not isinstance(field, Image) and field.name in example:
            st.session_state[f"{form}.{field.name}"] = example[field.name]
        elif f"{form}.{field.name}" in st.session_state and not isinstance(field, Image):
            inputs[field.name] = st.session_state[f"{form}.{field.name}"]
    ask_models(model, other, inputs)


def examples(model: Model, other: Model | None, form: str, fields: tuple[Field, ...]) -> None:
    known = studio().models.examples(model.id)
    if not known:
        return
    unseen = not model.starter and not model.is_base
    st.markdown(_("**Examples** the model has not been trained on") if unseen else _("**Examples**"))
    picture = next((field.name for field in fields if isinstance(field, Image)), None)
    if picture:
        names = [_("Example {number}", number=number + 1) for number in range(len(known))]
        picked = gallery([one[picture] for one in known], names, key=f"{form}.gallery", label=_("Examples"))
        if picked is not None and 0 <= picked < len(known):
            ask_example(model, other, form, fields, known[picked])
        return
    text = next((field.name for field in fields if isinstance(field, Text)), None)
    with st.container(horizontal=True, gap="small"):
        for number, one in enumerate(known):
            words = " ".join(str(one.get(text, "")).split()) if text else ""
            label = words if len(words) <= LABEL_CHARACTERS else words[: LABEL_CHARACTERS - 1] + "…"
            st.button(
                escape_markdown(label) or _("Example {number}", number=number + 1),
                key=f"{form}.example.{number}",
                on_click=ask_example,
                args=(model, other, form, fields, one),
                wrap=True,
            )


def ask_again(form: str, model: Model, other: Model | None) -> None:
    """The same question with another seed."""
    key = f"{form}.seed"
    st.session_state[key] = int(st.session_state.get(key) or 0) + 1
    ask_models(model, other, {**exchanges_of(model)[0].inputs, "seed": st.session_state[key]})


def image_changed(form: Form, fields: tuple[Field, ...]) -> bool:
    """Whether a picture has just been drawn or uploaded: it is asked about without another click."""
    seen = hash(tuple(form.values[field.name] for field in fields if isinstance(field, Image)))
    empty = not any(form.values[field.name] for field in fields if isinstance(field, Image))
    key = f"{form.key}.seen"
    changed = st.session_state.get(key) != seen
    st.session_state[key] = seen
    return changed and not empty


def ask_form(model: Model, other: Model | None, task: Task, left, right) -> None:
    """The question on the left. Where two are asked, the settings stand on the right, so that the answers below both
    are still on the screen."""
    key = f"try.{model.id}"
    form = Form(key, {}, sliders=True, columns=2)
    first = [field for field in task.inputs if not field.advanced]
    further = [field for field in task.inputs if field.advanced]
    aside = [field for field in first if other is not None and not isinstance(field, Image | Text)]
    with right if other is not None and not aside and not further else left:
        examples(model, other, key, task.inputs)
    with left:
        form.render([field for field in first if field not in aside])
    with right if other is not None else left:
        form.render(aside)
        form.render_advanced(further, _("More settings"))
    with left, st.container(horizontal=True):
        label = _("Ask both") if other is not None else _("Ask the model")
        wanted = st.button(label, type="primary", icon=":material/play_arrow:", key="try.ask")
        past = exchanges_of(model)
        if past and "seed" in past[0].inputs:
            st.button(
                _("Another one"),
                icon=":material/casino:",
                on_click=ask_again,
                args=(key, model, other),
                key="try.again",
            )
    drawn = image_changed(form, task.inputs)
    if not wanted and not drawn:
        return
    try:
        ask_models(model, other, validated(task.inputs, form.values), instead=drawn and bool(past))
    except Refusal as refusal:
        if not form.show_error(refusal.field, refusal.say(current())):
            with left:
                show_refusal(refusal)


def show_answer(one: Exchange, model: Model, task: Task, key: str, newest: bool) -> None:
    """One model's answer to a question."""
    with st.container(border=True, height="stretch"):
        answer_card(one.answers[model.id], task, key, stoppable=newest)


def single_answer(model: Model, task: Task) -> None:
    past = exchanges_of(model)
    if not past:
        st.caption(_("The answer appears here. Take an example, or fill in your own."))
        return
    show_answer(past[0], model, task, "answer.0", newest=True)
    if len(past) > 1:
        with st.expander(_("Earlier answers"), icon=":material/history:"):
            for number, one in enumerate(past[1:], start=1):
                show_answer(one, model, task, f"answer.{number}", newest=False)


def compare_answers(model: Model, other: Model, task: Task) -> None:
    """Each under its name; beside each other where there is room, else one under the other."""
    past = exchanges_of(model)
    for asked, column in zip((model, other), st.columns(2, gap="large"), strict=True):
        with column:
            heading(asked, other if asked is model else model)
            if past:
                show_answer(past[0], asked, task, f"answer.0.{asked is model}", newest=True)
            else:
                st.caption(_("The answer appears here. Take an example, or fill in your own."))
    differences(model, other, task)
    earlier = [one for one in past[1:] if other.id in one.answers]
    if not earlier:
        return
    with st.expander(_("Earlier answers"), icon=":material/history:"):
        for number, one in enumerate(earlier, start=1):
            for asked, column in zip((model, other), st.columns(2, gap="large"), strict=True):
                with column:
                    show_answer(one, asked, task, f"answer.{number}.{asked is model}", newest=False)


st.title(_("Try it"))
models = facts.inference_models()
if not models:
    st.markdown(_("There is no model to try yet. Train one: it takes about a minute."))
    if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
        navigation.go("train")
    st.stop()

which, whom = st.columns(2, gap="large")
with which:
    model = select_model(models, "try")
with whom:
    other = select_comparison(model, models)
task = facts.task_of(model)
if other is not None:
    ask_other_model(model, other)
elif model.is_base:
    base_facts(model.id.removeprefix("base:"))
    navigation.link(
        "train", _("Fine-tune this"), ":material/tune:", base=model.id.removeprefix("base:"), task=model.task
    )
else:
    st.caption(" · ".join(part for part in (facts.description(model), facts.test_score(model)) if part))

if is_chat(task):
    chat_view(model, other, task)
    st.stop()

left, right = st.columns(2, gap="large")
ask_form(model, other, task, left, right)
with right if other is None else st.container(), st.container(key="try.answer"):
    if other is None:
        single_answer(model, task)
    else:
        compare_answers(model, other, task)
if st.session_state.pop("try.asked", False):
    scroll_into_view("try.answer")
