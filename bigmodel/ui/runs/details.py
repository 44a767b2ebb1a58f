"""What else is to be seen of a run: its samples on a time line, its log, its settings."""

from __future__ import annotations

import time
from collections.abc import Mapping

import streamlit as st

from bigmodel.core import blocks, catalog, events
from bigmodel.core.contracts import Task
from bigmodel.core.errors import Refusal
from bigmodel.core.fields import Choice, Field
from bigmodel.core.spec import defaults, fields_for
from bigmodel.core.words import Words
from bigmodel.runs.run import Run
from bigmodel.ui import number_format
from bigmodel.ui.language import _, escape_markdown, say
from bigmodel.ui.runs.curves import Curves
from bigmodel.ui.runs.status import status_style
from bigmodel.ui.state import studio
from bigmodel.ui.try_it.answer_card import show_question
from bigmodel.ui.try_it.render_blocks import render_blocks


def samples(run: Run, past: Curves, task: Task) -> None:
    """The same inputs answered by the model as it was at each validation: a slider over the steps."""
    steps = sorted({sample.step for sample in past.samples})
    if not steps:
        st.caption(
            _(
                "Before the first step and at each validation the model answers a few fixed inputs; the answers appear here."
            )
        )
        return
    step = _step_slider(run.id, steps)
    grid = st.grid(3, min_column_width=280, gap="medium")
    for number, sample in enumerate(sample for sample in past.samples if sample.step == step):
        with grid.cell(), st.container(border=True, height="stretch"):
            shown = [blocks.from_json(block) for block in sample.blocks]
            if not any(isinstance(block, blocks.Prose) and block.prompt for block in shown):
                show_question(task, blocks.unpack(sample.inputs), f"sample.{number}")
            render_blocks(shown, f"sample.{number}.answer")


def _step_slider(run: str, steps: list[int]) -> int:
    """The step looked at: the newest, until a person has taken hold of the slider."""
    if len(steps) == 1:
        st.caption(_("At step {step}", step=number_format.count(steps[0])))
        return steps[0]
    key, held = f"samples.{run}", f"samples.{run}.held"
    if not st.session_state.get(held) or st.session_state.get(key) not in steps:
        st.session_state[key] = steps[-1]

    def hold() -> None:
        st.session_state[held] = st.session_state[key] != steps[-1]

    return st.select_slider(
        _("At step"), steps, format_func=number_format.count, key=key, on_change=hold, persist_state="session"
    )


def log(run: Run, past: Curves) -> None:
    """What has happened in words, then what the worker printed."""
    lines = [*past.states, *past.phases, *past.notes]
    told = [(event.time, _event_text(event)) for event in sorted(lines, key=lambda event: event.time)]
    rows = [{_("Time"): _clock(moment), _("What happened"): escape_markdown(text)} for moment, text in told if text]
    st.table(rows, border="horizontal", hide_index=True, alt=_("What has happened to this run"))
    printed = studio().runs.folder(run.id).log()
    if printed.strip():
        with st.expander(_("Printed by the worker"), icon=":material/terminal:", expanded=run.state == events.FAILED):
            st.code(printed, language=None, wrap_lines=True, height=320)


def _clock(moment: float) -> str:
    return escape_markdown(time.strftime("%H:%M:%S", time.localtime(moment)))


def _event_text(event: events.Event) -> str:
    if event.kind == "state":
        title = say(status_style(event["state"]).title)
        error, reason = event.data.get("error"), event.data.get("reason")
        said = Refusal.from_json(error).what if error else Words.from_json(reason) if reason else None
        return f"{title}: {say(said)}" if said else title
    words = event.data.get("words")
    return say(Words.from_json(words)) if isinstance(words, Mapping) else str(words or "")


def settings(run: Run, past: Curves) -> None:
    """Every setting, with those that differ from the recommended ones marked."""
    spec = run.spec
    try:
        task, network, data = (
            catalog.task(spec.task),
            catalog.architecture(spec.architecture),
            catalog.dataset(spec.dataset),
        )
    except Refusal:
        st.json(spec.to_json())
        return
    usual = defaults(task, network, data)
    rows, changed = {}, _("changed")
    for field in fields_for(task, network):
        value = spec.settings.get(field.name)
        text = escape_markdown(format_setting(field, value))
        rows[say(field.label)] = f"**{text}** :blue-badge[{changed}]" if value != usual.get(field.name) else text
    left, right = st.columns(2, gap="large")
    with left:
        st.table(rows, border="horizontal", alt=_("The settings of this run"))
    with right:
        st.table(_plan_facts(run), border="horizontal", alt=_("What this run is about"))


def format_setting(field: Field, value: object) -> str:
    if isinstance(field, Choice) and value in field.options:
        return say(field.options[value])
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _plan_facts(run: Run) -> dict[str, str]:
    plan, rows = run.plan, {}
    if plan.get("parameters"):
        rows[_("Parameters")] = number_format.count(plan["parameters"])
    if number_format.trained_parameters(plan.get("trainable"), plan.get("parameters")):
        share = number_format.three_digits(100 * plan["trainable"] / plan["parameters"])
        rows[_("Of these trained")] = escape_markdown(f"{number_format.count(plan['trainable'])} ({share} %)")
    if plan.get("device"):
        rows[_("Device")] = escape_markdown(str(plan["device"]).upper())
    if plan.get("precision"):
        parts = [escape_markdown(str(plan["precision"]))] + ([_("compiled")] if plan.get("compiled") else [])
        rows[_("Precision")] = " · ".join(parts)
    splits = {"train": _("Training rows"), "validation": _("Validation rows"), "test": _("Test rows")}
    for name, count in (plan.get("rows") or {}).items():
        rows[splits.get(name, name)] = number_format.count(count)
    rows[_("Name on disk")] = escape_markdown(run.id)
    rows[_("Folder")] = escape_markdown(str(studio().home / "runs" / run.id))
    return rows
