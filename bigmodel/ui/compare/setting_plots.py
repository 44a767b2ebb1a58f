"""What a setting does to a metric: a scatter of the groups, and parallel coordinates of all settings that differ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from bigmodel.core.contracts import LOSS
from bigmodel.ui import number_format
from bigmodel.ui.compare.selection import Group, task_of
from bigmodel.ui.compare.tables import frame_of
from bigmodel.ui.compare.verdict_view import Evaluations
from bigmodel.ui.language import _, say
from bigmodel.ui.runs.charts import FULL_WIDTH_HEIGHT
from bigmodel.ui.runs.live_plot import live_plot

MIN_GROUPS = 3  # fewer points show nothing
FEW_VALUES = 8  # different ones of a setting, each of which gets a tick
LOG_RATIO = 20.0  # of the largest value to the smallest, from which on an axis is logarithmic


def setting_section(groups: Sequence[Group], evaluations: Evaluations) -> None:
    frame, metrics = frame_of(groups, evaluations), number_format.metrics_of(task_of(groups))
    measured = [say(metric.label) for metric in metrics.values() if say(metric.label) in frame.columns]
    settings = [name for name in frame.columns[2:] if name not in measured]
    if len(groups) < MIN_GROUPS or not measured or not settings:
        return
    st.header(_("What the settings do"))
    with st.container(horizontal=True, gap="medium"):
        setting = _choose(_("Setting"), settings, "compare.scatter.setting")
        metric = _choose(_("Metric"), measured, "compare.scatter.metric")
        percent = {say(one.label): one.percent for one in metrics.values()}[metric]
    title = f"{metric} (%)" if percent else metric
    _scatter(groups, frame, setting, metric, title)
    numeric = [name for name in settings if pd.api.types.is_numeric_dtype(frame[name])]
    if len(settings) > 1 and frame[metric].notna().sum() >= MIN_GROUPS:
        _parallel(frame, settings, numeric, metric, title)


def _choose(label: str, names: Sequence[str], key: str) -> str:
    if st.session_state.get(key) not in names:
        st.session_state[key] = names[0]
    return st.selectbox(label, names, key=key, width=240, persist_state="session")


def _scatter(groups: Sequence[Group], frame: pd.DataFrame, setting: str, metric: str, title: str) -> None:
    known = frame[frame[metric].notna() & frame[setting].notna()]
    traces = [
        {
            "type": "scatter", "mode": "markers", "x": [_plain(row[setting])], "y": [row[metric]],
            "marker": {"size": 10}, "meta": {"colour": groups[index].number},
            "hovertemplate": "%{x}: %{y:.4~g}<extra>" + groups[index].name + "</extra>",
        }
        for index, row in known.iterrows()
    ]  # fmt: skip
    layout = {
        "xaxis": {"title": setting} | _axis(known[setting]),
        "yaxis": {"title": title},
        "hovermode": "closest",
        "showlegend": False,
    }
    alt = _("{metric} of each group over {setting}", metric=metric, setting=setting)
    live_plot(traces, layout, key="compare.scatter", alt=alt, height=FULL_WIDTH_HEIGHT, view=f"{setting} {metric}")


def _plain(value: object) -> object:
    return value.item() if hasattr(value, "item") else value


def _axis(values: pd.Series) -> dict:
    """A tick at each value where there are few."""
    if not pd.api.types.is_numeric_dtype(values):
        return {"type": "category"}
    low, high = values.min(), values.max()
    distinct = sorted(values.unique().tolist())
    axis = {"type": "log" if low > 0 and high / low >= LOG_RATIO else "linear"}
    if len(distinct) <= FEW_VALUES:
        axis |= {"tickmode": "array", "tickvals": distinct, "ticktext": [f"{value:.4g}" for value in distinct]}
    return axis


def _parallel(frame: pd.DataFrame, settings: Sequence[str], numeric: Sequence[str], metric: str, title: str) -> None:
    """One line a group through all its settings to its metric; a range on an axis keeps those that pass through it."""
    known = frame[frame[metric].notna()]
    dimensions = [_dimension(name, known[name], name in numeric) for name in settings]
    dimensions.append({"label": title, "values": known[metric].tolist()})
    lower_first = metric == say(LOSS.label)
    trace = {
        "type": "parcoords",
        "dimensions": dimensions,
        "line": {
            "color": known[metric].tolist(),
            "colorscale": "Viridis",
            "reversescale": lower_first,
            "showscale": True,
        },
        "labelfont": {"size": 12},
    }
    st.caption(_("Drag along an axis to keep the runs that pass through there."))
    layout = {"margin": {"l": 56, "r": 24, "t": 44, "b": 24}}
    alt = _("A line for each group through its settings to its metric")
    live_plot([trace], layout, key="compare.parallel", alt=alt, height=FULL_WIDTH_HEIGHT + 20, view=metric)


def _dimension(name: str, values: pd.Series, numeric: bool) -> dict:
    """Few different values, and words, stand at even distances."""
    distinct = sorted(values.dropna().unique().tolist(), key=lambda value: (str(type(value)), value))
    if numeric and len(distinct) > FEW_VALUES:
        return {"label": name, "values": values.tolist()}
    places = {value: place for place, value in enumerate(distinct)}
    return {
        "label": name,
        "values": [places.get(value, 0) for value in values.tolist()],
        "tickvals": list(places.values()),
        "ticktext": [f"{value:.4g}" if numeric else str(value) for value in distinct],
    }
