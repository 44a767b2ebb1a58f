"""How often the comparison of two models errs: equally good ones that are called different, and true gaps that are found."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping

import numpy as np

from benchmarks import report
from benchmarks.report import Headline, Report, progress
from bigmodel.core import catalog
from bigmodel.evaluation.comparison import Verdict
from bigmodel.metrics.classification import class_row_metrics
from bigmodel.metrics.paired_test import paired_test
from bigmodel.metrics.row_metric import Records, RowMetric

MAX_FALSE, MIN_POWER = 0.05, 0.45  # goals: shares of the pairs
CLASSES, MARGIN = 4, 1.5  # of the made-up models: how far the logit of the right class is above the others
PILOT_ROWS, PILOT_GAP = 100_000, 0.1
SEEDS, SEED_SPREAD = 3, 0.15  # models of a group; the standard deviation of their margins
METRICS = ("accuracy", "f1", "loss")
WITH_SEEDS = "accuracy-seeds"  # a t test with few degrees of freedom: no goal for what it finds
PACKAGES = ("numpy", "scipy")


def pair(random: np.random.Generator, rows: int, gap: float = 0.0) -> tuple[Records, Records]:
    """Answers of two models to the same rows: each row is as hard for both, and each errs in its own way. gap: how much
    further the second has the right class above the others."""
    label, shared = random.integers(0, CLASSES, rows), random.normal(0, 1, (rows, CLASSES))
    return _answers(random, label, shared, MARGIN), _answers(random, label, shared, MARGIN + gap)


def seed_groups(random: np.random.Generator, rows: int, gap: float = 0.0) -> tuple[list[Records], list[Records]]:
    """The same of two recipes, each trained with several seeds, which make some models better than others."""
    label, shared = random.integers(0, CLASSES, rows), random.normal(0, 1, (rows, CLASSES))
    margins = MARGIN + random.normal(0, SEED_SPREAD, (2, SEEDS)) + np.array([[0.0], [gap]])
    first, second = ([_answers(random, label, shared, margin) for margin in part] for part in margins)
    return first, second


def _answers(random: np.random.Generator, label: np.ndarray, shared: np.ndarray, margin: float) -> Records:
    logits = shared + random.normal(0, 1, shared.shape)
    rows = np.arange(len(label))
    logits[rows, label] += margin
    log_probabilities = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    return {
        "row": rows,
        "label": label,
        "predicted": logits.argmax(1),
        "probabilities": np.exp(log_probabilities),
        "loss": -log_probabilities[rows, label],
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pairs", type=int, default=1000, help="of equally good models, and of unequal ones (%(default)s)"
    )
    parser.add_argument("--rows", type=int, default=400, help="that each is evaluated on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    known = {one.metric.name: one for one in class_row_metrics(catalog.task("image-classification").metrics)}
    figures = {}
    for name in METRICS:
        figures[name] = _measure(options, known[name], lambda *wanted: tuple([one] for one in pair(*wanted)))
    figures[WITH_SEEDS] = _measure(options, known["accuracy"], seed_groups)
    for name, entry in figures.items():
        entry["environment"] = report.environment(PACKAGES)
        progress(f"{name}: {entry['false']} of {entry['pairs']} false, {entry['found']} gaps found")
        if not options.dry:
            REPORT.save_entry(name, entry, figures)
    return figures, all(_met(name, entry) for name, entry in figures.items())


def _measure(options: argparse.Namespace, row_metric: RowMetric, draw: Callable) -> dict:
    random = np.random.default_rng(options.seed)
    equal = [_verdict(row_metric, *draw(random, options.rows), number) for number in range(options.pairs)]
    error = float(np.mean([one.test.difference.error for one in equal]))
    gap = 2 * error / _slope(row_metric)
    unequal = [_verdict(row_metric, *draw(random, options.rows, gap), number) for number in range(options.pairs)]
    return {
        "pairs": options.pairs,
        "rows": options.rows,
        "error": error,
        "gap": 2 * error,
        "false": sum(one.different for one in equal),
        "found": sum(one.different for one in unequal),
    }


def _slope(row_metric: RowMetric) -> float:
    """How much the metric moves for each bit of the gap, from two large models."""
    first, second = pair(np.random.default_rng(1), PILOT_ROWS, PILOT_GAP)
    return abs(row_metric.value(second) - row_metric.value(first)) / PILOT_GAP


def _verdict(row_metric: RowMetric, first: list[Records], second: list[Records], seed: int) -> Verdict:
    test = paired_test(row_metric, first, second, seed)
    return Verdict(row_metric.metric, 0, 1, test, test.p, 1, (len(first), len(second)))


def _met(name: str, entry: Mapping) -> bool:
    enough = name == WITH_SEEDS or entry["found"] >= MIN_POWER * entry["pairs"]
    return entry["false"] <= MAX_FALSE * entry["pairs"] and enough


def _render(figures: Mapping[str, Mapping]) -> str:
    rows = [
        (
            f"`{name}`", f"{one['rows']:,}", f"**{100 * one['false'] / one['pairs']:.1f} %**",
            f"**{100 * one['found'] / one['pairs']:.1f} %**", f"{one['gap']:.3g}", f"{one['pairs']:,}",
            report.MARK[_met(name, one)],
        )
        for name, one in figures.items()
    ]  # fmt: skip
    head = (
        "metric",
        "rows",
        "equal, called different",
        "gap of two standard errors, found",
        "that gap",
        "pairs",
        "met",
    )
    environments = [(f"`{name}`", one["environment"]) for name, one in figures.items()]
    return "\n".join([*report.table(head, rows), "", *report.measured_on(environments)])


def _headlines(figures: Mapping[str, Mapping]) -> list[Headline]:
    if not figures:
        return []
    worst = max(one["false"] / one["pairs"] for one in figures.values())
    least = min(one["found"] / one["pairs"] for name, one in figures.items() if name != WITH_SEEDS)
    return [
        Headline(
            "pairs of equally good models that are called different, in the worst metric",
            f"{100 * worst:.1f} %", f"at most {100 * MAX_FALSE:.0f} %", "comparisons",
        ),
        Headline(
            "true gaps of two standard errors that are found, in the worst metric",
            f"{100 * least:.1f} %", f"at least {100 * MIN_POWER:.0f} %", "comparisons",
        ),
    ]  # fmt: skip


REPORT = Report("comparisons", report.ROOT / "docs" / "benchmarks" / "comparisons.md", _render, _headlines)
