"""The figures: traces and layouts for `live_plot`, in the theme's colours and the session's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bigmodel.core import limits
from bigmodel.ui import number_format
from bigmodel.ui.language import _
from bigmodel.ui.runs.curves import Line, downsample, smooth
from bigmodel.ui.runs.live_plot import live_plot

FULL_WIDTH_HEIGHT = 300  # pixels of height: a chart over the whole width of the page, and not one of two
MAX_UNIT_TICKS = 10  # of which each gets a tick
SIGNIFICANT_DIGITS = 6  # of a value that is drawn
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


@dataclass(frozen=True)
class PlotOptions:
    """How a person wants to see the curves."""

    by_time: bool = False
    logarithmic: bool = False
    smoothing: float = 0.0

    def x(self, line: Line) -> np.ndarray:
        return np.array(line.seconds if self.by_time else line.step, dtype=float)

    def x_of_step(self, step: float, line: Line) -> float:
        """Where a step stands on the axis."""
        return float(np.interp(step, line.step, line.seconds)) if self.by_time and len(line) else step

    def x_axis(self) -> dict:
        return {"title": _("Training time (s)") if self.by_time else _("Step"), "rangemode": "tozero"}


def curve_chart(
    lines: Mapping[str, Line],
    view: PlotOptions,
    *,
    key: str,
    alt: str,
    height: int = 240,
    measured_rarely: Sequence[str] = (),
    behind: Sequence[str] = (),
    marks: Mapping[str, float] | None = None,
    percent: bool = False,
    from_zero: bool = False,
) -> None:
    """Lines over step or time. Those measured at every step are smoothed, with the raw one behind them;
    `measured_rarely` ones get a mark at each point, those `behind` are faint, in the first line's colour.
    `marks`: a label at a value of x."""
    as_log = view.logarithmic
    points = limits.CURVE_POINTS if height >= FULL_WIDTH_HEIGHT else limits.CURVE_POINTS // 2
    traces = []
    for number, (label, line) in enumerate(lines.items()):
        if not len(line):
            continue
        x, y = view.x(line), np.array(line.value, dtype=float)
        if as_log:
            x, y = x[y > 0], y[y > 0]
        if label in behind:
            x, y = downsample(x, y, points)
            traces.append(_trace(label, x, smooth(y, view.smoothing), 0, faint=True) | {"showlegend": True})
            continue
        rare = label in measured_rarely
        if view.smoothing and not rare:
            traces.append(_trace(label, *downsample(x, y, points), number, faint=True))
            y = smooth(y, view.smoothing)
        x, y = downsample(x, y, points)  # which leaves out what is no number
        traces.append(_trace(label, x, y, number, marked=rare or len(y) == 1))
    layout = {
        "xaxis": view.x_axis(),
        "yaxis": {"type": "log" if as_log else "linear"}
        | ({"tickformat": ".1~%", "rangemode": "nonnegative"} if percent else {})
        | ({"rangemode": "tozero"} if from_zero else {}),
        "showlegend": len(lines) > 1,
    }
    if marks:
        layout |= _marker_lines(marks, max((trace["x"][-1] for trace in traces if trace["x"]), default=0.0))
    live_plot(traces, layout, key=key, alt=alt, height=height, view=f"{view.by_time} {as_log}")


def _trace(label: str, x: np.ndarray, y: np.ndarray, number: int, faint: bool = False, marked: bool = False) -> dict:
    return {
        "type": "scatter",
        "mode": "lines+markers" if marked else "lines",
        "name": label,
        "x": x.tolist(),
        "y": round_significant(y),
        "line": {"width": 1 if faint else 2, "dash": DASHES[number % len(DASHES)] if not faint else "solid"},
        "marker": {"size": 6},
        "showlegend": not faint,
        "hoverinfo": "skip" if faint else "x+y+name",
        "meta": {"colour": number, "opacity": 0.28 if faint else 1.0},
    }


def round_significant(values: np.ndarray) -> list[float]:
    """To as many digits as can be seen: what is sent each second is half as long. All values are finite."""
    with np.errstate(divide="ignore"):
        places = SIGNIFICANT_DIGITS - 1 - np.floor(np.log10(np.abs(values)))
    scale = 10.0 ** np.clip(np.where(np.isfinite(places), places, 0), -300, 300)
    return (np.round(values * scale) / scale).tolist()


def _marker_lines(marks: Mapping[str, float], right: float) -> dict:
    """Dotted lines from bottom to top, each label on the side where there is room and below the one before it."""
    shapes = [
        {
            "type": "line",
            "x0": x,
            "x1": x,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"width": 1, "dash": "dot", "color": "#8a94a0"},
        }
        for x in marks.values()
    ]
    texts = [
        {
            "x": x,
            "yref": "paper",
            "y": 1 - 0.08 * number,
            "yanchor": "top",
            "text": label,
            "showarrow": False,
            "xanchor": "left" if x <= right / 2 else "right",
            "font": {"size": 11},
        }
        for number, (label, x) in enumerate(marks.items())
    ]
    return {"shapes": shapes, "annotations": texts}


def histogram(bins: Sequence[tuple[int, int, int]], *, key: str, alt: str, title: str, height: int = 220) -> None:
    """Bars over (from, to, count) bins, both ends inclusive. A last bin that holds a long tail is drawn as wide as
    the others, with where it begins: as wide as it is, it would look like most of the rows."""
    width = bins[0][1] - bins[0][0] + 1 if bins else 1
    low, high, _count = bins[-1] if bins else (0, 0, 0)
    trace = {
        "type": "bar",
        "x": [low + width / 2 - 0.5 for low, _high, _count in bins],
        "width": width,
        "y": [count for _low, _high, count in bins],
        "customdata": [f"{low}-{high}" if high > low else str(low) for low, high, _count in bins],
        "hovertemplate": "%{customdata}: %{y:,}<extra></extra>",
        "meta": {"colour": 0},
    }
    layout = {"xaxis": {"title": title}, "bargap": 0.03, "hovermode": "closest"}
    if bins and low - bins[0][0] < MAX_UNIT_TICKS:
        layout["xaxis"] |= {"tick0": 0, "dtick": 1}  # not 17.5 characters
    if high - low >= width:
        layout |= {"annotations": [_annotation(f"≥ {low:,}", low + width / 2, _count)]}
    live_plot([trace], layout, key=key, alt=alt, height=height)


def _annotation(text: str, x: float, y: float) -> dict:
    return {"text": text, "x": x, "y": y, "yanchor": "bottom", "showarrow": False, "font": {"size": 11}}


def bars(names: Sequence[str], values: Sequence[float], *, key: str, alt: str, percent: bool = False) -> None:
    """Names with values, lying, the first on top."""
    trace = {
        "type": "bar",
        "orientation": "h",
        "x": list(values),
        "y": [str(name) for name in names],
        "text": [number_format.percent(value) if percent else number_format.count(value) for value in values],
        "textposition": "outside",
        "cliponaxis": False,
        "hoverinfo": "skip",
        "meta": {"colour": 0},
    }
    top = max(values, default=0) or 1
    layout = {
        "xaxis": {"range": [0, 1.18 if percent else top * 1.18], "visible": False, "fixedrange": True},
        "yaxis": {"autorange": "reversed", "type": "category", "fixedrange": True, "showgrid": False},
        "bargap": 0.35,
        "hovermode": False,
    }
    live_plot([trace], layout, key=key, alt=alt, height=30 * len(names) + 30)
