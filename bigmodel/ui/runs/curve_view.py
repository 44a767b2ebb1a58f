"""The curves of a run on the screen, with how a person wants to see them: log scale, smoothing, step or time."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import streamlit as st

from bigmodel.core import events
from bigmodel.core.contracts import LOSS, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.words import Words
from bigmodel.core.words import _ as words
from bigmodel.runs.run import Run
from bigmodel.ui import number_format
from bigmodel.ui.language import _, say
from bigmodel.ui.runs.charts import PlotOptions, curve_chart
from bigmodel.ui.runs.curves import Curves, Line, cached_curves, downsample
from bigmodel.ui.runs.doctor_card import diagnosis_markers
from bigmodel.ui.runs.status import status_style
from bigmodel.ui.state import studio

MAX_ANCESTORS = 5  # generations whose curves are shown before that of a branch
# what the worker measures of its device: chart -> (lines by name, what a value is multiplied with)
DEVICE_CHARTS: Mapping[str, tuple[Words, Mapping[str, Words], float]] = {
    "use": (words("Use of the device (%)"), {"cpu": words("Processor"), "gpu": words("GPU")}, 1.0),
    "memory": (
        words("Memory (GB)"),
        {"memory": words("Main memory"), "gpu_memory": words("GPU memory"), "gpu_peak": words("GPU memory, peak")},
        1e-9,
    ),
}


@dataclass(frozen=True)
class Chart:
    """One chart: its lines by label, and how they want to be drawn."""

    name: str
    title: str
    lines: Mapping[str, Line]
    help: str = ""
    rare: tuple[str, ...] = ()  # labels of lines with few points
    percent: bool = False
    plain: bool = False  # neither smoothed nor on a log scale
    behind: tuple[str, ...] = ()  # labels of faint lines


def draw_curves(run: Run, past: Curves, task: Task) -> None:
    if not len(past.lines["loss"]) and not len(past.pretraining["loss"]):
        _empty_state(run)
        return
    view = _plot_options()
    if not len(past.lines["loss"]):
        marks = {
            label: view.x_of_step(step, past.pretraining["loss"]) for label, step in _pretraining_markers(run).items()
        }
        _draw_chart(_pretraining(past), view, height=320, marks=marks)
        return
    before = {} if view.by_time else {_("Before the branch"): _ancestor_loss(run)}
    loss = Chart(
        "loss",
        _("Loss"),
        {
            _("Training"): past.lines["loss"],
            _("Validation"): past.validation.get("loss", Line()),
            **past.loss_parts,
            **before,
        },
        say(LOSS.help),
        rare=(_("Validation"),),
        behind=tuple(before),
    )
    _draw_chart(
        loss,
        view,
        height=320,
        marks={label: view.x_of_step(step, past.lines["loss"]) for label, step in _markers(run, past).items()},
    )
    if len(past.validation.get("loss", Line())):
        st.caption(
            _(
                "The training loss is measured while the network learns, with dropout, augmentation and label smoothing; the validation loss without. They are not one measure: the page Evaluate measures the training rows as it does the others."
            )
        )
    grid = st.grid(2, min_column_width=320, gap="medium")
    for chart in _metric_charts(past, task):
        with grid.cell():
            _draw_chart(chart, view)


def _markers(run: Run, past: Curves) -> dict[str, float]:
    """What the doctor has found, and in any case where a diverged run has ended: a line that stops says nothing."""
    found = diagnosis_markers(past)
    if run.state == events.DIVERGED and run.step not in found.values():
        found[say(status_style(run.state).title)] = float(run.step)
    return found


def _pretraining_markers(run: Run) -> dict[str, float]:
    """The same of a run that has not come further than its pretraining."""
    if run.state != events.DIVERGED:
        return {}
    return {say(status_style(run.state).title): float(run.pretraining.get("step", 0))}


def _ancestor_loss(run: Run, depth: int = MAX_ANCESTORS) -> Line:
    """The training loss of the runs that a branch comes from, up to where it begins, in steps of the branch's own."""
    result = Line()
    if not run.spec.parent or not depth:
        return result
    try:
        parent = studio().runs.get(str(run.spec.parent["run"]))
    except Refusal:  # it has been deleted since
        return result
    mine, its = (one.plan.get("steps_per_epoch") or 0 for one in (run, parent))
    scale = mine / its if mine and its else 1.0
    loss = cached_curves(str(studio().home), parent.id).read(studio()).lines["loss"]
    for line in (_ancestor_loss(parent, depth - 1), loss):
        end = bisect_right(line.step, run.spec.parent["step"])
        for step, value in zip(*downsample(line.step[:end], line.value[:end]), strict=True):
            result.add(step * scale, 0.0, float(value))
    return result


def _empty_state(run: Run) -> None:
    if run.state in events.ENDED:
        st.caption(_("This run ended before its first step."))
        return
    st.caption(_("The first curve appears with the first step."))
    st.skeleton(height=280)


def _pretraining(past: Curves) -> Chart:
    """How well masked words are guessed, before the first step."""
    lines = {_("Training"): past.pretraining["loss"], _("Validation"): past.pretraining["validation"]}
    about = _("How far the guesses of masked words are from the words, before the classes are looked at.")
    return Chart("pretraining", _("Pretraining: loss"), lines, about, rare=(_("Validation"),))


def _metric_charts(past: Curves, task: Task) -> Iterator[Chart]:
    for metric in task.metrics:
        line = past.validation.get(metric.name)
        if line and metric.name != LOSS.name:
            label = say(metric.label)
            yield Chart(
                metric.name,
                _("Validation: {metric}", metric=label),
                {label: line},
                say(metric.help),
                (label,),
                metric.percent,
            )
    if len(past.pretraining["loss"]):
        yield _pretraining(past)
    speed = _("Speed ({unit} a second)", unit=say(task.unit))
    moved = _("How far one update moves the weights, as a part of their length; about 0.001 is usual.")
    for name, title, about, plain in (
        ("learning_rate", _("Learning rate"), "", True),
        ("gradient_norm", _("Gradient norm"), "", False),
        ("update", _("Update size"), moved, False),
        ("rate", speed, "", True),
    ):
        if len(past.lines[name]):
            yield Chart(name, title, {title: past.lines[name]}, about, plain=plain)
    for name, (title, named, scale) in DEVICE_CHARTS.items():
        measured = {key: label for key, label in named.items() if len(past.device.get(key, ())) > 1}
        lines = {say(label): _scaled(past.device[key], scale) for key, label in measured.items()}
        if lines:
            yield Chart(name, say(title), lines, plain=True)


def _draw_chart(chart: Chart, view: PlotOptions, height: int = 230, marks: Mapping[str, float] | None = None) -> None:
    st.markdown(f"**{chart.title}**", help=chart.help or None)
    newest = next((line.value[-1] for line in chart.lines.values() if len(line)), None)
    said = (
        number_format.percent(newest) if chart.percent and newest is not None else number_format.number(newest or 0.0)
    )
    curve_chart(
        chart.lines,
        PlotOptions(
            view.by_time,
            view.logarithmic and not chart.plain and not chart.percent,
            0.0 if chart.plain else view.smoothing,
        ),
        key=f"chart.{chart.name}",
        alt=_("{title} over the course of training, now {value}", title=chart.title, value=said),
        height=height,
        measured_rarely=chart.rare,
        behind=chart.behind,
        marks=marks,
        percent=chart.percent,
        from_zero=chart.plain,
    )


def _plot_options() -> PlotOptions:
    st.session_state.setdefault("run.axis", "step")
    st.session_state.setdefault("run.smoothing", 0.6)
    axes = {"step": _("By step"), "time": _("By time")}
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        axis = st.segmented_control(
            _("Axis"),
            list(axes),
            format_func=axes.__getitem__,
            key="run.axis",
            required=True,
            label_visibility="collapsed",
            persist_state="session",
        )
        smoothing = st.slider(
            _("Smoothing"),
            0.0,
            0.99,
            step=0.01,
            key="run.smoothing",
            width=200,
            persist_state="session",
            help=_("An exponential moving average; the faint line behind it is what was measured."),
        )
        logarithmic = st.toggle(_("Log scale"), key="run.log", persist_state="session")
    return PlotOptions(by_time=axis == "time", logarithmic=logarithmic, smoothing=smoothing)


def _scaled(line: Line, scale: float) -> Line:
    if scale == 1.0:
        return line
    result = Line(line.step, line.seconds)
    result.value.extend(value * scale for value in line.value)
    return result
