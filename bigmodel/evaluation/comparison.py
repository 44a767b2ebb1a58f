"""Models compared on the same rows: which differ in their seed alone, what sets them apart, and who is better by a test."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from string import ascii_uppercase
from typing import Any, Protocol

from bigmodel.core import catalog
from bigmodel.core.contracts import Metric, Task
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.core.words import Words, _
from bigmodel.evaluation.evaluation import Evaluation, MetricValue, default_metric
from bigmodel.metrics.paired_test import ALPHA, MCNEMAR, SEEDS, PairedTest, holm, paired_test
from bigmodel.metrics.row_metric import Records, RowMetric

SEED = "seed"  # the setting in which the members of a group differ
SHOWN_ROWS = 10_000_000  # more than these are no advice to anybody
# Cohen (1988), of the paired differences: up to which it is called so
EFFECTS = ((0.2, _("very small")), (0.5, _("small")), (0.8, _("medium")), (math.inf, _("large")))
METHODS: Mapping[str, Words] = {
    MCNEMAR: _("McNemar's exact test"),
    SEEDS: _("a t test over rows and seeds"),
}
PERMUTATION_TEST = _("a permutation test")


class Spec(Protocol):
    """What a run was asked for, or a model was trained with."""

    @property
    def task(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def dataset(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...


def group_by_seed(specs: Mapping[str, Spec]) -> list[list[str]]:
    """The ids of those that differ in the seed alone, together, in the order in which they are given. A seed that comes
    again, which gives the same model again, begins another group: it is no second sample."""
    groups: dict[tuple[str, int], list[str]] = {}
    seen: Counter[tuple[str, str]] = Counter()
    for id, spec in specs.items():
        settings = {name: value for name, value in spec.settings.items() if name != SEED}
        parent = dict(getattr(spec, "parent", None) or {})
        recipe = json.dumps([spec.task, spec.architecture, spec.dataset, settings, parent], sort_keys=True, default=str)
        seed = recipe, str(spec.settings.get(SEED))
        groups.setdefault((recipe, seen[seed]), []).append(id)
        seen[seed] += 1
    return list(groups.values())


def letters(number: int) -> str:
    """What a group is called by its number: A, B ... Z, AA, AB ..."""
    more, last = divmod(number, len(ascii_uppercase))
    return (letters(more - 1) if more else "") + ascii_uppercase[last]


def differing_settings(specs: Sequence[Spec]) -> dict[str, list[Any]]:
    """name -> the value of each spec, None where it has none, of all in which they differ."""
    flat = [
        {"task": one.task, "architecture": one.architecture, "dataset": one.dataset, **one.settings} for one in specs
    ]
    names = dict.fromkeys(name for one in flat for name in one)
    values = {name: [one.get(name) for one in flat] for name in names}
    return {name: row for name, row in values.items() if len({json.dumps(value, default=str) for value in row}) > 1}


def refuse_other_tasks(compared: Sequence[Evaluation | Model | Spec]) -> None:
    if len({one.task for one in compared}) > 1:
        what = _("These models have learnt different tasks.")
        raise Refusal(what, do=_("Compare models of one task."), field="task")


@dataclass(frozen=True)
class Verdict:
    """Of two groups by their numbers. p: after Holm's correction for all `tests` of the comparison."""

    metric: Metric
    first: int
    second: int
    test: PairedTest
    p: float
    tests: int
    seeds: tuple[int, int] = (1, 1)

    @property
    def different(self) -> bool:
        """By the test, and by the interval as well, so that no winner has an interval that says otherwise."""
        interval = self.test.difference
        return self.p < ALPHA and (interval.low > 0 or interval.high < 0)

    @property
    def better(self) -> int | None:
        """The group that is better; None where no difference can be shown."""
        if not self.different:
            return None
        return self.second if (self.test.difference.value > 0) == self.metric.higher_is_better else self.first


@dataclass(frozen=True)
class Comparison:
    """Each group against the reference. refused: why a group could not be compared, by its number."""

    reference: int
    verdicts: Sequence[Verdict]
    refused: Mapping[int, Refusal] = field(default_factory=dict)


def compare(
    groups: Sequence[Sequence[Evaluation]],
    load: Callable[[str], Records],
    metrics: Sequence[str] = (),
    reference: int = 0,
) -> Comparison:
    """Every group against the reference, by each of the metrics, p corrected for all of that. `load`: the records of an
    evaluation by its id; those of two groups are held at a time. groups: each of evaluations of one recipe."""
    known = _row_metrics(catalog.task(groups[reference][0].task), metrics)
    verdicts: list[Verdict] = []
    refused: dict[int, Refusal] = {}
    base = [load(one.id) for one in groups[reference]]
    for number, group in enumerate(groups):
        if number == reference:
            continue
        try:
            _refuse_other_rows(groups[reference], group)
            ours, theirs = _align_classes(groups[reference], group, base, [load(one.id) for one in group])
            for row_metric in known:
                test, seeds = paired_test(row_metric, ours, theirs), (len(ours), len(theirs))
                verdicts.append(Verdict(row_metric.metric, reference, number, test, test.p, 1, seeds))
        except Refusal as refusal:
            refused[number] = refusal
    corrected = holm([one.p for one in verdicts])
    tests = sum(not math.isnan(p) for p in corrected)
    return Comparison(
        reference, [replace(one, p=p, tests=tests) for one, p in zip(verdicts, corrected, strict=True)], refused
    )


def _row_metrics(task: Task, names: Sequence[str]) -> list[RowMetric]:
    known = {one.metric.name: one for one in task.row_metrics()}
    for name in names:
        if name not in known:
            what = _("There is no metric named {name}.", name=name[:60])
            raise Refusal(what, do=_("Choose one of: {options}.", options=", ".join(known)), field="metric")
    return [known[name] for name in dict.fromkeys(names or [default_metric(task)])]


def _refuse_other_rows(first: Sequence[Evaluation], second: Sequence[Evaluation]) -> None:
    refuse_other_tasks([first[0], second[0]])
    rows = {(one.dataset, one.split, one.provenance.get("sha256 rows", one.id)) for one in (*first, *second)}
    if len(rows) > 1:
        what = _("These models were not evaluated on the same rows.")
        raise Refusal(what, do=_("Evaluate them on the same split of the same data set."), field="split")


def _align_classes(
    first: Sequence[Evaluation], second: Sequence[Evaluation], ours: Sequence[Records], theirs: Sequence[Records]
) -> tuple[Sequence[Records], Sequence[Records]]:
    """With one numbering of the classes, where the models have each their own."""
    orders = [tuple(one.classes) for one in (*first, *second)]
    if len(set(orders)) == 1:
        return ours, theirs
    names = list(dict.fromkeys(name for order in orders for name in order))
    renumbered = [_renumber(one, order, names) for one, order in zip([*ours, *theirs], orders, strict=True)]
    return renumbered[: len(ours)], renumbered[len(ours) :]


def _renumber(records: Records, order: Sequence[str], names: Sequence[str]) -> Records:
    import numpy as np

    numbers = np.asarray([names.index(name) for name in order])
    probabilities = np.zeros((len(records["row"]), len(names)))
    probabilities[:, numbers] = records["probabilities"]
    moved = {name: numbers[np.asarray(records[name])] for name in ("label", "predicted")}
    return {**records, **moved, "probabilities": probabilities}


# -- in words -----------------------------------------------------------------------------------------------
def headline(verdict: Verdict, names: Sequence[Words | str], show: Callable[[Metric, float], str]) -> Words:
    """Who is better, or that nobody can be told to be, in one sentence. show: a value as the metric is read."""
    first, second = verdict.first, verdict.second
    values = {first: verdict.test.first, second: verdict.test.second}
    better = verdict.better
    if better is None:
        return _(
            "No difference that these {rows} rows can show: {metric} {second_value} ({second}) and {first_value} ({first}).",
            rows=f"{verdict.test.rows:,}", metric=verdict.metric.label, first=names[first], second=names[second],
            first_value=show(verdict.metric, values[first]), second_value=show(verdict.metric, values[second]),
        )  # fmt: skip
    worse = first if better == second else second
    return _(
        "{better} beats {worse}: {metric} {better_value} against {worse_value}.",
        better=names[better], worse=names[worse], metric=verdict.metric.label,
        better_value=show(verdict.metric, values[better]), worse_value=show(verdict.metric, values[worse]),
    )  # fmt: skip


def evidence(verdict: Verdict) -> list[Words]:
    """What the headline rests on, how large that is, and what would show more."""
    test, method = verdict.test, METHODS.get(verdict.test.method, PERMUTATION_TEST)
    if math.isnan(test.p):
        return [_("It is not defined for all of them on these rows.")]
    sign = -1 if test.difference.value < 0 else 1  # told of the larger less the smaller
    low, high = sorted((sign * test.difference.low, sign * test.difference.high))
    told = [
        _(
            "The difference is {difference} (95 % interval {low} to {high}; {p} by {method} on the same {rows} rows).",
            difference=format_difference(verdict.metric, abs(test.difference.value)),
            low=format_difference(verdict.metric, low), high=format_difference(verdict.metric, high),
            p=format_p(verdict.p), method=method, rows=f"{test.rows:,}",
        )
    ]  # fmt: skip
    if verdict.tests > 1:
        told.append(_("p is corrected for {count} comparisons (Holm).", count=verdict.tests))
    if test.only and sum(test.only):
        share = f"{100 * max(test.only) / sum(test.only):.0f} %"
        only = _("Of {rows} rows that only one of the two gets right, the one that is ahead has {share}.",
                 rows=f"{sum(test.only):,}", share=share)  # fmt: skip
        told.append(only)
    if verdict.different:
        told.append(_effect(test))
    elif advice := _advice(verdict):
        told.append(advice)
    return told


def caution(verdict: Verdict) -> Words | None:
    """What a verdict over single models does not say."""
    if max(verdict.seeds) > 1:
        return None
    return _(
        "This is said of these models, not of their settings: another seed may turn it round. Train each with three seeds or more to compare settings."
    )


def _effect(test: PairedTest) -> Words:
    size = abs(test.effect_size)
    name = next(name for limit, name in EFFECTS if size < limit)
    if test.method == SEEDS:
        return _("Beside how much seeds differ, that is a {size} effect (Cohen's d = {d}).", size=name, d=f"{size:.2f}")
    return _("Beside how much rows differ, that is a {size} effect (Cohen's d = {d}).", size=name, d=f"{size:.2f}")


def _advice(verdict: Verdict) -> Words | None:
    test = verdict.test
    if test.difference.value == 0 and test.difference.error == 0:
        return _("They do equally well on every row.")
    if test.method == SEEDS:
        return _("More seeds, or more rows, would tell more.")
    needed = test.rows_needed(verdict.tests)
    if needed > SHOWN_ROWS:
        return _("If there is any, it is too small to be worth more rows.")
    if needed <= test.rows:
        return None
    rounded = round(needed, 1 - len(str(int(needed))))
    return _("If this difference is the true one, it would take about {rows} rows to show it.", rows=f"{rounded:,.0f}")


def format_difference(metric: Metric, value: float) -> Words | str:
    """Of shares in points, as '2 % more' could also be of the share itself."""
    if not math.isfinite(value):
        return "-"
    return _("{points} points", points=f"{100 * value:.1f}") if metric.percent else f"{value:.3g}"


def format_p(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def group_value(group: Sequence[Evaluation], name: str) -> MetricValue | None:
    """A metric of a group: of one model with its interval, of several seeds the mean with the lowest and the highest."""
    values = [one.metrics[name] for one in group if name in one.metrics]
    if len(values) == 1:
        return values[0]
    known = [one.value for one in values if one.value is not None]
    return MetricValue(sum(known) / len(known), min(known), max(known)) if known else None
