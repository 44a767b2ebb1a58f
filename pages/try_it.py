"""Ask a trained model: fill in what its task asks for, or take an example; the answer is written as it comes."""

from collections.abc import Mapping

import streamlit as st

from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field, Image, Text
from bigmodel.studio import Model
from bigmodel.ui import model_facts, places
from bigmodel.ui.answer_card import answer_card
from bigmodel.ui.answers import RUNNING, Answer
from bigmodel.ui.ask import Form, checked
from bigmodel.ui.dress import bring
from bigmodel.ui.language import _, current, plain
from bigmodel.ui.picture import gallery
from bigmodel.ui.state import studio
from bigmodel.ui.trouble import refusals, show_refusal

KEPT = 8  # answers of a model that a session remembers
LABEL = 24  # letters of an example on its button


def chosen(models: list[Model]) -> Model:
    """The model of the URL, else the one looked at last, else the first."""
    ids = {model.id: model for model in models}
    asked = st.query_params.get("model", "")
    if asked != st.session_state.get("try.written") and asked:
        if asked in ids:
            st.session_state["try.model"] = asked
        else:
            with refusals():
                studio().model(asked)
    if st.session_state.get("try.model") not in ids:
        st.session_state["try.model"] = models[0].id
    id = st.selectbox(
        _("Model"),
        list(ids),
        format_func=lambda id: model_facts.line(ids[id]),
        key="try.model",
        persist_state="session",
    )
    if asked != id:
        st.query_params["model"] = id
    st.session_state["try.written"] = id
    return ids[id]


def answers_of(model: Model) -> list[Answer]:
    return st.session_state.setdefault("answers", {}).setdefault(model.id, [])


def ask(model: Model, inputs: Mapping, instead: bool = False) -> None:
    """Put the question; an answer that is still being written is stopped and kept, or given up for this one."""
    past = answers_of(model)
    if past and past[0].state == RUNNING:
        past[0].stop()
    if instead and past:
        past.pop(0)
    past.insert(0, Answer(model.id, inputs, studio().ask))
    del past[KEPT:]
    st.session_state["try.asked"] = True


def take_example(model: Model, form: str, fields: tuple[Field, ...], example: Mapping) -> None:
    """Fill in an example and ask it, in one click."""
    inputs = {field.name: field.default for field in fields} | dict(example)
    for field in fields:
        if not isinstance(field, Image) and field.name in example:
            st.session_state[f"{form}.{field.name}"] = example[field.name]
        elif f"{form}.{field.name}" in st.session_state and not isinstance(field, Image):
            inputs[field.name] = st.session_state[f"{form}.{field.name}"]
    ask(model, inputs)


def examples(model: Model, form: str, fields: tuple[Field, ...]) -> None:
    known = studio().examples(model.id)
    if not known:
        return
    st.markdown(_("**Examples**") if model.starter else _("**Examples** the model has not been trained on"))
    picture = next((field.name for field in fields if isinstance(field, Image)), None)
    if picture:
        names = [_("Example {number}", number=number + 1) for number in range(len(known))]
        picked = gallery([one[picture] for one in known], names, key=f"{form}.gallery", label=_("Examples"))
        if picked is not None and 0 <= picked < len(known):
            take_example(model, form, fields, known[picked])
        return
    text = next((field.name for field in fields if isinstance(field, Text)), None)
    with st.container(horizontal=True, gap="small"):
        for number, one in enumerate(known):
            words = " ".join(str(one.get(text, "")).split()) if text else ""
            label = words if len(words) <= LABEL else words[: LABEL - 1] + "…"
            st.button(
                plain(label) or _("Example {number}", number=number + 1),
                key=f"{form}.example.{number}",
                on_click=take_example,
                args=(model, form, fields, one),
                wrap=True,
            )


def again(form: str, fields: tuple[Field, ...], model: Model) -> None:
    """The same question with another seed."""
    key = f"{form}.seed"
    st.session_state[key] = int(st.session_state.get(key) or 0) + 1
    ask(model, {**answers_of(model)[0].inputs, "seed": st.session_state[key]})


def new_picture(form: Form, fields: tuple[Field, ...]) -> bool:
    """Whether a picture has just been drawn or uploaded: it is asked about without another click."""
    seen = hash(tuple(form.values[field.name] for field in fields if isinstance(field, Image)))
    empty = not any(form.values[field.name] for field in fields if isinstance(field, Image))
    key = f"{form.key}.seen"
    changed = st.session_state.get(key) != seen
    st.session_state[key] = seen
    return changed and not empty


st.title(_("Try it"))
models = model_facts.choices()
if not models:
    st.markdown(_("There is no model to try yet. Train one: it takes about a minute."))
    if st.button(_("Train a model"), type="primary", icon=":material/model_training:"):
        places.go("train")
    st.stop()

model = chosen(models)
task = model_facts.task_of(model)
st.caption(" · ".join(part for part in (model_facts.makings(model), model_facts.merit(model)) if part))

left, right = st.columns([1, 1], gap="large")
with left:
    examples(model, f"try.{model.id}", task.inputs)
    form = Form(f"try.{model.id}", {}, sliders=True, columns=2)
    form.ask([field for field in task.inputs if not field.advanced])
    form.ask_advanced([field for field in task.inputs if field.advanced], _("More settings"))
    past = answers_of(model)
    with st.container(horizontal=True):
        wanted = st.button(_("Ask the model"), type="primary", icon=":material/play_arrow:", key="try.ask")
        if past and "seed" in past[0].inputs:
            st.button(
                _("Another one"),
                icon=":material/casino:",
                on_click=again,
                args=(form.key, task.inputs, model),
                key="try.again",
            )
    drawn = new_picture(form, task.inputs)
    if wanted or drawn:
        try:
            ask(model, checked(task.inputs, form.values), instead=drawn and bool(past))
        except Refusal as refusal:
            if not form.complain(refusal.field, refusal.say(current())):
                show_refusal(refusal)

with right, st.container(key="try.answer"):
    past = answers_of(model)
    if not past:
        st.caption(_("The answer appears here. Take an example, or fill in your own."))
    for number, answer in enumerate(past[:1]):
        with st.container(border=True):
            answer_card(answer, task, f"answer.{number}")
    if len(past) > 1:
        with st.expander(_("Earlier answers"), icon=":material/history:"):
            for number, answer in enumerate(past[1:], start=1):
                with st.container(border=True):
                    answer_card(answer, task, f"answer.{number}", stoppable=False)
if st.session_state.pop("try.asked", False):
    bring("try.answer")
