"""Rows of a comparison (medians, ratios, goals), and the page docs/benchmarks/speed.md that shows them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from statistics import median

from benchmarks import report
from benchmarks.report import MARK, Headline, Report
from benchmarks.speed.side import Missing

GOAL = re.compile(r"(>=|<=)\s*([\d.]+)")
# comparison -> its row on top of BENCHMARKS.md
HEADLINES = {
    "gpt": 0, "char-gpt": 1, "lstm": 0, "translator": 0, "vit": 0, "text-generation": 0, "translation": 0, "data": 1,
    "dashboard": 2,
}  # fmt: skip


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
    """A row from what `alternate` returned for both sides.

    `value`: the figure of each round that is compared. `ratio`: 'speed' is how many times as fast ours is, 'time' which
    part of the peer's time it takes, both for a `value` that is a rate where it is named so and a time otherwise.
    """
    row = {"work": work, "ours": "bigmodel", "peer": peer, "unit": unit, "goal": goal, "note": note}
    for side, rounds in (("ours", ours), ("peer", theirs)):
        missing = isinstance(rounds, Missing)
        values = [] if missing else [measured[value] for measured in rounds]
        row[f"{side}_value"] = median(values) if values else None
        row[f"{side}_rounds"] = values
        row[f"{side}_how"] = "" if missing else how(rounds)
        if missing:
            row["note"] = "; ".join(filter(None, (str(rounds), note)))
    row["ratio"] = _ratio(row["ours_value"], row["peer_value"], value == "rate", ratio)
    return row | {"reached": reached(row)}


def alone(work: str, values: Sequence[float], unit: str, goal: str, note: str = "") -> dict:
    """A row without a peer: the goal bounds the value itself."""
    row = {"work": work, "ours": "bigmodel", "peer": "", "unit": unit, "goal": goal, "note": note}
    row |= {"ours_value": median(values), "ours_rounds": list(values), "peer_value": None, "ratio": None}
    return row | {"reached": _meets(row["ours_value"], goal)}


def how(rounds: Sequence[Mapping]) -> str:
    """Precision and threads, where the side reports them."""
    last = rounds[-1] if rounds else {}
    parts = [str(last["precision"])] if "precision" in last else []
    parts += [f"{last['threads']} threads" if last["threads"] != 1 else "1 thread"] if "threads" in last else []
    return ", ".join(parts)


def reached(row: Mapping) -> bool | None:
    """What the row states itself, else whether its ratio meets its goal; None where there is nothing to compare."""
    if row.get("reached") is not None:
        return row["reached"]
    return _meets(row.get("ratio"), row.get("goal"))


def _meets(value: float | None, goal: object) -> bool | None:
    if value is None or goal in (None, ""):
        return None
    if isinstance(goal, int | float):
        return value >= goal
    match = GOAL.search(str(goal))
    if not match:
        return None
    bound = float(match[2])
    return value >= bound if match[1] == ">=" else value <= bound


def _ratio(ours: float | None, peer: float | None, is_rate: bool, ratio: str) -> float | None:
    if not ours or not peer:
        return None
    faster = ours / peer if is_rate else peer / ours
    return faster if ratio == "speed" else 1 / faster


# -- the page --------------------------------------------------------------------------------------------
def render(comparisons: Mapping[str, Mapping]) -> str:
    rows = [(name, row) for name, entry in comparisons.items() for row in entry["rows"]]
    head = ("comparison", "work", "ours", "peer", "ratio", "goal", "reached")
    notes = [
        f"- `{name}`, {row['work']}{', ' + row['peer'] if row['peer'] else ''}: {row['note']}"
        for name, row in rows
        if row.get("note")
    ]
    loads = [
        (f"`{name}` (load {entry['load'][0]} -> {entry['load'][1]}, {entry['seconds']:.0f} s)", entry["environment"])
        for name, entry in comparisons.items()
    ]
    lines = [*report.table(head, (_cells(name, row) for name, row in rows)), "", *notes, *([""] if notes else [])]
    return "\n".join([*lines, *report.measured_on(loads)])


def _cells(name: str, row: Mapping) -> tuple:
    ratio = f"**{row['ratio']:.2f}**" if row.get("ratio") is not None else ""
    sides = (side_text(row, "ours"), side_text(row, "peer"))
    return (f"`{name}`", row["work"], *sides, ratio, goal_text(row.get("goal")), MARK[reached(row)])


def goal_text(goal: object) -> str:
    return f">= {goal:g}" if isinstance(goal, int | float) else str(goal or "")


def side_text(row: Mapping, side: str) -> str:
    """'HF Trainer: 2,910 tokens/s (fp32, 2 threads)'."""
    if side == "peer" and not row["peer"]:
        return ""
    value = row.get(f"{side}_value")
    name = f"{row[side]}: " if row[side] != "bigmodel" else ""
    measured = "not measured" if value is None else f"{number(value)} {row['unit']}"
    return name + measured + (f" ({row[f'{side}_how']})" if row.get(f"{side}_how") else "")


def number(value: float) -> str:
    """Three significant digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def headlines(comparisons: Mapping[str, Mapping]) -> list[Headline]:
    goals = [reached(row) for entry in comparisons.values() for row in entry["rows"]]
    share = f"{goals.count(True)} of {len(goals) - goals.count(None)} goals"
    rows = [(name, comparisons[name]["rows"][index]) for name, index in HEADLINES.items() if name in comparisons]
    return [
        Headline("all comparisons of speed", share, "all", "speed"),
        *(
            Headline(f"{row['work']}, beside {row['peer']}", _factor(row), goal_text(row["goal"]), f"speed {name}")
            for name, row in rows
        ),
    ]


def _factor(row: Mapping) -> str:
    if row["ratio"] is None:
        return "not measured"
    return f"{row['ratio']:.2f} of the time" if row["goal"].startswith("<=") else f"{row['ratio']:.2f} times as fast"


REPORT = Report("speed", report.ROOT / "docs" / "benchmarks" / "speed.md", render, headlines)
