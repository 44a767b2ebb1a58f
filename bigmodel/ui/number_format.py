"""Numbers as people read them: counts, sizes, times, shares, metrics."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from bigmodel.core.contracts import LOSS, Metric, Task
from bigmodel.ui.language import _, current, say


def count(number: float) -> str:
    return f"{number:,.0f}"


def compact(number: float) -> str:
    """Three significant digits at most: 950, 12.3 k, 1.27 M."""
    for power, letter in ((9, "B"), (6, "M"), (3, "k")):
        if abs(number) >= 10**power:
            return f"{_three_significant(number / 10**power)} {letter}"
    return _three_significant(number)


def three_digits(number: float) -> str:
    """Three digits that mean something, the rest rounded: 0.0123, 3.46, 671, 2,950."""
    return count(number) if abs(number) >= 100 else f"{number:.3g}"


def _three_significant(number: float) -> str:
    if number == int(number) and abs(number) < 1000:
        return str(int(number))
    return f"{number:.0f}" if abs(number) >= 100 else f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


def trained_parameters(trainable: object, parameters: object) -> str:
    """'1.16 M trained', '' where all of them are."""
    if not isinstance(trainable, int) or not isinstance(parameters, int) or not 0 < trainable < parameters:
        return ""
    return _("{count} trained", count=compact(trainable))


def byte_size(number: float) -> str:
    """Bytes as kB, MB, GB."""
    for power, unit in ((3, "GB"), (2, "MB"), (1, "kB")):
        if number >= 1000**power:
            return f"{_three_significant(number / 1000**power)} {unit}"
    return f"{number:.0f} B"


def duration(seconds: float) -> str:
    """'less than a second', '12 s', '3 min 20 s', '2 h 5 min'."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 1:
        return _("less than a second")
    if seconds < 60:
        return _("{seconds} s", seconds=round(seconds))
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return (
            _("{minutes} min {seconds} s", minutes=minutes, seconds=rest)
            if minutes < 10 and rest
            else _("{minutes} min", minutes=minutes + (rest >= 30))
        )
    hours, minutes = divmod(minutes, 60)
    return _("{hours} h {minutes} min", hours=hours, minutes=minutes)


def ago(moment: float) -> str:
    """How long ago a wall-clock time was."""
    seconds = max(0.0, time.time() - moment)
    if seconds < 60:
        return _("just now")
    if seconds < 3600:
        return _("{minutes} min ago", minutes=int(seconds // 60))
    if seconds < 86400:
        return _("{hours} h ago", hours=int(seconds // 3600))
    return time.strftime("%Y-%m-%d", time.localtime(moment))


def number(value: float) -> str:
    """A measured number: what is not finite is named."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if value == 0:
        return "0"
    if abs(value) >= 1e6 or abs(value) < 1e-3:
        return f"{value:.2e}"
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def metric_value(metric: Metric, value: float) -> str:
    """A metric's value the way the metric is read."""
    return percent(value) if metric.percent and math.isfinite(value) else number(value)


def metrics_of(task: Task) -> dict[str, Metric]:
    """Every metric a run of the task can report, by name."""
    return {metric.name: metric for metric in (*task.metrics, LOSS)}


def headline(task: Task, metrics: Mapping[str, float]) -> tuple[str, str] | None:
    """(label, value) of the first metric that was measured; the loss, which says least, only where there is no other."""
    metric = primary_metric(task, metrics)
    return (say(metric.label), metric_value(metric, metrics[metric.name])) if metric else None


def primary_metric(task: Task, metrics: Mapping[str, float]) -> Metric | None:
    ordered = (*(metric for metric in task.metrics if metric.name != LOSS.name), LOSS)
    return next((metric for metric in ordered if metric.name in metrics), None)


def join_list(parts: list[str]) -> str:
    """An enumeration in the language's punctuation."""
    return ("、" if current() == "zh" else ", ").join(parts)
