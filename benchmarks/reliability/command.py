"""`python -m benchmarks reliability`: breaks things on purpose and counts which promises did not hold."""

from __future__ import annotations

import argparse
import gc
import os
import platform
import tempfile
import time
import traceback
from importlib import import_module
from pathlib import Path

from benchmarks import report
from benchmarks.options import name_of
from benchmarks.reliability.report import PACKAGES, REPORT, is_broken, save
from benchmarks.reliability.row import FirstFailure, Outcome, Row, outcomes
from benchmarks.report import progress

MODULES = {
    1: "killed",
    2: "failing_disk",
    3: "full_disk",
    4: "damage",
    5: "stops",
    6: "servers:KILLED",
    7: "deaths",
    8: "not_finite",
    9: "short_memory",
    11: "servers:SEVERAL",
    13: "bad_input:FILES",
    14: "bad_input:NAMES",
    15: "hostile_models",
    16: "damaged_home",
    17: "isolated_models",
}
__all__ = ["REPORT", "add_options", "run"]
SHOWN = 12  # failures of a row that are printed


def add_options(parser: argparse.ArgumentParser) -> None:
    number = name_of("row", map(str, MODULES), int)
    parser.add_argument(
        "--row", type=number, action="append", default=[], metavar="N", help="only this row, as often as needed"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="so many of each row, instead of the usual number")
    parser.add_argument(
        "--without", action="store_true",
        help="also switch off, one by one, what keeps the promise, and see that the trials notice",
    )  # fmt: skip
    parser.add_argument(
        "--brief", action="store_true",
        help="as the tests run them: what is switched off is noticed at its first failure, and slowness breaks no promise",
    )  # fmt: skip


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    if not hasattr(os, "fork"):
        progress("benchmarks: The trials fork processes; this system cannot.")
        return {}, False
    os.environ["OMP_NUM_THREADS"] = "1"  # forked processes share no threads
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _load_libraries()
    with outcomes(timed=not options.brief):
        entries = {number: _carry_out(number, options) for number in options.row or MODULES}
    return entries, not any(map(is_broken, entries.values()))


def _load_libraries() -> None:
    """Once, in the process that all trials are forked from. It computes nothing, so that it has no threads."""
    import datasets
    import sacrebleu  # noqa: F401
    import sklearn.metrics  # noqa: F401
    import torch
    import transformers
    from transformers import GPT2LMHeadModel, MarianMTModel, PreTrainedTokenizerFast, ViTForImageClassification  # noqa: F401

    from bigmodel.core import catalog

    torch.set_num_threads(1)
    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    for architecture in catalog.architectures().values():
        architecture.register()
    gc.freeze()


def _carry_out(number: int, options: argparse.Namespace) -> dict:
    """The row's figures, printed and kept."""
    row = load_row(number)
    progress(f"row {number}: {row.injected} ...")
    outcome, seconds = run_row(row, row.trials if options.trials is None else options.trials)
    system = f"{platform.system()} {platform.release().split('-')[0]}"
    entry = {
        "injected": row.injected,
        "promise": row.promise,
        "trials": outcome.trials,
        "usual": "" if options.trials is None else str(row.trials * row.each or "all"),
        "failures": len(outcome.failures),
        "worst": outcome.worst,
        "seconds": round(seconds, 1),
        "note": outcome.note,
        "load": report.load(),
        "environment": report.environment(PACKAGES, machine=system),
    }
    count = f"{entry['trials']} trials, {entry['failures']} failures"
    progress(f"  {count}, {seconds:.0f} s; {outcome.worst}; {outcome.note}")
    for failure in outcome.failures[:SHOWN]:
        progress(f"    {failure[:600]}")
    if options.without:
        entry["without"] = {name: _switched_off(row, name, options.brief) for name in row.without}
    if not options.dry:
        save(number, entry)
    return entry


def _switched_off(row: Row, name: str, until_failure: bool) -> dict:
    """The trials again without what keeps the promise: they must fail."""
    with row.without[name](), outcomes(until_failure=until_failure):
        outcome, _seconds = run_row(row, row.fewer)
    failures = len(outcome.failures)
    progress(f"  without {name}: {failures} failures in {outcome.trials}: {'noticed' if failures else 'NOT NOTICED'}")
    return {"trials": outcome.trials, "failures": failures}


def load_row(number: int) -> Row:
    module, _colon, name = MODULES[number].partition(":")
    return getattr(import_module(f"benchmarks.reliability.{module}"), name or "ROW")


def run_row(row: Row, trials: int) -> tuple[Outcome, float]:
    """(outcome, seconds). A trial that cannot be carried out is a failure, not the end."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bigmodel-reliability-") as folder:
        try:
            outcome = row.run(trials, Path(folder))
        except FirstFailure as failure:
            outcome = Outcome(trials=trials, failures=[str(failure)])
        except Exception as error:
            traceback.print_exc()
            outcome = Outcome(trials=trials, failures=[f"{type(error).__name__}: {error}"])
    return outcome, time.monotonic() - started
