"""The groups in tables: their metrics with intervals beside the simplest answer, and the settings that differ."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from bigmodel.core.contracts import LOSS, Metric
from bigmodel.evaluation.comparison import differing_settings, group_value
from bigmodel.evaluation.evaluation import MetricValue
from bigmodel.ui import number_format
from bigmodel.ui.compare.selection import Group, fields_by_name, setting_title, show_setting, task_of
from bigmodel.ui.compare.verdict_view import Evaluations
from bigmodel.ui.language import _, escape_markdown, say

SIDE_BY_SIDE = 5  # groups that have a column each; of more, each has a row


def metric_section(groups: Sequence[Group], evaluations: Evaluations) -> None:
    known = [group for group in groups if any(run.id in evaluations for run in group.runs)]
    if not known or len(groups) > SIDE_BY_SIDE:
        return
    first = next(iter(evaluations.values()))
    rows = []
    for metric in (one.metric for one in task_of(groups).row_metrics()):
        values = {group.letter: _value(group, evaluations, metric) for group in known}
        if all(one is None or one.value is None for one in values.values()):
            continue
        row = {_("Metric"): escape_markdown(say(metric.label))}
        row |= {f"**{letter}**": _with_interval(metric, value) for letter, value in values.items()}
        if first.baseline_title:
            beside = first.baseline.get(metric.name)
            row[escape_markdown(say(first.baseline_title))] = (
                number_format.metric_value(metric, beside) if beside is not None else "-"
            )
        rows.append(row)
    st.table(rows, border="horizontal", hide_index=True, alt=_("The metrics of each"))
    if any(len(group.runs) > 1 for group in known):
        st.caption(
            _("In brackets the 95 % interval; of several seeds, the mean and in brackets the lowest and the highest.")
        )
    else:
        st.caption(_("In brackets the 95 % interval."))


def _value(group: Group, evaluations: Evaluations, metric: Metric) -> MetricValue | None:
    return group_value([evaluations[run.id] for run in group.runs if run.id in evaluations], metric.name)


def _with_interval(metric: Metric, value: MetricValue | None) -> str:
    if value is None or value.value is None:
        return "-"
    text = number_format.metric_value(metric, value.value)
    if value.low is None or value.high is None:
        return text
    low, high = (number_format.metric_value(metric, edge) for edge in (value.low, value.high))
    return f"{text} :gray[\\[{low.removesuffix(' %')}, {high}\\]]"


def settings_section(groups: Sequence[Group], evaluations: Evaluations) -> None:
    """Of a few groups the settings that differ, a column each; of many one table to sort, with their metrics."""
    specs, fields = [group.spec for group in groups], fields_by_name([group.runs[0] for group in groups])
    apart = differing_settings(specs)
    if len(groups) > SIDE_BY_SIDE:
        _many(groups, evaluations)
        return
    if not apart:
        st.caption(_("Their settings are the same."))
        return
    rows = [
        {_("Setting"): escape_markdown(setting_title(name, fields))}
        | {
            f"**{group.letter}**": escape_markdown(show_setting(name, value, fields))
            for group, value in zip(groups, values, strict=True)
        }
        for name, values in apart.items()
    ]
    st.table(rows, border="horizontal", hide_index=True, alt=_("The settings that differ"))


def _many(groups: Sequence[Group], evaluations: Evaluations) -> None:
    frame = frame_of(groups, evaluations)
    percent = {say(metric.label) for metric in _metrics(groups) if metric.percent}
    columns = {
        name: st.column_config.NumberColumn(name, format="%.1f %%" if name in percent else "%.4g")
        for name in frame.columns
        if pd.api.types.is_float_dtype(frame[name])
    }
    st.dataframe(frame, hide_index=True, column_config=columns, height=min(35 * (len(frame) + 1) + 3, 460))


def _metrics(groups: Sequence[Group]) -> list[Metric]:
    return [metric for metric in {metric.name: metric for metric in (*task_of(groups).metrics, LOSS)}.values()]


def frame_of(groups: Sequence[Group], evaluations: Evaluations) -> pd.DataFrame:
    """A row a group: its letter, the settings that differ, and each metric, as evaluated or else as its runs have told;
    shares in percent."""
    fields = fields_by_name([group.runs[0] for group in groups])
    apart = differing_settings([group.spec for group in groups])
    rows = []
    for number, group in enumerate(groups):
        row: dict[str, object] = {_("Group"): group.letter, _("Seeds"): len(group.runs)}
        for name, values in apart.items():
            value = values[number]
            plain = isinstance(value, int | float) and not isinstance(value, bool)
            row[setting_title(name, fields)] = value if plain else show_setting(name, value, fields)
        for metric in _metrics(groups):
            measured = metric_of(group, evaluations, metric)
            row[say(metric.label)] = None if measured is None else measured * (100 if metric.percent else 1)
        rows.append(row)
    return pd.DataFrame(rows).dropna(axis=1, how="all")


def metric_of(group: Group, evaluations: Evaluations, metric: Metric) -> float | None:
    """The mean over its seeds: evaluated on the test rows, or what its runs have measured on them, or on validation."""
    known = _value(group, evaluations, metric)
    if known is not None and known.value is not None:
        return known.value
    told = [run.result or run.best or run.validation for run in group.runs]
    values = [values[metric.name] for values in told if isinstance(values.get(metric.name), int | float)]
    return sum(values) / len(values) if values else None
