"""The figures of every row: kept as JSON, and RELIABILITY.md made from them."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benchmarks import report_page

FILE = Path(__file__).with_name("figures.json")
PAGE = Path(__file__).resolve().parents[2] / "RELIABILITY.md"
PACKAGES = ("torch", "transformers", "safetensors", "tokenizers", "streamlit")
HEAD = """# What holds when things go wrong

Written by `python -m benchmarks reliability --without --write`. Each line breaks one thing on purpose, as many times as it
says, and counts how often the promise did not hold. A trial that cannot fail shows nothing: so what keeps the promise
is switched off as well, part by part, and the trials must notice (second table).

The trials use the app's own training loop, worker, run folders and supervisor, on small networks with dropout. They run
in processes that are forked from one with the libraries loaded; dying, running out of memory and a full disk are real
(signals, address-space limits, a file system of some megabytes), other errors of the disk are raised where the app
calls the system. Power failure is played back from a record of what was written and what had been flushed by then.
`--row N` and `--trials N` choose; '20 of 200' says that fewer trials were made than a full run makes ('of all': than
there are places to fail). Seconds are of a machine with so many other processes at work. Rows that are not listed have
not been measured.
"""


def here() -> dict:
    """When and where, and how busy it was."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "versions": {"Python": platform.python_version()} | {name: version(name) for name in PACKAGES},
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.release().split('-')[0]}, {os.cpu_count()} cores",
    }


def broken(figures: Mapping) -> bool:
    """Whether the promise did not hold, or the trials do not notice when it cannot."""
    return bool(figures["failures"]) or any(not one["failures"] for one in figures.get("without", {}).values())


def read(file: Path = FILE) -> list[dict]:
    return json.loads(file.read_text("utf-8")) if file.exists() else []


def keep(figures: Mapping, file: Path = FILE, page: Path = PAGE) -> None:
    """Put a row in the place of its old one, in the file and on the page."""
    rows = {one["row"]: one for one in read(file)}
    old = rows.get(figures["row"], {})
    if "without" in old and "without" not in figures:
        figures = {**figures, "without": old["without"]}
    rows[figures["row"]] = dict(figures)
    known = [rows[number] for number in sorted(rows)]
    report_page.write(file, json.dumps(known, ensure_ascii=False, indent=1) + "\n")
    report_page.write(page, text(known))


def text(rows: list[dict]) -> str:
    lines = [
        HEAD,
        "| row | what is made to go wrong | what must hold | trials | failures | worst | seconds |",
        "|---|---|---|---|---|---|---|",
        *(_row(one) for one in rows),
        "",
        "## The trials notice when it does not hold",
        "",
        "| row | switched off | trials | failures |",
        "|---|---|---|---|",
        *(
            f"| {one['row']} | {name} | {tried['trials']} | {tried['failures']} |"
            for one in rows
            for name, tried in one.get("without", {}).items()
        ),
        "",
        "## Notes",
        "",
        *(f"- Row {one['row']}: {one['note']}." for one in rows if one["note"]),
        "",
        *_places(rows),
        "",
    ]
    return "\n".join(lines)


def _row(one: Mapping) -> str:
    failures = f"**{one['failures']}**" if one["failures"] else "0"
    usual = one.get("usual", "")
    fewer = bool(usual) and (usual == "all" or one["trials"] < int(usual))
    trials = f"{one['trials']} of {usual}" if fewer else one["trials"]
    seconds = f"{one['seconds']:.0f} at load {one['load']:.0f}"
    cells = (one["row"], one["injected"], one["promise"], trials, failures, one["worst"], seconds)
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def _places(rows: list[dict]) -> list[str]:
    places: dict[str, list[str]] = {}
    for one in rows:
        versions = ", ".join(f"{name} {number}" for name, number in one["versions"].items())
        places.setdefault(f"{one['system']}; {versions}; {one['date']}", []).append(str(one["row"]))
    return [f"Rows {', '.join(numbers)}: {place}." for place, numbers in places.items()]
