"""Fields on the screen: each becomes the widget that suits it, with its help and, where it is wrong, what would do."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from dataclasses import field as default_field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Image, Number, Switch, Text, Turns
from bigmodel.ui.image_widgets import draw, upload
from bigmodel.ui.language import _, current, escape_markdown, say
from bigmodel.ui.stable_selectbox import disambiguate, pin_choice

MAX_SEGMENTED_CHARACTERS = 34  # letters of all options together that still fit beside each other
SLIDER_STEPS = 400  # more cannot be hit with a finger


@dataclass
class Form:
    """Fields as widgets. `values` holds what stands in them, checked or not; `key` keeps what a person has changed.

    start: what the widgets begin with, by field name.  sliders: for short ranges, where exactness matters less.
    """

    key: str
    start: Mapping[str, object]
    sliders: bool = False
    columns: int = 3
    values: dict[str, object] = default_field(default_factory=dict)
    error_slots: dict[str, DeltaGenerator] = default_field(default_factory=dict)

    def render(self, fields: Iterable[Field]) -> None:
        """Beside each other where there is room."""
        fields = list(fields)
        wide = [field for field in fields if isinstance(field, Image) or (isinstance(field, Text) and field.lines > 1)]
        for field in wide:
            self.render_field(field)
        grid = (
            st.grid(self.columns, min_column_width=180, gap=("medium", "medium")) if len(fields) > len(wide) else None
        )
        for field in fields:
            if field not in wide:
                with grid.cell():
                    self.render_field(field)

    def render_advanced(self, fields: Iterable[Field], label: str) -> None:
        """Folded away, each with its sentence in full."""
        fields = list(fields)
        if not fields:
            return
        with st.expander(label, icon=":material/tune:"):
            grid = st.grid(self.columns, min_column_width=220, gap=("medium", "medium"))
            for field in fields:
                with grid.cell():
                    self.render_field(field, explained=True)

    def render_field(self, field: Field, explained: bool = False) -> None:
        """The widget of one field, and under it what is wrong with its value."""
        widget = WIDGETS[type(field)]
        help = None if explained else say(field.help)
        value = widget(field, f"{self.key}.{field.name}", self.start.get(field.name, field.default), help, self.sliders)
        self.values[field.name] = value
        self.error_slots[field.name] = st.container()
        untouched = isinstance(field, Image | Text) and not value
        problem = "" if untouched else validation_error(field, value)
        if problem:
            self.show_error(field.name, problem)
        if explained:
            st.caption(say(field.help))

    def follow(self, name: str, value: object) -> bool:
        """Begin the field with what others imply for it, until a person puts something else there; False from then on."""
        key, implied = f"{self.key}.{name}", f"{self.key}.{name}.implied"
        last = st.session_state.get(implied, value)
        if st.session_state.get(key, last) != last:
            return False
        st.session_state[key] = st.session_state[implied] = value
        return True

    def show_error(self, name: str, problem: str) -> bool:
        """Say at the field what is wrong with it; False when there is no such field here."""
        if name not in self.error_slots:
            return False
        self.error_slots[name].markdown(f":red[:material/error: {escape_markdown(problem)}]")
        return True


def validation_error(field: Field, value: object) -> str:
    """What is wrong with a value and what would do; '' for nothing."""
    if value is None:
        return _("This is empty.")
    try:
        field.check(value)
    except Refusal as refusal:
        return refusal.say(current())
    return ""


def validated(fields: Iterable[Field], values: Mapping[str, object]) -> dict[str, object]:
    """The values in their proper types; raises Refusal for the first that will not do."""
    return {field.name: field.check(values[field.name]) for field in fields if field.name in values}


def set_default(key: str, value: object) -> None:
    """A widget's first value; one that a person has changed stays."""
    if key not in st.session_state:
        st.session_state[key] = value


def _number(field: Number, key: str, value: object, help: str | None, sliders: bool) -> object:
    kind = int if field.integer else float
    set_default(key, kind(value))
    label = _label(field)
    if sliders and field.step and (field.maximum - field.minimum) / field.step <= SLIDER_STEPS:
        bounds = {"min_value": kind(field.minimum), "max_value": kind(field.maximum), "step": kind(field.step)}
        return st.slider(label, key=key, help=help, persist_state="session", **bounds)
    step = int(field.step or 1) if field.integer else field.step or step_for(float(value))
    return st.number_input(
        label, step=step, format="%d" if field.integer else "%g", key=key, help=help, persist_state="session"
    )


def step_for(value: float) -> float:
    """A step that changes the first digit's neighbour: 0.0001 for 0.001."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.01


def _label(field: Field) -> str:
    unit = getattr(field, "unit", None)
    return f"{say(field.label)} ({say(unit)})" if unit else say(field.label)


def _choice(field: Choice, key: str, value: object, help: str | None, sliders: bool) -> object:
    named = disambiguate({option: say(words) for option, words in field.options.items()})
    pin_choice(key, named, str(value) if value in field.options else field.default)
    parts = {"format_func": named.__getitem__, "key": key, "help": help, "persist_state": "session"}
    if sum(len(words) * (2 if current() == "zh" else 1) + 3 for words in named.values()) <= MAX_SEGMENTED_CHARACTERS:
        return st.segmented_control(_label(field), list(field.options), required=True, width="stretch", **parts)
    return st.selectbox(_label(field), list(field.options), **parts)


def _switch(field: Switch, key: str, value: object, help: str | None, sliders: bool) -> object:
    set_default(key, bool(value))
    return st.toggle(_label(field), key=key, help=help, persist_state="session")


def _text(field: Text, key: str, value: object, help: str | None, sliders: bool) -> object:
    set_default(key, str(value))
    parts = {"key": key, "help": help, "max_chars": field.maximum, "persist_state": "session"}
    if field.lines > 1:
        return st.text_area(_label(field), height=28 * field.lines + 24, **parts)
    return st.text_input(_label(field), **parts)


def _image(field: Image, key: str, value: object, help: str | None, sliders: bool) -> object:
    """Uploaded or drawn; a picture that was given (an example) stays until there is another."""
    set_default(f"{key}.way", "upload")
    way = st.segmented_control(
        _label(field),
        ["upload", "draw"],
        format_func={"upload": _("Upload"), "draw": _("Draw")}.__getitem__,
        key=f"{key}.way",
        required=True,
        help=help,
        persist_state="session",
    )
    if way == "draw":
        return draw(f"{key}.board") or b""
    return upload(f"{key}.file") or b""


def _turns(field: Turns, key: str, value: object, help: str | None, sliders: bool) -> object:
    """Nobody types what has been said: it is on the screen already."""
    return value


WIDGETS = {Number: _number, Choice: _choice, Switch: _switch, Text: _text, Image: _image, Turns: _turns}
