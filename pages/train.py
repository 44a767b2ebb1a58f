"""Choose what to learn, from which data, with which network; see what it will take; start."""

import shlex
from collections.abc import Sequence

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Field
from bigmodel.core.spec import RunSpec, defaults, fields_for
from bigmodel.ui import navigation
from bigmodel.ui.ask import Form
from bigmodel.ui.data.batch_view import batch_view
from bigmodel.ui.error_view import show_refusal
from bigmodel.ui.language import _, current, say
from bigmodel.ui.length_fields import explain_limit, follow_length, implied_limit
from bigmodel.ui.state import discard_token, session_token, studio
from bigmodel.ui.train.base_card import add_base_form, base_facts, remember_base, restore_base
from bigmodel.ui.train.diagram import diagram
from bigmodel.ui.train.forecast_card import forecast_card, forecast_line
from bigmodel.ui.train.rate_finder import rate_finder
from bigmodel.ui.train.selection import Combination, select_combination


def settings_form(chosen: Combination) -> Form:
    """The settings of this combination, the basic ones open, the others folded away."""
    fields = fields_for(chosen.task, chosen.architecture)
    usual = defaults(chosen.task, chosen.architecture, chosen.dataset)
    form = Form(chosen.key, usual)
    follow_length(form, usual)
    _draw_settings(chosen, form, fields)
    explain_limit(form, usual)
    return form


def _draw_settings(chosen: Combination, form: Form, fields: Sequence[Field]) -> None:
    network = {field.name for field in chosen.architecture.hyperparameters_for(chosen.task)}
    training = [field for field in fields if field.name not in network]
    knobs = [field for field in fields if field.name in network]
    if is_pretrained(chosen):  # what it begins with decides more than anything else
        fine_tuning_settings(chosen, form, knobs)
        settings_group(form, _("Training"), _("Advanced training settings"), training)
        return
    settings_group(form, _("Training"), _("Advanced training settings"), training)
    settings_group(form, _("Network"), _("Advanced network settings"), knobs)


def settings_group(form: Form, title: str, more: str, fields: list[Field]) -> None:
    st.header(title)
    form.render([field for field in fields if not field.advanced])
    form.render_advanced([field for field in fields if field.advanced], more)


def is_pretrained(chosen: Combination) -> bool:
    """Whether the network is one that somebody has trained already."""
    return any(field.name == "base" for field in chosen.architecture.hyperparameters)


def fine_tuning_settings(chosen: Combination, form: Form, knobs: list[Field]) -> None:
    """The base with its facts and the way to others, then how it is fine-tuned."""
    restore_base(chosen.task, chosen.key)
    st.header(_("Fine-tuning"))
    for field in knobs:
        if field.name == "base":
            form.render_field(field)  # as wide as the page: names are long
    remember_base(chosen.task, form.values["base"])
    base_facts(form.values["base"])
    add_base_form(chosen.task)
    rest = [field for field in knobs if field.name != "base"]
    form.render([field for field in rest if not field.advanced])
    form.render_advanced([field for field in rest if field.advanced], _("Advanced settings of fine-tuning"))


def build_spec(chosen: Combination, form: Form, name: str) -> RunSpec | None:
    """The spec, or None when a field has said what is wrong with it."""
    try:
        return RunSpec.check({**chosen.names(), "name": name, "settings": form.values})
    except Refusal as refusal:
        if refusal.field not in form.error_slots:
            show_refusal(refusal)
        return None


def command_line(spec: RunSpec, chosen: Combination) -> str:
    """The same run, said to a terminal: only what differs from the defaults."""
    usual = defaults(chosen.task, chosen.architecture, chosen.dataset)
    usual |= {"max_minutes": implied_limit(spec.settings, usual)}
    words = ["python", "-m", "bigmodel", "train"]
    for name, value in chosen.names().items():
        words += [f"--{name}", value]
    for name, value in spec.settings.items():
        if value != usual[name]:
            words += ["--set", f"{name}={('on' if value else 'off') if isinstance(value, bool) else value}"]
    if spec.name:
        words += ["--name", spec.name]
    return " ".join(shlex.quote(word) for word in words)


def reset(key: str) -> None:
    for name in [name for name in st.session_state if str(name).startswith(f"{key}.")]:
        del st.session_state[name]


if st.session_state.pop("train.launched", False):
    discard_token("train")  # the person has come back: the next start is another run

st.title(_("Train"))
left, right = st.columns([3, 2], gap="large")
with left:
    chosen = select_combination()
    form = settings_form(chosen)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            _("Name of the run"),
            max_chars=limits.RUN_NAME_CHARACTERS,
            placeholder=say(chosen.dataset.title),
            key="train.name",
            persist_state="session",
        )
        st.button(_("Reset settings"), icon=":material/restart_alt:", on_click=reset, args=(chosen.key,))
    spec = build_spec(chosen, form, name)

with right:
    with st.container(border=True):
        ready = spec is not None and not studio().read_only
        wrong = _("A setting on this page needs your attention first.")
        with st.container(key="train.bar"):  # on a phone it stands at the bottom edge: style.css
            line = st.container(key="train.line", horizontal_alignment="center")
            start = st.button(
                _("Start training"),
                type="primary",
                icon=":material/play_arrow:",
                width="stretch",
                disabled=not ready,
                key="train.start",
            )
        if spec is None:
            st.caption(wrong)
        else:
            forecast_card(spec, form)
        line.caption(forecast_line(spec) if spec is not None else wrong)
    if spec is not None:
        with st.container(border=True):
            st.markdown(f"**{say(chosen.architecture.title)}**")
            if chosen.architecture.paper:
                st.caption(chosen.architecture.paper)
            diagram(chosen.architecture.diagram(spec.settings), "train.diagram")
        with st.expander(_("What the model sees"), icon=":material/visibility:"):
            batch_view(spec, f"{chosen.key}:seen")
        with st.expander(_("Find a learning rate"), icon=":material/speed:"):
            rate_finder(spec, f"{chosen.key}.learning_rate")
        with st.expander(_("The same on the command line"), icon=":material/terminal:"):
            st.code(command_line(spec, chosen), language=None, wrap_lines=True)  # the colours of bash are too faint
        navigation.link("tune", _("Have the best settings searched"), icon=":material/tune:")

if start and spec is not None:
    try:
        run = studio().runs.launch(spec, token=session_token("train"))
    except Refusal as refusal:
        if not form.show_error(refusal.field, refusal.say(current())):
            show_refusal(refusal)
        st.stop()
    st.session_state["train.launched"] = True
    navigation.go("runs", run=run)
