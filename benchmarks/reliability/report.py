"""The page RELIABILITY.md: a line a row, what was switched off to see that the trials notice, notes."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import report
from benchmarks.report import Headline, Report

PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "streamlit")


def is_broken(entry: Mapping) -> bool:
    """Whether the promise did not hold, or the trials do not notice when it cannot."""
    return bool(entry["failures"]) or any(not other["failures"] for other in entry.get("without", {}).values())


def save(number: int, entry: Mapping, to: Report | None = None) -> None:
    """Replace a row; what was switched off before stays where it was not tried again."""
    to = to or REPORT
    entries = to.figures()
    old = entries.get(str(number), {})
    kept = {"without": old["without"]} if "without" in old and "without" not in entry else {}
    to.save_entry(str(number), {**entry, **kept}, sorted({*entries, str(number)}, key=int))


def render(entries: Mapping[str, Mapping]) -> str:
    head = ("row", "what is made to go wrong", "what must hold", "trials", "failures", "worst", "seconds")
    without = [
        (number, name, trial["trials"], trial["failures"])
        for number, entry in entries.items()
        for name, trial in entry.get("without", {}).items()
    ]
    lines = [
        *report.table(head, (_cells(number, entry) for number, entry in entries.items())),
        "",
        "## The trials notice when it does not hold",
        "",
        *report.table(("row", "switched off", "trials", "failures"), without),
        "",
        "## Notes",
        "",
        *(f"- Row {number}: {entry['note']}." for number, entry in entries.items() if entry["note"]),
        "",
        *report.measured_on((f"row {number}", entry["environment"]) for number, entry in entries.items()),
    ]
    return "\n".join(lines)


def _cells(number: str, entry: Mapping) -> tuple:
    usual = entry.get("usual", "")
    fewer = bool(usual) and (usual == "all" or entry["trials"] < int(usual))
    trials = f"{entry['trials']} of {usual}" if fewer else entry["trials"]
    failures = f"**{entry['failures']}**" if entry["failures"] else "0"
    seconds = f"{entry['seconds']:.0f} at load {entry['load']:.0f}"
    return (number, entry["injected"], entry["promise"], trials, failures, entry["worst"], seconds)


def headlines(entries: Mapping[str, Mapping]) -> list[Headline]:
    trials, failures = (sum(entry[key] for entry in entries.values()) for key in ("trials", "failures"))
    what = f"promises broken in {trials:,} trials of {len(entries)} ways to go wrong"
    return [Headline(what, str(failures), "0", "reliability --without")]


REPORT = Report("reliability", report.ROOT / "RELIABILITY.md", render, headlines)
