"""`compare`: models on the same rows, their metrics with intervals, what sets them apart, and who is better by a paired test."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial

from bigmodel.cli.runs import format_metric
from bigmodel.cli.terminal import Terminal
from bigmodel.cli.try_model import resolve_model
from bigmodel.cli.verbs import Verbs
from bigmodel.core import catalog, child_process
from bigmodel.core.contracts import SPLITS, Metric
from bigmodel.core.errors import Refusal
from bigmodel.core.model import Model
from bigmodel.core.words import Words, _
from bigmodel.evaluation import comparison
from bigmodel.evaluation.comparison import Comparison, Verdict
from bigmodel.evaluation.evaluation import Evaluation, MetricValue
from bigmodel.evaluation.service import EvaluationProgress
from bigmodel.studio import LIBRARIES


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add(
        "compare", _compare, _("hold models against each other on the same rows, the first against the rest")
    )
    verb.add_argument("models", metavar="MODEL", nargs="+", help=_("two or more runs, starters or bases"))
    verb.add_argument("--dataset", default="", help=_("whose rows; by default those of the first model"))
    verb.add_argument("--split", choices=SPLITS, default="test", help=_("which part of the data; by default test"))
    verb.add_argument("--metric", action="append", default=[], help=_("by which they are judged, as often as needed"))


def _compare(terminal: Terminal) -> None:
    options, studio = terminal.options, terminal.studio
    found = [resolve_model(studio, text) for text in options.models]
    models = {model.id: model for model in found}
    if len(models) < 2:
        raise Refusal(_("There is only one model to compare."), do=_("Name another one."), field="models")
    comparison.refuse_other_tasks(found)
    groups = comparison.group_by_seed(models)
    names = [comparison.letters(number) for number in range(len(groups))]
    evaluations = _evaluate(terminal, models)
    compared = studio.evaluations.compare([[evaluations[id].id for id in group] for group in groups], options.metric)
    sets_apart = comparison.differing_settings([models[group[0]] for group in groups])
    if options.json:
        terminal.print_json(_json(names, groups, evaluations, sets_apart, compared))
        return
    terminal.print_table(
        (name, id, models[id].title) for name, group in zip(names, groups, strict=True) for id in group
    )
    print()
    _print_metrics(terminal, names, [[evaluations[id] for id in group] for group in groups])
    if sets_apart:
        print()
        terminal.print_table([("", *names), *((name, *map(_plain, row)) for name, row in sets_apart.items())])
    print()
    for words in _verdicts(compared, names):
        print(terminal.say(words), flush=True)


def _evaluate(terminal: Terminal, models: Mapping[str, Model]) -> dict[str, Evaluation]:
    """All of them on the same rows, those that are missing begun in one go."""
    options, service = terminal.options, terminal.studio.evaluations
    first = next(iter(models.values()))
    dataset = options.dataset or first.dataset
    missing = [id for id, model in models.items() if service.find(model, dataset, options.split) is None]
    finished = {}
    # the libraries are loaded once where several models are to be evaluated
    with child_process.preloading(LIBRARIES) if len(missing) > 1 else nullcontext():
        try:
            begun = {id: service.begin(id, dataset, options.split, first.task) for id in models}
            for id, evaluation in begun.items():
                finished[id] = service.wait(evaluation, partial(_show_progress, terminal, id))
        finally:
            terminal.studio.close()
    terminal.print_progress("")
    return finished


def _show_progress(terminal: Terminal, id: str, progress: EvaluationProgress) -> None:
    terminal.print_progress(f"{id}: {terminal.say(progress.title)} {progress.share:.0%}")


def _print_metrics(terminal: Terminal, names: Sequence[str], groups: Sequence[Sequence[Evaluation]]) -> None:
    head = groups[0][0]
    rows: list[tuple] = [("", *names, *([head.baseline_title] if head.baseline_title else []))]
    for metric in _metrics(head):
        cells = [_cell(metric, comparison.group_value(group, metric.name)) for group in groups]
        beside = head.baseline.get(metric.name)
        cells += [format_metric(beside, metric) if beside is not None else ""] if head.baseline_title else []
        rows.append((metric.label, *cells))
    terminal.print_table(rows)


def _metrics(evaluation: Evaluation) -> list[Metric]:
    known = [one.metric for one in catalog.task(evaluation.task).row_metrics()]
    return [metric for metric in known if metric.name in evaluation.metrics]


def _cell(metric: Metric, value: MetricValue | None) -> str:
    if value is None or value.value is None:
        return "-"
    text = format_metric(value.value, metric)
    if value.low is None or value.high is None:
        return text
    return f"{text} [{format_metric(value.low, metric)}, {format_metric(value.high, metric)}]"


def _verdicts(compared: Comparison, names: Sequence[str]) -> Iterator[Words]:
    cautions = {}
    for verdict in compared.verdicts:
        yield comparison.headline(verdict, names, lambda metric, value: format_metric(value, metric))
        yield from comparison.evidence(verdict)
        cautions |= {words: None for words in [comparison.caution(verdict)] if words}
    for number, refusal in compared.refused.items():
        yield _("{name}: {reason}", name=names[number], reason=refusal.what)
    yield from cautions


def _json(
    names: Sequence[str],
    groups: Sequence[Sequence[str]],
    evaluations: Mapping[str, Evaluation],
    sets_apart: Mapping,
    compared: Comparison,
) -> dict:
    return {
        "groups": [
            {
                "name": name,
                "models": group,
                "metrics": {
                    metric: asdict(value)
                    for metric in evaluations[group[0]].metrics
                    if (value := comparison.group_value([evaluations[id] for id in group], metric))
                },
            }
            for name, group in zip(names, groups, strict=True)
        ],
        "settings": sets_apart,
        "baseline": evaluations[groups[0][0]].baseline,
        "verdicts": [_verdict_json(verdict, names) for verdict in compared.verdicts],
        "refused": {names[number]: refusal.to_json() for number, refusal in compared.refused.items()},
    }


def _verdict_json(verdict: Verdict, names: Sequence[str]) -> dict:
    test, needed = verdict.test, verdict.test.rows_needed(verdict.tests)
    return {
        "metric": verdict.metric.name,
        "first": names[verdict.first],
        "second": names[verdict.second],
        "better": None if verdict.better is None else names[verdict.better],
        "values": [test.first, test.second],
        "difference": asdict(test.difference),
        "p": verdict.p,
        "p_uncorrected": test.p,
        "tests": verdict.tests,
        "method": test.method,
        "rows": test.rows,
        "only": test.only,
        "effect_size": test.effect_size,
        "rows_needed": needed if math.isfinite(needed) else None,
    }


def _plain(value: object) -> str:
    return "-" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
