"""`python -m benchmarks reliability`: breaks things on purpose, counts what does not hold, and keeps the figures."""

from __future__ import annotations

import argparse
import gc
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.reliability import page
from benchmarks.reliability.row import Found, Row

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
}
SHOWN = 12  # failures of a row that are written out


def main(argv: Sequence[str] | None = None) -> int:
    """0: every promise held. 1: one did not, or a trial cannot tell. 2: wrong usage. 130: Ctrl-C."""
    parser = _parser()
    asked = parser.parse_args(argv)
    for number in asked.row:
        if number not in MODULES:
            parser.error(f"There is no row {number}. Choose from: {', '.join(map(str, MODULES))}.")
    if not hasattr(os, "fork"):
        print("bigmodel: The trials fork processes; this system cannot.", file=sys.stderr)
        return 1
    os.environ["OMP_NUM_THREADS"] = "1"  # forked processes share no threads
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        _load()
        found = [figures for number in asked.row or MODULES for figures in _carry_out(number, asked)]
    except KeyboardInterrupt:
        return 130
    if asked.json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    return 1 if any(page.broken(figures) for figures in found) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks reliability",
        description="Kill, damage, fill up and starve, many times, and count which promises did not hold.",
    )
    parser.add_argument(
        "--row", type=int, action="append", default=[], metavar="N", help="only this row, as often as needed"
    )
    parser.add_argument("--trials", type=int, metavar="N", help="so many of each row, instead of the usual number")
    parser.add_argument("--write", action="store_true", help="keep the figures and write RELIABILITY.md")
    parser.add_argument("--json", action="store_true", help="write the figures to stdout as JSON")
    parser.add_argument(
        "--without", action="store_true",
        help="also switch off, one by one, what keeps the promise, and see that the trials notice",
    )  # fmt: skip
    return parser


def _load() -> None:
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


def _carry_out(number: int, asked: argparse.Namespace) -> list[dict]:
    """The row's figures, said and kept."""
    row: Row = _row(number)
    print(f"row {number}: {row.injected} ...", file=sys.stderr, flush=True)
    found, seconds = _tried(row, row.trials if asked.trials is None else asked.trials)
    figures = {
        "row": number,
        "injected": row.injected,
        "promise": row.promise,
        "trials": found.trials,
        "usual": "" if asked.trials is None else str(row.trials * row.each or "all"),
        "failures": len(found.failures),
        "worst": found.worst,
        "seconds": round(seconds, 1),
        "note": found.note,
    } | page.here()
    print(f"  {said(figures)}", file=sys.stderr, flush=True)
    _list(found)
    if asked.write:
        page.keep(figures)
    if asked.without:
        figures["without"] = {}
        for name, switched_off in row.without.items():
            with switched_off():
                found, _seconds = _tried(row, row.fewer)
            figures["without"][name] = {"trials": found.trials, "failures": len(found.failures)}
            seen = "noticed" if found.failures else "NOT NOTICED"
            print(
                f"  without {name}: {len(found.failures)} failures in {found.trials}: {seen}",
                file=sys.stderr,
                flush=True,
            )
        if asked.write:
            page.keep(figures)
    return [figures]


def _row(number: int) -> Row:
    module, _colon, name = MODULES[number].partition(":")
    return getattr(import_module(f"benchmarks.reliability.{module}"), name or "ROW")


def _tried(row: Row, trials: int) -> tuple[Found, float]:
    """A trial that cannot be carried out is a failure, not the end."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bigmodel-torture-") as place:
        try:
            found = row.run(trials, Path(place))
        except Exception as error:
            traceback.print_exc()
            found = Found(trials=trials, failures=[f"{type(error).__name__}: {error}"])
    return found, time.monotonic() - begun


def said(figures: dict) -> str:
    return (
        f"{figures['trials']} trials, {figures['failures']} failures, {figures['seconds']:.0f} s; "
        f"{figures['worst']}; {figures['note']}"
    )


def _list(found: Found) -> None:
    for words in found.failures[:SHOWN]:
        print(f"    {words[:600]}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
