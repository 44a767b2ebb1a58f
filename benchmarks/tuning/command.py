"""`python -m benchmarks tuning`: a pruned search beside the full grid, and a study whose server is killed."""

from __future__ import annotations

import argparse
import statistics
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
    parser.add_argument("--seeds", type=int, default=SEEDS, help="searches and grids (%(default)s)")
    parser.add_argument("--kills", type=int, default=KILLS, help="of the process that works on a study (%(default)s)")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    figures: dict = dict(REPORT.figures())
    with tempfile.TemporaryDirectory() as cache:
        seeds = []
        for seed in range(options.seeds):
            seeds.append(search_trials.measure(seed, Path(cache)))
            one = seeds[-1]
            report.progress(f"seed {seed}: grid {one['grid']}, search {one['pruned']}, lost {one['lost']:.4f}, share {one['share']:.3f}, {one['seconds']:.0f} s")  # fmt: skip
            figures |= {"seeds": seeds, "environment": report.environment(("torch", "optuna"), "1 thread")}
            if not options.dry:
                REPORT.save(figures)  # each seed takes minutes
    if options.kills:
        figures["kills"] = kills.measure(options.kills)
        figures["environment"] = report.environment(("torch", "optuna"), "1 thread")
        report.progress(str(figures["kills"]))
        if not options.dry:
            REPORT.save(figures)
    good = [one["lost"] <= search_trials.LOSS and one["share"] <= search_trials.SHARE * 1.02 for one in figures.get("seeds", [])]  # fmt: skip
    if good:
        report.progress(f"{sum(good)} of {len(good)} seeds; mean loss {statistics.fmean(one['lost'] for one in figures['seeds']):.4f}")  # fmt: skip
    return figures, all(good) and not figures.get("kills", {}).get("faults")
