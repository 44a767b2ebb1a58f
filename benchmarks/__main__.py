"""`python -m benchmarks SUITE ...`: measures, keeps the figures as JSON and writes them into their page."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import ModuleType

from benchmarks import report
from bigmodel.core.errors import Refusal

# suite -> (its module, what it does). A module has `add_options(parser)`, `run(options)` and `REPORT`
SUITES: Mapping[str, tuple[str, str]] = {
    "speed": ("speed.command", "ours beside what people would pick instead, in turns (A B A B), medians"),
    "quality": ("quality.command", "train the named checks and measure them on the test split beside baselines"),
    "defaults": (
        "quality.default_trials",
        "the defaults on eight data sets that do not come along, beside simple baselines",
    ),
    "doctor": ("quality.doctor_trials", "how often the doctor is right on trainings with and without known faults"),
    "data-faults": ("quality.data_fault_trials", "how many faults planted into real rows the data checks name"),
    "export": (
        "quality.export_trials",
        "rows answered by plain transformers, without bigmodel, beside the answers here",
    ),
    "forecasts": ("quality.forecast_trials", "thirty forecasts of time and memory beside what came"),
    "comparisons": ("quality.comparison_trials", "how often two equally good models are called different"),
    "tuning": ("tuning.command", "a pruned search beside the full grid, and a study whose server is killed"),
    "reliability": ("reliability.command", "kill, damage, fill up and starve; count which promises did not hold"),
}
MET, MISSED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str]) -> int:
    """0: every goal was met. 1: one was missed or not measured. 2: wrong usage. 130: Ctrl-C."""
    options = _parser(arguments).parse_args(arguments)
    try:
        figures, met = options.run(options)
    except Refusal as refusal:
        report.progress(f"benchmarks: {refusal}")
        return USAGE
    except KeyboardInterrupt:
        return INTERRUPTED
    finally:
        if not options.dry:
            _write_overview()
    if options.json:
        print(json.dumps(figures, ensure_ascii=False, indent=1))
    return MET if met else MISSED


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """Only the suite that is asked for is imported: some load numpy, which starts threads before any limit is set."""
    parser = argparse.ArgumentParser("python -m benchmarks", description=__doc__.split(": ")[1], allow_abbrev=False)
    suites = parser.add_subparsers(required=True, metavar="SUITE", dest="suite")
    for name, (_module, about) in SUITES.items():
        suite = _add(suites, name, about, lambda options: suite_module(options.suite).run(options))
        suite.add_argument("--dry", action="store_true", help="leave the kept figures and the pages as they are")
        suite.add_argument("--json", action="store_true", help="write the figures to stdout as JSON")
        if name in arguments[:1]:
            suite_module(name).add_options(suite)
    pages = _add(suites, "pages", "write all pages anew from the kept figures; measures nothing", _write_pages)
    pages.set_defaults(dry=False, json=False)
    return parser


def _add(suites, name: str, about: str, run: Callable) -> argparse.ArgumentParser:
    suite = suites.add_parser(name, help=about, description=about, allow_abbrev=False)
    suite.set_defaults(run=run)
    return suite


def suite_module(name: str) -> ModuleType:
    return import_module(f"benchmarks.{SUITES[name][0]}")


def reports() -> list[report.Report]:
    return [suite_module(name).REPORT for name in SUITES]


def _write_overview() -> None:
    report.write_atomic(report.OVERVIEW, report.overview(reports()))


def _write_pages(_options: argparse.Namespace) -> tuple[dict, bool]:
    for one in reports():
        report.write_atomic(one.page, one.updated_page())
    return {}, True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
