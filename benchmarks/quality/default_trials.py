"""What the defaults make of data that do not come along, beside simple baselines, and what was said before the start."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from benchmarks import report
from benchmarks.options import name_of
from benchmarks.quality import fetched
from benchmarks.quality.baselines import colour_forest
from benchmarks.quality.checks import Check
from benchmarks.quality.measure import Failed, best, format_value, measure
from benchmarks.report import MARK, Headline, Report, progress
from bigmodel.core import catalog
from bigmodel.studio import home
from bigmodel.training.forecast import Forecast

METRICS = {
    "text-classification": "accuracy",
    "image-classification": "accuracy",
    "text-generation": "bits_per_character",
    "translation": "chrf",
}
DATA = {  # data set -> its task; the network is the one that the Train page offers first
    "tweets_820": "text-classification",
    "films_10k": "text-classification",
    "reviews_zh": "text-classification",
    "photos_675": "image-classification",
    "mnist_5k": "image-classification",
    "photos_10k": "image-classification",
    "python_reference": "text-generation",
    "django_fr": "translation",
}


def check_of(dataset: str) -> Check:
    task = DATA[dataset]
    network = next(iter(catalog.architectures_for(catalog.task(task))))
    return Check(f"defaults-{dataset}", task, network, dataset, METRICS[task], beats_baselines=True)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", type=name_of("data set", DATA))
    parser.add_argument("--threads", type=int, default=1, help="of the training (%(default)s)")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    """Every data set is won, or it was said before the start that more time is needed."""
    fetched.register()
    entries = {name: _measure(name, options) for name in options.names or DATA}
    return entries, all(entry and (entry["reached"] or entry["said"]) for entry in entries.values())


def _measure(name: str, options: argparse.Namespace) -> dict | None:
    check = check_of(name)
    try:
        entry = measure(check, home(), options.threads)
    except Failed as failure:
        progress(f"{name}: {failure}")
        return None
    if check.task == "image-classification":
        entry["baselines"] |= colour_forest(catalog.dataset(name).rows())
    figures = json.loads((home() / "quality" / check.name / "forecast.json").read_text("utf-8"))
    entry |= _said(Forecast(**figures))
    sign = 1 if check.measured().higher_is_better else -1
    entry["reached"] = sign * entry["result"][check.metric] > sign * best(check, entry["baselines"])
    progress(f"{name}: {entry['result'][check.metric]:.3f}, {entry['baselines']}, said: {entry['said']}")
    if not options.dry:
        REPORT.save_entry(name, entry, DATA)
    return entry


def _said(forecast: Forecast) -> dict[str, Any]:
    """The rows, what was forecast, and whether more time was said to be needed."""
    warnings = [str(words) for words in forecast.warnings()]
    return {
        "rows": sum(forecast.rows.values()),
        "forecast_seconds": forecast.seconds,
        "epochs": forecast.epochs,
        "said": bool(forecast.enough_seconds or forecast.few_texts),
        "warnings": warnings,
    }


def _render(figures: Mapping[str, Mapping]) -> str:
    head = ("data", "rows", "network", "defaults", "best simple baseline", "better", "said that more is needed", "forecast", "whole run", "steps, epochs")  # fmt: skip
    environments = [(f"`{name}`", entry["environment"]) for name, entry in figures.items()]
    lines = report.table(head, [_cells(name, entry) for name, entry in figures.items()])
    return "\n".join([*lines, "", *report.measured_on(environments)])


def _cells(name: str, entry: Mapping) -> tuple:
    check = check_of(name)
    top = best(check, entry["baselines"])
    baseline = next(label for label, scores in entry["baselines"].items() if scores[check.metric] == top)
    return (
        f"`{name}`",
        f"{entry['rows']:,}",
        check.architecture,
        f"**{check.measured().label} {format_value(check, entry['result'][check.metric])}**",
        f"{format_value(check, top)} ({baseline})",
        MARK[entry["reached"]],
        "yes" if entry["said"] else "no",
        f"{entry['forecast_seconds']:.0f} s",
        f"{entry['wall_seconds']:.0f} s",
        f"{entry['steps']:,}, {entry['epochs']:.3g}",
    )


def _headlines(figures: Mapping[str, Mapping]) -> list[Headline]:
    if not figures:
        return []
    won = sum(entry["reached"] for entry in figures.values())
    fair = sum(entry["reached"] or entry["said"] for entry in figures.values())
    what = (
        f"defaults on {len(figures)} other data sets: better than simple baselines, or said before that more is needed"
    )
    return [Headline(what, f"{won} better, {fair - won} said, {len(figures) - fair} neither", "0 neither", "defaults")]


REPORT = Report("defaults", report.ROOT / "docs" / "benchmarks" / "defaults.md", _render, _headlines)
