"""Fields on the screen: each becomes the widget that suits it, with its help and, where it is wrong, what would do."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import streamlit as st

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field, Image, Number, Switch, Text
from bigmodel.ui.language import _, current, say
from bigmodel.ui.picture import draw

NARROW = 34  # letters of all options together that still fit beside each other
SLIDER_STEPS = 400  # more cannot be hit with a finger


def ask(fields: Iterable[Field], key: str, values: Mapping[str, object], sliders: bool = False) -> dict[str, object]:
    """A widget for each field, beside each other where there is room; the values as they stand, checked or not.

    `values` are what the widgets begin with. The same key keeps what a person has changed.
    """
    fields = list(fields)
    wide = [field for field in fields if isinstance(field, Image) or (isinstance(field, Text) and field.lines > 1)]
    narrow = [field for field in fields if field not in wide]
    given = {field.name: ask_one(field, key, values.get(field.name, field.default), sliders) for field in wide}
    if narrow:
        grid = st.grid(3, min_column_width=200, gap=("medium", "medium"))
        for field in narrow:
            with grid.cell():
                given[field.name] = ask_one(field, key, values.get(field.name, field.default), sliders)
    return given


def ask_one(field: Field, key: str, value: object, sliders: bool = False) -> object:
    """The widget of one field, and under it what is wrong with its value."""
    name = f"{key}.{field.name}"
    given = WIDGETS[type(field)](field, name, value, sliders)
    problem = refused(field, given)
    if problem and not (isinstance(field, Image | Text) and not given):
        st.markdown(f":red[:material/error: {problem}]")
    return given


def refused(field: Field, value: object) -> str:
    """What is wrong with a value and what would do; '' for nothing."""
    if value is None:
        return _("This is empty.")
    try:
        field.check(value)
    except Refusal as refusal:
        return refusal.say(current())
    return ""


def checked(fields: Iterable[Field], values: Mapping[str, object]) -> dict[str, object]:
    """The values in their proper types; raises Refusal for the first that will not do."""
    return {field.name: field.check(values[field.name]) for field in fields if field.name in values}


def advanced(fields: Sequence[Field], key: str, values: Mapping[str, object], label: str) -> dict[str, object]:
    """Fields folded away, each with its sentence in full."""
    given = {}
    with st.expander(label, icon=":material/tune:"):
        grid = st.grid(3, min_column_width=220, gap=("large", "medium"))
        for field in fields:
            with grid.cell():
                given[field.name] = ask_one(field, key, values.get(field.name, field.default))
                st.caption(say(field.help))
    return given


def begin(key: str, value: object) -> None:
    """A widget's first value; one that a person has changed stays."""
    if key not in st.session_state:
        st.session_state[key] = value


def _number(field: Number, key: str, value: object, sliders: bool) -> object:
    kind = int if field.integer else float
    begin(key, kind(value))
    label, help = _label(field), say(field.help)
    if sliders and field.step and (field.maximum - field.minimum) / field.step <= SLIDER_STEPS:
        bounds = {"min_value": kind(field.minimum), "max_value": kind(field.maximum), "step": kind(field.step)}
        return st.slider(label, key=key, help=help, persist_state="session", **bounds)
    step = int(field.step or 1) if field.integer else field.step or _stride(float(value))
    return st.number_input(
        label, step=step, format="%d" if field.integer else "%g", key=key, help=help, persist_state="session"
    )


def _stride(value: float) -> float:
    """A step that changes the first digit's neighbour: 0.0001 for 0.001."""
    return 10.0 ** (math.floor(math.log10(abs(value))) - 1) if value else 0.01


def _label(field: Field) -> str:
    unit = getattr(field, "unit", None)
    return f"{say(field.label)} ({say(unit)})" if unit else say(field.label)


def _choice(field: Choice, key: str, value: object, sliders: bool) -> object:
    begin(key, value if value in field.options else field.default)
    named: Callable[[str], str] = lambda option: say(field.options[option])  # noqa: E731
    parts = {"format_func": named, "key": key, "help": say(field.help), "persist_state": "session"}
    if sum(len(named(option)) * (2 if current() == "zh" else 1) + 3 for option in field.options) <= NARROW:
        return st.segmented_control(_label(field), list(field.options), required=True, width="stretch", **parts)
    return st.selectbox(_label(field), list(field.options), **parts)


def _switch(field: Switch, key: str, value: object, sliders: bool) -> object:
    begin(key, bool(value))
    return st.toggle(_label(field), key=key, help=say(field.help), persist_state="session")


def _text(field: Text, key: str, value: object, sliders: bool) -> object:
    begin(key, str(value))
    parts = {"key": key, "help": say(field.help), "max_chars": field.maximum, "persist_state": "session"}
    if field.lines > 1:
        return st.text_area(_label(field), height=28 * field.lines + 24, **parts)
    return st.text_input(_label(field), **parts)


def _image(field: Image, key: str, value: object, sliders: bool) -> object:
    """Uploaded or drawn; a picture that was given (an example) stays until there is another."""
    begin(f"{key}.way", "upload")
    way = st.segmented_control(
        _label(field),
        ["upload", "draw"],
        format_func={"upload": _("Upload"), "draw": _("Draw")}.__getitem__,
        key=f"{key}.way",
        required=True,
        help=say(field.help),
        persist_state="session",
    )
    if way == "draw":
        return draw(f"{key}.board") or b""
    file = st.file_uploader(
        _label(field),
        type=["png", "jpg", "jpeg", "webp", "gif"],
        max_upload_size=limits.UPLOAD_BYTES // 2**20,
        key=f"{key}.file",
        label_visibility="collapsed",
    )
    return file.getvalue() if file else b""


WIDGETS = {Number: _number, Choice: _choice, Switch: _switch, Text: _text, Image: _image}
