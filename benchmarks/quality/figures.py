"""The last figures of every check: kept as JSON, shown in BENCHMARKS.md between two marks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks import report_page
from benchmarks.quality.checks import CHECKS, Check
from benchmarks.quality.measure import shown

FILE = Path(__file__).with_name("figures.json")
MARKS = report_page.marks("python -m benchmarks quality", "figures")
OTHERS = {
    "text-generation": ("loss", "perplexity", "accuracy"),
    "dialogue": ("perplexity", "accuracy"),
    "translation": ("bleu", "accuracy"),
    "image-classification": ("f1",),
    "text-classification": ("f1",),
}
MARK = {True: "yes", False: "**no**", None: ""}


def read(file: Path = FILE) -> dict[str, dict]:
    return json.loads(file.read_text("utf-8")) if file.exists() else {}


def keep(name: str, figures: Mapping, file: Path = FILE, page: Path = report_page.PAGE) -> None:
    """Put one check's figures in the place of its old ones, in the file and on the page."""
    known = read(file) | {name: dict(figures)}
    ordered = {one: known[one] for one in [*CHECKS, *known] if one in known}
    report_page.write(file, json.dumps(ordered, ensure_ascii=False, indent=1) + "\n")
    report_page.keep(page, section(ordered), MARKS)


def section(known: Mapping[str, Mapping]) -> str:
    """Tables of the checks, the recipes that differ from the defaults, and where they were measured."""
    present = {name: figures for name, figures in known.items() if name in CHECKS}
    lines = [
        "| check | network, data | result on the test split | goal | reached | baselines | whole run | training |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(CHECKS[name], figures) for name, figures in present.items()),
        "",
        *_recipes(present),
        *_places(present),
    ]
    return "\n".join(lines)


def _row(check: Check, figures: Mapping) -> str:
    result = figures["result"]
    others = [f"{name} {_short(check, name, result[name])}" for name in OTHERS[check.task] if name in result]
    value = f"**{check.measured().label} {shown(check, result[check.metric])}**"
    compared = [f"{name} {shown(check, one[check.metric])}" for name, one in figures["baselines"].items()]
    network = f"{check.architecture}, {figures['parameters'] / 1e6:.1f} M; {check.dataset}"
    cells = (
        f"`{check.name}`",
        network,
        ", ".join([value, *others]),
        figures["goal"],
        MARK[figures["reached"]],
        ", ".join(compared),
        f"{figures['wall_seconds']:.0f} s",
        f"{figures['training_seconds']:.0f} s, {figures['steps']} steps, {figures['precision']}",
    )
    return "| " + " | ".join(cells) + " |"


def _short(check: Check, name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name in ("accuracy", "f1") else f"{value:.1f}"


def _recipes(present: Mapping[str, Mapping]) -> list[str]:
    changed = {name: figures["settings"] for name, figures in present.items() if figures["settings"]}
    lines = [
        f"- `{name}`: " + ", ".join(f"{key} {value}" for key, value in one.items()) for name, one in changed.items()
    ]
    return (
        ["Settings that differ from the defaults (all others are those the Train page begins with):", "", *lines, ""]
        if lines
        else []
    )


def _places(present: Mapping[str, Mapping]) -> list[str]:
    """One line for each machine and set of versions."""
    places: dict[str, list[str]] = {}
    for name, one in present.items():
        versions = ", ".join(f"{package} {number}" for package, number in one["versions"].items())
        place = f"{one['processor']}, {one['threads']} threads; Python {one['python']}, {versions}; {one['date']}"
        places.setdefault(place, []).append(f"`{name}`")
    everything = len(places) == 1
    return [
        f"Measured on {place}" + ("." if everything else f": {', '.join(names)}.") for place, names in places.items()
    ]
