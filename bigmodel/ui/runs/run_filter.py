"""The filter of the list of runs: words, and conditions such as 'accuracy>0.9 channels=8'."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from bigmodel.runs.run import Run
from bigmodel.runs.run_annotations import Annotations

CONDITION = re.compile(r"([A-Za-z_][\w-]*)(<=|>=|!=|=|<|>)(\S+)")
COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<=": lambda value, bound: value <= bound,
    ">=": lambda value, bound: value >= bound,
    "<": lambda value, bound: value < bound,
    ">": lambda value, bound: value > bound,
    "=": lambda value, bound: math.isclose(value, bound, rel_tol=1e-9),
    "!=": lambda value, bound: not math.isclose(value, bound, rel_tol=1e-9),
}


def matches(run: Run, annotations: Annotations, words: str, asked: str) -> bool:
    """Whether a run has all that is asked for. words: what else it is called, in the language of the page. A run that does
    not have what a condition is about does not fulfil it."""
    values = {**run.spec.settings, **metrics_of(run), "state": run.state, "task": run.spec.task,
              "architecture": run.spec.architecture, "dataset": run.spec.dataset}  # fmt: skip
    text = " ".join([words, run.id, *annotations.tags, annotations.note, *map(str, values.values())]).casefold()
    return all(_fulfils(values, annotations.tags, text, part) for part in asked.split())


def metrics_of(run: Run) -> Mapping[str, float]:
    """On the test rows, where they were measured, else on validation."""
    return run.result or run.best or run.validation


def _fulfils(values: Mapping[str, object], tags: Sequence[str], text: str, part: str) -> bool:
    condition = CONDITION.fullmatch(part)
    if condition is None:
        return part.casefold() in text
    name, sign, asked = condition.groups()
    if name == "tag":
        return (asked in tags) == (sign != "!=")
    value = values.get(name)
    if value is None:
        return False
    try:
        return COMPARE[sign](float(value), _number(asked))  # type: ignore[arg-type]
    except (TypeError, ValueError):
        same = str(value).casefold() == asked.casefold()
        return same if sign == "=" else not same if sign == "!=" else False


def _number(text: str) -> float:
    """'90%' is 0.9, as a metric is kept."""
    return float(text[:-1]) / 100 if text.endswith("%") else float(text)
