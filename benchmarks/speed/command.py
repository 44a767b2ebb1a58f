"""`python -m benchmarks speed`: measures ours and the peers side by side, and keeps the figures in BENCHMARKS.md."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import time
from collections.abc import Mapping, Sequence
from importlib import import_module

from benchmarks.speed import report
from benchmarks.speed.side import Failed, Missing
from bigmodel.core.errors import Refusal

# name -> where the function is that gets the number of rounds (and the device) and gives back rows
COMPARISONS: Mapping[str, str] = {
    "gpt": "benchmarks.speed.language_model:gpt",
    "char-gpt": "benchmarks.speed.language_model:char_gpt",
    "lstm": "benchmarks.speed.lstm:lstm",
    "translator": "benchmarks.speed.encoder_decoder:translator",
    "vit": "benchmarks.speed.images:vit",
    "resnet": "benchmarks.speed.images:resnet",
    "text-generation": "benchmarks.speed.inference:text_generation",
    "translation": "benchmarks.speed.inference:translation",
    "classification": "benchmarks.speed.inference:classification",
    "data": "benchmarks.speed.data:data",
    "importing": "benchmarks.speed.importing:importing",
    "dashboard": "benchmarks.speed.dashboard:dashboard",
    "growth": "benchmarks.speed.growth:growth",
    "gpt2": "benchmarks.speed.gpu:gpt2",
    "gpt2-writing": "benchmarks.speed.gpu:gpt2_writing",
}
ON_CUDA_ONLY = ("gpt2", "gpt2-writing")


def main(argv: Sequence[str] | None = None) -> int:
    """0: every goal was reached. 1: one was not, or could not be measured. 2: wrong usage. 130: Ctrl-C."""
    parser = _parser()
    asked = parser.parse_args(argv)
    for name in asked.names:
        if name not in COMPARISONS:
            parser.error(f"There is no comparison named {name}. Choose from: {', '.join(COMPARISONS)}.")
        if name in ON_CUDA_ONLY and asked.device == "cpu":
            parser.error(f"{name} wants a GPU: add --device cuda.")
    names = asked.names or [name for name in COMPARISONS if name not in ON_CUDA_ONLY or asked.device == "cuda"]
    if asked.device == "cuda" and not _has_cuda():
        print("bigmodel: This machine has no cuda device.", file=sys.stderr)
        return 1
    try:
        found = {name: _carry_out(name, asked) for name in names}
    except KeyboardInterrupt:
        return 130
    if asked.json:
        print(json.dumps(found, ensure_ascii=False, indent=1))
    rows = [row for figures in found.values() for row in (figures or {"rows": [{"failed": True}]})["rows"]]
    return 1 if any("failed" in row or report.reached(row) is False or _unmeasured(row) for row in rows) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks speed",
        description="Measure ours and what people would pick instead, side by side in one process tree (A B A B, "
        "medians), and write the figures to BENCHMARKS.md. Wants a machine that does nothing else.",
        epilog="Set OMP_NUM_THREADS to give every side the same number of threads; else each takes what it takes.",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of: {', '.join(COMPARISONS)}")
    parser.add_argument("--rounds", type=_positive, default=5, help="turns of each side (%(default)s)")
    parser.add_argument("--json", action="store_true", help="write the rows to stdout as JSON")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the trainings (%(default)s)")
    parser.add_argument("--dry", action="store_true", help="leave BENCHMARKS.md as it is")
    return parser


def _carry_out(name: str, asked: argparse.Namespace) -> dict | None:
    """The figures of one comparison, said and kept; None when it failed."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    before, begun = report.load(), time.monotonic()
    try:
        rows = _function(name)(**_wanted(name, asked))
    except (Failed, Refusal, Missing) as failure:
        print(f"{name}: {failure}", file=sys.stderr, flush=True)
        return None
    figures = {
        "rows": rows,
        "place": report.place(asked.rounds, asked.device),
        "load": [before, report.load()],
        "seconds": round(time.monotonic() - begun, 1),
    }
    for row in rows:
        print("  " + said(row), file=sys.stderr, flush=True)
    if not asked.dry:
        shown = name if asked.device == "cpu" else f"{name}, {asked.device}"
        report.keep(shown, figures, list(COMPARISONS))
    return figures


def said(row: Mapping) -> str:
    ratio = f": {row['ratio']:.2f}" if row.get("ratio") is not None else ""
    peer = report._side(row, "peer")
    verdict = {True: "reached", False: "NOT reached", None: ""}[report.reached(row)]
    goal = f" (goal {report._goal(row['goal'])} {verdict})" if row.get("goal") else ""
    note = f" - {row['note']}" if row.get("note") else ""
    return f"{row['work']}: {report._side(row, 'ours')}" + (f" | {peer}" if peer else "") + ratio + goal + note


def _function(name: str):
    module, _, function = COMPARISONS[name].partition(":")
    return getattr(import_module(module), function)


def _wanted(name: str, asked: argparse.Namespace) -> dict:
    """Rounds, and the device where the function cares."""
    takes = inspect.signature(_function(name)).parameters
    return {"rounds": asked.rounds} | ({"device": asked.device} if "device" in takes else {})


def _unmeasured(row: Mapping) -> bool:
    return bool(row["peer"]) and row.get("peer_value") is None


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
