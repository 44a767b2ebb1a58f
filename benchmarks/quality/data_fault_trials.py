"""How many faults the data checks name: one kind at a time is planted into real rows, looked for and counted."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks import report
from benchmarks.report import Headline, Report, progress
from bigmodel.core import catalog
from bigmodel.core.contracts import Column, Dataset
from bigmodel.data_checks.run_checks import CheckReport, run_checks
from tests.corpus.data_faults import FAULTS, Fault, FaultyDataset, Injector, load_rows

# Thresholds were chosen on the first sets and are judged on the second, where nobody had looked.
SETS = {
    "tuning": (1, ("poetry_zh", "en_de", "digits", "dialogue_en")),
    "report": (24000, ("prose_zh", "classics_en", "en_zh", "fashion_mnist", "dialogue_zh")),
}
GOALS = {"found": 0.95, "wrongly": 0.01}
PACKAGES = ("numpy", "scipy", "pillow", "py3langid")


@dataclass(frozen=True)
class Count:
    """One kind of fault in one data set."""

    fault: str
    dataset: str
    planted: int
    found: int
    clean: int
    wrongly: int  # clean rows that were named
    before: int  # rows that were named before anything was planted
    really: int = 0  # untouched rows that are named and have the fault indeed: not clean

    @property
    def met(self) -> bool:
        return self.found >= GOALS["found"] * self.planted and self.wrongly <= GOALS["wrongly"] * self.clean


def count(fault: Fault, name: str, seed: int) -> Count | None:
    """Plant, check, count. None where the data cannot have this fault."""
    rows, columns = load_rows(name)
    if not _suits(fault, columns):
        return None
    dataset = catalog.dataset(name)
    injector = Injector(dataset, rows, columns, np.random.default_rng([seed, *fault.inject.__name__.encode()]))
    before, _like = _named_rows(fault, dataset, list(rows), dict(columns))
    fault.inject(injector)
    if not injector.injected:
        return None
    named, like = _named_rows(fault, dataset, injector.rows, injector.columns)
    faulty = {row for rows_of_one in injector.injected for row in rows_of_one}
    hits = sum(bool(named & set(rows_of_one)) for rows_of_one in injector.injected)
    confirmed = {
        row
        for row in named - faulty
        if fault.is_fault and row in like and fault.is_fault(injector.rows[row], injector.rows[like[row]])
    }
    clean, wrongly = len(injector.rows) - len(faulty | confirmed), len(named - faulty - confirmed)
    return Count(fault.title, name, len(injector.injected), hits, clean, wrongly, len(before), len(confirmed))


def _suits(fault: Fault, columns: Mapping[str, Column]) -> bool:
    texts, label = bool({"text", "source", "messages"} & set(columns)), "label" in columns
    return {"texts": texts, "label": texts and label, "image": "image" in columns, "class": label}[fault.needs]


def _named_rows(
    fault: Fault, dataset: Dataset, rows: list[dict], columns: Mapping[str, Column]
) -> tuple[set[int], dict[int, int]]:
    """(indices of the rows that the check names, of some of them the index of the row they are like)."""
    with tempfile.TemporaryDirectory() as folder:
        planted = FaultyDataset(dataset, rows, Path(folder), columns)
        *_progress, result = (
            part for part in run_checks(planted, only=(fault.check,)) if isinstance(part, CheckReport)
        )
    named = {row - 1 for finding in result.findings for row in finding.rows}  # rows are counted from 1
    return named, {row - 1: other - 1 for finding in result.findings for row, other in finding.like.items()}


# -- the page ---------------------------------------------------------------------------------------------
def render(found: Mapping) -> str:
    counts = [Count(**count) for count in found["counts"]]
    head = (
        "fault", "data", "planted", "found", "clean rows named", "named before planting", "of the rest, alike indeed",
    )  # fmt: skip
    lines = report.table(head, map(_cells, sorted(counts, key=lambda count: _titles(counts).index(count.fault))))
    return "\n".join([*lines, "", f"{report.describe(found['environment'])}."])


def _titles(counts: Sequence[Count]) -> list[str]:
    return list(dict.fromkeys(count.fault for count in counts))


def _cells(count: Count) -> tuple:
    hits = _share(count.found, count.planted, GOALS["found"], True)
    false = _share(count.wrongly, count.clean, GOALS["wrongly"], False)
    return (count.fault, count.dataset, count.planted, hits, false, count.before, count.really or "")


def _share(part: int, whole: int, goal: float, is_minimum: bool) -> str:
    share = part / max(whole, 1)
    text = f"{100 * share:.1f} %" if share else "0"
    return text if (share >= goal if is_minimum else share <= goal) else f"**{text}**"


def headlines(found: Mapping) -> list[Headline]:
    counts = [Count(**count) for count in found["counts"]]
    goals = f"{GOALS['found']:.0%} found, {GOALS['wrongly']:.0%} of the clean rows named"
    return [
        Headline(
            f"faults planted into data, {len(_titles(counts))} kinds, that both goals are met for",
            f"{sum(count.met for count in counts)} of {len(counts)}", goals, "data-faults",
        )
    ]  # fmt: skip


REPORT = Report("data-faults", report.ROOT / "docs" / "benchmarks" / "data-faults.md", render, headlines)


# -- the command --------------------------------------------------------------------------------------------
def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", choices=SETS, default="report", help="which data sets and seed (%(default)s)")
    parser.add_argument("--data", action="append", help="only this data set; implies --dry")
    parser.add_argument("--only", action="append", choices=FAULTS, help="only this fault; implies --dry")
    parser.add_argument("--seed", type=int, help="another seed than the set's own; implies --dry")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    seed, names = SETS[options.set]
    seed = seed if options.seed is None else options.seed
    counts = []
    for name in options.only or FAULTS:
        for dataset in options.data or names:
            if result := count(FAULTS[name], dataset, seed):
                counts.append(result)
                progress("  ".join(map(str, _cells(result))))
    found = {"counts": [asdict(result) for result in counts], "environment": report.environment(PACKAGES)}
    if options.set == "report" and not (options.dry or options.only or options.data or options.seed is not None):
        REPORT.save(found)
    progress(f"{sum(result.met for result in counts)} of {len(counts)} meet both goals")
    return found, all(result.met for result in counts)
