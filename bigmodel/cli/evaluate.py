"""`evaluate`: how good a model is on rows it has not been trained on, each metric with its interval and a baseline."""

from __future__ import annotations

from bigmodel.cli.terminal import Terminal
from bigmodel.cli.try_model import resolve_model
from bigmodel.cli.verbs import Verbs
from bigmodel.core import catalog
from bigmodel.core.contracts import SPLITS, Metric
from bigmodel.core.words import _
from bigmodel.evaluation.evaluation import Evaluation, MetricValue
from bigmodel.evaluation.service import EvaluationProgress


def add_verbs(verbs: Verbs) -> None:
    verb = verbs.add("evaluate", _evaluate, _("measure a model on rows, with intervals and a baseline"))
    verb.add_argument(
        "model", metavar="MODEL", help=_("the id of a run, of a starter: starter:NAME, or of a base: base:NAME")
    )
    verb.add_argument(
        "--dataset", default="", help=_("another data set with the same columns; by default the one it was trained on")
    )
    verb.add_argument("--split", choices=SPLITS, default="test", help=_("which part of the data; by default test"))


def _evaluate(terminal: Terminal) -> None:
    options, studio = terminal.options, terminal.studio
    try:
        model = resolve_model(studio, options.model)
        id = studio.evaluations.begin(model.id, options.dataset, options.split)
        evaluation = studio.evaluations.wait(id, lambda progress: _show_progress(terminal, progress))
        terminal.print_progress("")
    finally:
        studio.close()
    if options.json:
        terminal.print_json(evaluation.to_json())
    else:
        print_evaluation(terminal, evaluation)


def _show_progress(terminal: Terminal, progress: EvaluationProgress) -> None:
    terminal.print_progress(f"{terminal.say(progress.title)} {progress.share:.0%}")


def print_evaluation(terminal: Terminal, evaluation: Evaluation) -> None:
    title = catalog.dataset(evaluation.dataset).title
    words = _("{model}: {rows} rows, {split} of {dataset}", model=evaluation.model, rows=evaluation.rows, split=evaluation.split, dataset=title)  # fmt: skip
    terminal.print_message(words)
    rows = [(_("metric"), _("value"), _("95 % interval"), evaluation.baseline_title or "")]
    for row_metric in catalog.task(evaluation.task).row_metrics():
        metric = row_metric.metric
        measured = evaluation.metrics.get(metric.name, MetricValue(None))
        rows.append(
            (metric.label, *format_metric(metric, measured), _format(metric, evaluation.baseline.get(metric.name)))
        )
    terminal.print_table(rows)


def format_metric(metric: Metric, measured: MetricValue) -> tuple[str, str]:
    """(value, interval), '' for what is not defined."""
    if measured.low is None or measured.high is None:
        return _format(metric, measured.value), ""
    return _format(metric, measured.value), f"{_format(metric, measured.low)} .. {_format(metric, measured.high)}"


def _format(metric: Metric, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.2f} %" if metric.percent else f"{value:.4g}"
