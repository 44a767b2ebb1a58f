"""The curves of all groups in one chart, over steps, time or what has been read, seeds as a band round their mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import streamlit as st

from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.core.errors import Refusal
from bigmodel.runs.curve_sample import SampledCurve
from bigmodel.ui import number_format
from bigmodel.ui.compare.selection import Group, task_of
from bigmodel.ui.language import _, say
from bigmodel.ui.runs.charts import FULL_WIDTH_HEIGHT, round_significant
from bigmodel.ui.runs.curves import smooth
from bigmodel.ui.runs.live_plot import live_plot
from bigmodel.ui.state import studio

TOTAL_POINTS, MIN_POINTS, MAX_POINTS = 15_000, 150, 1_000  # read of all runs, and of each
GRID_POINTS = 200  # on which the mean of seeds is taken
DIRECT_LABELS = 4  # lines that are named at their end; more are named by the pointer and the table
DISTINCT = 10  # groups with a colour of their own; of more the bands would hide each other
TRAINING = "training"
AXES = ("step", "time", "units")
Line = tuple[np.ndarray, np.ndarray]  # x, y


@st.cache_resource(max_entries=400, show_spinner=False)
def _sampled(home: str, run: str, size: int, points: int) -> SampledCurve:
    """Read once for each length of the run's story. `home` is part of the name: two homes may know the same run."""
    return studio().runs.curve(run, points)


def sampled_curves(groups: Sequence[Group]) -> dict[str, SampledCurve]:
    runs = [run for group in groups for run in group.runs]
    points = min(MAX_POINTS, max(MIN_POINTS, TOTAL_POINTS // len(runs)))
    found = {}
    for run in runs:
        try:
            size = studio().runs.folder(run.id).size()
        except (OSError, Refusal):  # deleted while the page is drawn
            continue
        found[run.id] = _sampled(str(studio().home), run.id, size, points)
    return found


def curve_section(groups: Sequence[Group]) -> None:
    curves, task = sampled_curves(groups), task_of(groups)
    if not any(curve.points for curve in curves.values()):
        st.caption(_("None of these runs has taken a step yet."))
        return
    shown, axis, smoothing, logarithmic = _options(curves, task)
    traces, measured_to = [], {}
    for group in groups:
        lines = [
            line for run in group.runs if run.id in curves and len((line := _line(curves[run.id], shown, axis))[0])
        ]
        if not lines:
            continue
        lines = [(x, smooth(y, smoothing if shown == TRAINING else 0.0)) for x, y in lines]
        traces += _traces(group, lines, len(groups))
        measured_to[group.letter] = lines[0]
    metric = _metric(task, shown)
    titles = {"step": _("Step"), "time": _("Training time (s)"), "units": say(task.unit)}
    layout = {
        "xaxis": {"title": titles[axis], "rangemode": "tozero"},
        "yaxis": {"type": "log" if logarithmic else "linear"} | ({"tickformat": ".1~%"} if metric.percent else {}),
        "showlegend": False,
        "hovermode": "closest" if len(groups) > DIRECT_LABELS else "x unified",
    }
    if len(measured_to) <= DIRECT_LABELS:
        layout |= {"annotations": _end_labels(measured_to, logarithmic), "margin": {"l": 8, "r": 28, "t": 8, "b": 8}}
    alt = _(
        "{metric} of {count} groups of runs over the course of training", metric=say(metric.label), count=len(groups)
    )
    live_plot(
        traces,
        layout,
        key="compare.curves",
        alt=alt,
        height=FULL_WIDTH_HEIGHT + 40,
        view=f"{shown} {axis} {logarithmic}",
    )
    every = max(curve.every for curve in curves.values())
    if every > 1 and shown == TRAINING:
        st.caption(_("Of long runs every n-th step is drawn, here up to every {every}th; a run's own page has them all.", every=number_format.count(every)))  # fmt: skip


def _options(curves: Mapping[str, SampledCurve], task: Task) -> tuple[str, str, float, bool]:
    measured = dict.fromkeys(name for curve in curves.values() for name in curve.validation)
    names = {TRAINING: _("Training: loss")} | {
        name: _("Validation: {metric}", metric=say(_metric(task, name).label)) for name in measured
    }
    axes = {"step": _("By step"), "time": _("By time"), "units": _("By {unit}", unit=say(task.unit))}
    if st.session_state.get("compare.curve") not in names:
        st.session_state["compare.curve"] = TRAINING
    st.session_state.setdefault("compare.axis", "step")
    st.session_state.setdefault("compare.smoothing", 0.6)
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        shown = st.selectbox(
            _("Curve"),
            list(names),
            format_func=names.__getitem__,
            key="compare.curve",
            width=240,
            persist_state="session",
        )
        axis = st.segmented_control(
            _("Axis"), list(AXES), format_func=axes.__getitem__, key="compare.axis", required=True,
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        smoothing = st.slider(
            _("Smoothing"), 0.0, 0.99, step=0.01, key="compare.smoothing", width=180, persist_state="session",
            disabled=shown != TRAINING, help=_("An exponential moving average over the points that are drawn."),
        )  # fmt: skip
        logarithmic = st.toggle(_("Log scale"), key="compare.log", persist_state="session")
    return shown, axis, smoothing, logarithmic


def _metric(task: Task, name: str) -> Metric:
    return number_format.metrics_of(task).get(name, LOSS)


def _line(curve: SampledCurve, shown: str, axis: str) -> Line:
    """Over the axis that is asked for; a validation stands where its step does."""
    if not curve.points:
        return np.empty(0), np.empty(0)
    columns = dict(zip((*AXES, TRAINING), np.array(curve.points, dtype=float).T, strict=True))
    if shown == TRAINING:
        return columns[axis], columns[TRAINING]
    steps, values = np.array(curve.validation.get(shown, ()), dtype=float).reshape(-1, 2).T
    return (steps if axis == "step" else np.interp(steps, columns["step"], columns[axis])), values


def _traces(group: Group, lines: Sequence[Line], count: int) -> list[dict]:
    """One line; of several seeds the mean, in a band from the lowest to the highest, as far as all have come."""
    if len(lines) == 1:
        return [_trace(group, *lines[0], count)]
    end = min(x[-1] for x, _y in lines)
    begin = max(x[0] for x, _y in lines)
    grid = np.linspace(begin, max(end, begin), GRID_POINTS)
    values = np.stack([np.interp(grid, x, y) for x, y in lines])
    mean = _trace(group, grid, values.mean(0), count)
    if count > DISTINCT:
        return [mean]
    band = _trace(
        group, np.concatenate([grid, grid[::-1]]), np.concatenate([values.max(0), values.min(0)[::-1]]), count
    )
    return [band | {"fill": "toself", "line": {"width": 0}, "hoverinfo": "skip", "hovertemplate": None}, mean]


def _trace(group: Group, x: np.ndarray, y: np.ndarray, count: int) -> dict:
    finite = np.isfinite(y)
    return {
        "type": "scatter",
        "mode": "lines+markers" if finite.sum() == 1 else "lines",
        "name": group.letter if count <= DIRECT_LABELS else group.name,
        "x": round_significant(x[finite]),
        "y": round_significant(y[finite]),
        "line": {"width": 2 if count <= DISTINCT else 1},
        "hovertemplate": "%{y:.4~g}<extra>%{fullData.name}</extra>",
        "meta": {"colour": group.number, "opacity": 1.0 if count <= DISTINCT else 0.6},
    }


def _end_labels(lines: Mapping[str, Line], logarithmic: bool) -> list[dict]:
    labels = []
    for letter, (x, y) in lines.items():
        finite = y[np.isfinite(y) & ((y > 0) | (not logarithmic))]
        if len(finite):
            height = float(np.log10(finite[-1]) if logarithmic else finite[-1])
            labels.append({"x": float(x[-1]), "y": height, "text": f"<b>{letter}</b>", "showarrow": False, "xanchor": "left", "xshift": 4})  # fmt: skip
    return labels
