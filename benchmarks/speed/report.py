"""What was measured, as rows: medians, ratios, goals, where it was measured; kept as JSON, shown in BENCHMARKS.md."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from benchmarks import report_page
from benchmarks.speed.side import Missing
from bigmodel.core import cpu

FILE = Path(__file__).with_name("figures.json")
MARKS = report_page.marks("python -m benchmarks speed", "speed")
GOAL = re.compile(r"(>=|<=)\s*([\d.]+)")
MARK = {True: "yes", False: "**no**", None: ""}
PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "datasets",
    "tokenizers",
    "numpy",
    "keras",
    "tensorflow",
    "ctranslate2",
    "onnxruntime",
    "streamlit",
)


def compared(
    work: str,
    ours: list[dict] | Missing,
    peer: str,
    theirs: list[dict] | Missing,
    unit: str,
    goal: str,
    value: str = "rate",
    note: str = "",
    ratio: str = "speed",
) -> dict:
    """One row of the table, from what `alternate` gave back for both sides.

    `value`: the figure of each round that is compared. `ratio`: 'speed' says how many times as fast ours is,
    'time' what part of the peer's time it takes, both for a `value` that is a rate where it is named so and a
    time otherwise.
    """
    one = {"work": work, "ours": "bigmodel", "peer": peer, "unit": unit, "goal": goal, "note": note}
    for side, found in (("ours", ours), ("peer", theirs)):
        values = [] if isinstance(found, Missing) else [each[value] for each in found]
        one[f"{side}_value"] = median(values) if values else None
        one[f"{side}_rounds"] = values
        one[f"{side}_how"] = "" if isinstance(found, Missing) else how(found)
        if isinstance(found, Missing):
            one["note"] = "; ".join(filter(None, (str(found), note)))
    one["ratio"] = _ratio(one["ours_value"], one["peer_value"], value == "rate", ratio)
    return one | {"reached": reached(one)}


def alone(work: str, values: Sequence[float], unit: str, goal: str, note: str = "") -> dict:
    """A row without a peer: the goal is a bound for the value itself."""
    one = {"work": work, "ours": "bigmodel", "peer": "", "unit": unit, "goal": goal, "note": note}
    one |= {"ours_value": median(values), "ours_rounds": list(values), "peer_value": None, "ratio": None}
    return one | {"reached": _meets(one["ours_value"], goal)}


def how(found: Sequence[Mapping]) -> str:
    """Precision and threads, where the side says so."""
    last = found[-1] if found else {}
    parts = [str(last["precision"])] if "precision" in last else []
    parts += [f"{last['threads']} threads" if last["threads"] != 1 else "1 thread"] if "threads" in last else []
    return ", ".join(parts)


def reached(row: Mapping) -> bool | None:
    """What the row says itself, else whether its ratio meets its goal; None where there is nothing to compare."""
    if row.get("reached") is not None:
        return row["reached"]
    return _meets(row.get("ratio"), row.get("goal"))


def _meets(value: float | None, goal: object) -> bool | None:
    if value is None or goal in (None, ""):
        return None
    if isinstance(goal, int | float):
        return value >= goal
    found = GOAL.search(str(goal))
    if not found:
        return None
    bound = float(found[2])
    return value >= bound if found[1] == ">=" else value <= bound


def _ratio(ours: float | None, peer: float | None, is_rate: bool, ratio: str) -> float | None:
    if not ours or not peer:
        return None
    faster = ours / peer if is_rate else peer / ours
    return faster if ratio == "speed" else 1 / faster


# -- where ---------------------------------------------------------------------------------------------
def place(rounds: int, device: str = "cpu") -> dict:
    """The machine, with the GPU where that is what computes, the versions and the day."""
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {
        "processor": cpu.cpu_name() if device == "cpu" else f"{cpu.cpu_name()}, {_gpu()}",
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS", "as each side takes them"),
        "rounds": rounds,
        "python": platform.python_version(),
        "versions": versions,
        "date": datetime.now(UTC).date().isoformat(),
    }


def load() -> float | None:
    """Processes that wanted a processor over the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def _gpu() -> str:
    import torch

    return torch.cuda.get_device_name()


# -- kept and shown --------------------------------------------------------------------------------------
def read(file: Path = FILE) -> dict[str, dict]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def keep(name: str, figures: Mapping, order: Sequence[str], file: Path = FILE, page: Path = report_page.PAGE) -> None:
    """Put one comparison's figures in the place of its old ones, in the file and on the page."""
    known = read(file) | {name: dict(figures)}
    ordered = {one: known[one] for one in [*order, *known] if one in known}
    report_page.write(file, json.dumps(ordered, ensure_ascii=False, indent=1) + "\n")
    report_page.keep(page, section(ordered), MARKS)


def section(known: Mapping[str, Mapping]) -> str:
    lines = [
        "| comparison | work | ours | peer | ratio | goal | reached |",
        "|---|---|---|---|---|---|---|",
        *(_line(name, row) for name, figures in known.items() for row in figures["rows"]),
        "",
        *_notes(known),
        *_places(known),
    ]
    return "\n".join(lines)


def _line(name: str, row: Mapping) -> str:
    cells = (
        f"`{name}`",
        row["work"],
        _side(row, "ours"),
        _side(row, "peer"),
        f"**{row['ratio']:.2f}**" if row.get("ratio") is not None else "",
        _goal(row.get("goal")),
        MARK[reached(row)],
    )
    return "| " + " | ".join(str(cell).replace("|", "/").replace("\n", " ") for cell in cells) + " |"


def _goal(goal: object) -> str:
    return f">= {goal:g}" if isinstance(goal, int | float) else str(goal or "")


def _side(row: Mapping, side: str) -> str:
    """'HF Trainer: 2,910 tokens/s (fp32, 2 threads)'."""
    value = row.get(f"{side}_value")
    named = row[side] if row[side] != "bigmodel" else ""
    told = "not measured" if value is None else f"{number(value)} {row['unit']}"
    if side == "peer" and not row["peer"]:
        return ""
    how_so = f" ({row[f'{side}_how']})" if row.get(f"{side}_how") else ""
    return (f"{named}: " if named else "") + told + how_so


def number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _notes(known: Mapping[str, Mapping]) -> list[str]:
    notes = [
        f"- `{name}`, {row['work']}{', ' + row['peer'] if row['peer'] else ''}: {row['note']}"
        for name, figures in known.items()
        for row in figures["rows"]
        if row.get("note")
    ]
    return [*notes, ""] if notes else []


def _places(known: Mapping[str, Mapping]) -> list[str]:
    """One line for each machine, set of versions and day, with the load around each comparison."""
    places: dict[str, list[str]] = {}
    for name, figures in known.items():
        where = figures["place"]
        versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
        told = (
            f"{where['processor']}, {where['cores']} cores, OMP_NUM_THREADS {where['threads']}, "
            f"{where['rounds']} rounds; Python {where['python']}, {versions}; {where['date']}"
        )
        before, after = figures["load"]
        places.setdefault(told, []).append(f"`{name}` {before} -> {after} ({figures['seconds']:.0f} s)")
    return [
        f"Measured on {told}. Load before -> after, and time taken: {', '.join(names)}."
        for told, names in places.items()
    ]
