"""`python -m benchmarks tuning`: a pruned search beside the full grid, and a study whose server is killed."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report
from benchmarks.report import Headline, Report
from benchmarks.tuning import kills, search_trials

SEEDS = 5
KILLS = 20


def render(figures: Mapping) -> str:
    """Markdown of all figures."""
    if not figures:
        return "Not measured yet."
    rows = [
        (
            one["seed"],
            f"{100 * one['grid']['best']:.2f} %",
            f"{100 * one['pruned']['best']:.2f} %",
            f"{100 * one['lost']:+.2f}",
            f"{100 * one['share']:.1f} %",
            f"{one['grid']['trials']}, {one['grid']['steps']:,} steps",
            f"{one['pruned']['trials']} ({one['pruned']['pruned']} pruned), {one['pruned']['steps']:,} steps",
        )
        for one in figures.get("seeds", [])
    ]
    head = ("seed", "best of the grid", "best of the search", "lost, points", "share of the steps", "grid", "search")
    lines = report.table(head, rows)
    if "kills" in figures:
        killed = figures["kills"]
        faults = "; ".join(killed["faults"]) or "nothing"
        lines += ["", f"Killed {killed['kills']} times, {sum(killed['trials'].values())} trials, {killed['runs']} runs; lost or doubled: {faults}."]  # fmt: skip
    lines += ["", *report.measured_on([("all", figures["environment"])])]
    return "\n".join(lines)


def headlines(figures: Mapping) -> list[Headline]:
    """The lines on top of BENCHMARKS.md."""
    found, seeds = [], figures.get("seeds", [])
    if seeds:
        lost, share = max(one["lost"] for one in seeds), max(one["share"] for one in seeds)
        what = f"accuracy that a pruned search gives away beside the full grid, at {100 * share:.0f}% of its steps, worst of {len(seeds)} seeds"
        found.append(Headline(what, f"{100 * lost:.2f} points", "<= 1", "tuning"))
    if "kills" in figures:
        killed = figures["kills"]
        what = f"trials lost or doubled by {killed['kills']} kills of the server"
        found.append(Headline(what, str(len(killed["faults"])), "0", "tuning"))
    return found


REPORT = Report("tuning", report.ROOT / "docs" / "benchmarks" / "tuning.md", render, headlines)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seeds", type=_numbers, default=list(range(SEEDS)), metavar="N,N", help="of searches and grids; '' for none")  # fmt: skip
    parser.add_argument("--kills", type=int, default=KILLS, help="of the process that works on a study (%(default)s)")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",") if part]


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    figures = dict(REPORT.figures())
    with tempfile.TemporaryDirectory() as cache:
        for seed in options.seeds:  # each takes minutes, and is kept as soon as it is measured
            one = search_trials.measure(seed, Path(cache))
            report.progress(f"seed {seed}: grid {one['grid']}, search {one['pruned']}, lost {one['lost']:.4f}, share {one['share']:.3f}, {one['seconds']:.0f} s")  # fmt: skip
            others = [other for other in _newest(figures, options).get("seeds", []) if other["seed"] != seed]
            figures = _keep(figures, options, seeds=sorted([*others, one], key=lambda entry: entry["seed"]))
    if options.kills:
        figures = _keep(figures, options, kills=kills.measure(options.kills))
        report.progress(str(figures["kills"]))
    good = [one["lost"] <= search_trials.LOSS and one["share"] <= search_trials.SHARE for one in figures.get("seeds", [])]  # fmt: skip
    return figures, all(good) and not figures.get("kills", {}).get("faults")


def _newest(figures: dict, options: argparse.Namespace) -> dict:
    return figures if options.dry else dict(REPORT.figures())


def _keep(figures: dict, options: argparse.Namespace, **measured: object) -> dict:
    environment = report.environment(("torch", "optuna"), "1 thread")
    figures = _newest(figures, options) | measured | {"environment": environment}
    if not options.dry:
        REPORT.save(figures)
    return figures
