"""`python -m benchmarks speed`: measures ours and the peers side by side."""

from __future__ import annotations

import argparse
import inspect
import os
import time
from collections.abc import Callable, Mapping
from importlib import import_module

from benchmarks import report
from benchmarks.options import name_of
from benchmarks.report import progress
from benchmarks.speed.report import REPORT, goal_text, reached, side_text
from benchmarks.speed.side import Failed, Missing
from bigmodel.core.errors import Refusal

# name -> the function that takes the number of rounds (and the device) and returns rows
COMPARISONS: Mapping[str, str] = {
    "gpt": "language_model:gpt",
    "char-gpt": "language_model:char_gpt",
    "lstm": "lstm:lstm",
    "translator": "encoder_decoder:translator",
    "vit": "images:vit",
    "resnet": "images:resnet",
    "text-generation": "inference:text_generation",
    "translation": "inference:translation",
    "classification": "inference:classification",
    "data": "data:data",
    "importing": "importing:importing",
    "dashboard": "dashboard:dashboard",
    "growth": "growth:growth",
    "gpt2": "gpu:gpt2",
    "gpt2-writing": "gpu:gpt2_writing",
}
ON_CUDA_ONLY = ("gpt2", "gpt2-writing")
PACKAGES = (
    "torch", "transformers", "accelerate", "datasets", "tokenizers", "numpy", "keras", "tensorflow", "ctranslate2",
    "onnxruntime", "streamlit",
)  # fmt: skip


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.epilog = "Wants an idle machine. OMP_NUM_THREADS gives every side the same number of threads."
    parser.add_argument("names", nargs="*", metavar="NAME", type=name_of("comparison", COMPARISONS))
    parser.add_argument("--rounds", type=_positive, default=5, help="turns of each side (%(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="of the trainings (%(default)s)")


def run(options: argparse.Namespace) -> tuple[dict, bool]:
    cuda = options.device == "cuda"
    if not cuda and (gpu_only := [name for name in options.names if name in ON_CUDA_ONLY]):
        raise Refusal(f"{gpu_only[0]} wants a GPU: add --device cuda.")
    if cuda and not _has_cuda():
        progress("benchmarks: This machine has no cuda device.")
        return {}, False
    names = options.names or [name for name in COMPARISONS if cuda or name not in ON_CUDA_ONLY]
    entries = {name: _measure(name, options) for name in names}
    return entries, all(entry and all(map(_is_met, entry["rows"])) for entry in entries.values())


def _measure(name: str, options: argparse.Namespace) -> dict | None:
    """The figures of one comparison, printed and kept; None when it failed."""
    progress(f"{name} ...")
    load_before, started = report.load(), time.monotonic()
    try:
        rows = comparison(name)(**arguments(name, options))
    except (Failed, Refusal, Missing) as failure:
        progress(f"{name}: {failure}")
        return None
    threads = os.environ.get("OMP_NUM_THREADS", "as each side takes them")
    gpu = f"{_gpu_name()}, " if options.device == "cuda" else ""
    entry = {
        "rows": rows,
        "environment": report.environment(PACKAGES, f"{gpu}OMP_NUM_THREADS {threads}, {options.rounds} rounds"),
        "load": [load_before, report.load()],
        "seconds": round(time.monotonic() - started, 1),
    }
    for row in rows:
        progress("  " + summary(row))
    if not options.dry:
        REPORT.save_entry(name if options.device == "cpu" else f"{name}, {options.device}", entry, COMPARISONS)
    return entry


def summary(row: Mapping) -> str:
    ratio = f": {row['ratio']:.2f}" if row.get("ratio") is not None else ""
    peer = side_text(row, "peer")
    verdict = {True: "reached", False: "NOT reached", None: ""}[reached(row)]
    goal = f" (goal {goal_text(row['goal'])} {verdict})" if row.get("goal") else ""
    note = f" - {row['note']}" if row.get("note") else ""
    return f"{row['work']}: {side_text(row, 'ours')}" + (f" | {peer}" if peer else "") + ratio + goal + note


def comparison(name: str) -> Callable[..., list[dict]]:
    module, _, function = COMPARISONS[name].partition(":")
    return getattr(import_module(f"benchmarks.speed.{module}"), function)


def arguments(name: str, options: argparse.Namespace) -> dict:
    """Rounds, and the device where the comparison takes one."""
    takes = inspect.signature(comparison(name)).parameters
    return {"rounds": options.rounds} | ({"device": options.device} if "device" in takes else {})


def _is_met(row: Mapping) -> bool:
    unmeasured = bool(row["peer"]) and row.get("peer_value") is None
    return reached(row) is not False and not unmeasured


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)
