"""The page docs/benchmarks/quality.md: tables of the checks, their recipes, and where they were measured."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import report
from benchmarks.quality.checks import CHECKS, Check
from benchmarks.quality.measure import format_value
from benchmarks.report import MARK, Headline, Report

SECONDARY = {  # metrics beside the one of the goal
    "text-generation": ("loss", "perplexity", "accuracy"),
    "dialogue": ("perplexity", "accuracy"),
    "translation": ("bleu", "accuracy"),
    "image-classification": ("f1",),
    "text-classification": ("f1",),
}
HEADLINES = ("fashion-full-cnn", "classics-gpt", "poetry-gpt", "en-zh", "dialogue-minimind-lora", "reviews-minimind")


def render(figures: Mapping[str, Mapping]) -> str:
    current = _current(figures)
    head = (
        "check", "network, data", "result on the test split", "goal", "reached", "baselines", "whole run", "training",
    )  # fmt: skip
    rows = (_cells(CHECKS[name], entry) for name, entry in current.items())
    environments = [(f"`{name}`", entry["environment"]) for name, entry in current.items()]
    return "\n".join([*report.table(head, rows), "", *_recipes(current), *report.measured_on(environments)])


def _current(figures: Mapping[str, Mapping]) -> dict[str, Mapping]:
    return {name: entry for name, entry in figures.items() if name in CHECKS}


def _cells(check: Check, entry: Mapping) -> tuple:
    result, parameters = entry["result"], entry["parameters"] / 1e6
    main = f"**{check.measured().label} {format_value(check, result[check.metric])}**"
    others = [f"{name} {_short(name, result[name])}" for name in SECONDARY[check.task] if name in result]
    baselines = [f"{name} {format_value(check, scores[check.metric])}" for name, scores in entry["baselines"].items()]
    return (
        f"`{check.name}`",
        f"{check.architecture}, {parameters:.1f} M; {check.dataset}",
        ", ".join([main, *others]),
        entry["goal"],
        MARK[entry["reached"]],
        ", ".join(baselines),
        f"{entry['wall_seconds']:.0f} s",
        f"{entry['training_seconds']:.0f} s, {entry['steps']} steps, {entry['precision']}",
    )


def _short(metric: str, value: float) -> str:
    return f"{100 * value:.1f} %" if metric in ("accuracy", "f1") else f"{value:.1f}"


def _recipes(figures: Mapping[str, Mapping]) -> list[str]:
    recipes = {name: {**CHECKS[name].pinned, **entry["settings"]} for name, entry in figures.items()}
    lines = [
        f"- `{name}`: " + ", ".join(f"{key} {value}" for key, value in settings.items())
        for name, settings in recipes.items()
        if settings
    ]
    intro = "Settings that differ from the defaults (all others are those the Train page begins with):"
    return [intro, "", *lines, ""] if lines else []


def headlines(figures: Mapping[str, Mapping]) -> list[Headline]:
    current = _current(figures)
    verdicts = [entry["reached"] for entry in current.values() if entry["reached"] is not None]
    total = Headline("all checks of quality", f"{sum(verdicts)} of {len(verdicts)} goals", "all", "quality")
    return [total, *(_headline(CHECKS[name], current[name]) for name in HEADLINES if name in current)]


def _headline(check: Check, entry: Mapping) -> Headline:
    value = f"{check.measured().label} {format_value(check, entry['result'][check.metric])}"
    return Headline(f"{check.architecture} on {check.dataset}", value, entry["goal"], f"quality {check.name}")


REPORT = Report("quality", report.ROOT / "docs" / "benchmarks" / "quality.md", render, headlines)
