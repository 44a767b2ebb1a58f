"""The figures of a study: trials in order with the best so far, trials along a setting, how much each setting mattered."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bigmodel.core.fields import Field, Number
from bigmodel.tuning import study as states
from bigmodel.tuning.study import Study, Trial
from bigmodel.ui import number_format
from bigmodel.ui.language import _, say
from bigmodel.ui.runs.charts import bars
from bigmodel.ui.runs.details import format_value
from bigmodel.ui.runs.live_plot import live_plot

HEIGHT = 260  # pixels
FINISHED_COLOUR, PRUNED_COLOUR = 0, 8  # places in the theme's palette
SYMBOLS = {states.FINISHED: "circle", states.PRUNED: "x-thin-open", states.RUNNING: "circle-open"}


def trials_chart(study: Study) -> None:
    """A mark a trial in their order, and the best so far as a line of steps."""
    metric, best = study.spec.metric, study.best_so_far()
    last = len(study.trials)
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": _("Best so far"),
        "x": [number for number, _value in best] + ([last] if best else []),
        "y": [value for _number, value in best] + ([best[-1][1]] if best else []),
        "line": {"shape": "hv", "width": 2},
        "hoverinfo": "skip",
        "meta": {"colour": 1},
    }
    layout = {"xaxis": {"title": _("Trial"), **_whole_ticks(last)}, "yaxis": _value_axis(study), "hovermode": "closest"}
    live_plot(
        [*_marks(study, [trial.number for trial in study.trials]), line],
        layout,
        key=f"study.chart.{study.id}",
        alt=_("{metric} of each trial, and the best so far", metric=say(metric.label)),
        height=HEIGHT,
    )


def slice_chart(study: Study, field: Field) -> None:
    """The trials along one setting."""
    positions = [trial.settings.get(field.name) for trial in study.trials]
    axis: dict = {"title": say(field.label)}
    if isinstance(field, Number):
        tried = [value for value in positions if value is not None]
        if field.logarithmic and tried and min(tried) > 0:
            axis |= {"type": "log", "tickmode": "array", "tickvals": _log_ticks(min(tried), max(tried))}
    else:
        positions = [None if value is None else format_value(field, value) for value in positions]
        axis["type"] = "category"
    live_plot(
        _marks(study, positions),
        {"xaxis": axis, "yaxis": _value_axis(study), "hovermode": "closest"},
        key=f"study.slice_chart.{study.id}",
        alt=_("{metric} of the trials along {setting}", metric=say(study.spec.metric.label), setting=say(field.label)),
        height=HEIGHT,
        view=field.name,
    )


def importance_chart(importance: Mapping[str, float]) -> None:
    bars(
        list(importance),
        list(importance.values()),
        key="study.importance",
        alt=_("How much each setting mattered"),
        percent=True,
    )


def _marks(study: Study, positions: Sequence) -> list[dict]:
    """A trace for each state that a measured trial can be in."""
    titles = {states.FINISHED: _("Finished"), states.PRUNED: _("Pruned"), states.RUNNING: _("Training")}
    placed = list(zip(study.trials, positions, strict=True))
    traces = []
    for state, title in titles.items():
        shown = [
            (trial, x) for trial, x in placed if trial.state == state and trial.value is not None and x is not None
        ]
        if not shown:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": title,
                "x": [x for _trial, x in shown],
                "y": [trial.value for trial, _x in shown],
                "text": [_hover(study, trial) for trial, _x in shown],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": {"size": 9, "symbol": SYMBOLS[state]}
                | ({"line": {"width": 2}} if "open" in SYMBOLS[state] else {}),
                "meta": {"colour": PRUNED_COLOUR if state == states.PRUNED else FINISHED_COLOUR},
            }
        )
    return traces


def _hover(study: Study, trial: Trial) -> str:
    """A trial's value and settings; what is written in HTML is ours: numbers and names of options."""
    metric, fields = study.spec.metric, study.spec.fields
    assert trial.value is not None
    lines = [_("Trial {number}: {value}", number=trial.number, value=number_format.metric_value(metric, trial.value))]
    lines += [
        f"{say(fields[name].label)}: {format_value(fields[name], value)}"
        for name, value in trial.settings.items()
        if name in fields
    ]
    return "<br>".join(lines)


def _value_axis(study: Study) -> dict:
    return {"title": say(study.spec.metric.label)} | ({"tickformat": ".1~%"} if study.spec.metric.percent else {})


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 ... from below `low` to above `high`; powers of ten alone where these are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(powers) <= 3 else (1,)
    return [float(f"{step}e{power}") for power in powers for step in steps]


def _whole_ticks(last: int) -> dict:
    return {"tick0": 0, "dtick": 1} if last <= 10 else {"rangemode": "tozero"}
