"""Report pages: a suite's figures are kept as JSON and shown as tables between two marks of a page written by hand."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bigmodel.core import cpu

ROOT = Path(__file__).resolve().parents[1]
FIGURES = Path(__file__).with_name("figures")
OVERVIEW = ROOT / "BENCHMARKS.md"
MARK = {True: "yes", False: "**no**", None: ""}


@dataclass(frozen=True)
class Headline:
    """A line of the table on top of BENCHMARKS.md."""

    what: str
    result: str
    goal: str
    command: str


@dataclass(frozen=True)
class Report:
    """What `python -m benchmarks SUITE` has measured. `render`: Markdown of all figures; `headlines`: the few that
    stand on top of BENCHMARKS.md."""

    suite: str
    page: Path
    render: Callable[[Any], str]
    headlines: Callable[[Any], list[Headline]]
    folder: Path = FIGURES

    @property
    def file(self) -> Path:
        return self.folder / f"{self.suite}.json"

    def figures(self) -> Any:
        return json.loads(self.file.read_text("utf-8")) if self.file.exists() else {}

    def save(self, figures: Any) -> None:
        write_atomic(self.file, json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
        write_atomic(self.page, self.updated_page())

    def save_entry(self, name: str, entry: Mapping, order: Iterable[str]) -> None:
        """Replace one entry; entries stand in `order`, unknown ones behind."""
        entries = self.figures() | {name: dict(entry)}
        self.save({key: entries[key] for key in [*order, *entries] if key in entries})

    def updated_page(self) -> str:
        """The page's text with the current tables."""
        text = self.page.read_text("utf-8") if self.page.exists() else ""
        return replace_section(text, self.suite, f"python -m benchmarks {self.suite}", self.render(self.figures()))


def replace_section(text: str, name: str, command: str, generated: str) -> str:
    """The text with what stands between the marks of `name` replaced; without marks they are appended."""
    begin, end = f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->"
    if begin not in text or end not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n".lstrip()
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{generated}\n{end}{rest.partition(end)[2]}"


def overview(reports: Iterable[Report]) -> str:
    """BENCHMARKS.md with the current headlines of all reports."""
    rows = [
        (line.what, f"**{line.result}**", line.goal, f"`python -m benchmarks {line.command}`", _link(report.page))
        for report in reports
        for line in report.headlines(report.figures())
    ]
    lines = table(("what", "result", "goal", "command", "all figures"), rows)
    return replace_section(OVERVIEW.read_text("utf-8"), "overview", "python -m benchmarks pages", "\n".join(lines))


def _link(page: Path) -> str:
    return f"[{page.stem.lower()}]({page.relative_to(ROOT).as_posix()})"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines]


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def write_atomic(file: Path, text: str) -> None:
    staging = file.with_name(file.name + ".part")
    staging.write_text(text, "utf-8")
    os.replace(staging, file)


def progress(text: str) -> None:
    """To stderr: stdout is for results."""
    print(text, file=sys.stderr, flush=True)


# -- where and when ------------------------------------------------------------------------------------
def environment(packages: Sequence[str], setup: str = "", machine: str = "") -> dict:
    """Machine, versions and day, as kept with the figures. `setup`: threads, rounds and the like."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "machine": f"{machine or cpu.cpu_name()}, {cores} cores",
        "setup": setup,
        "python": platform.python_version(),
        "versions": {name: installed for name in packages if (installed := _version(name))},
        "date": datetime.now(UTC).date().isoformat(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def load() -> float | None:
    """The load average of the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def describe(where: Mapping) -> str:
    versions = ", ".join(f"{package} {number}" for package, number in where["versions"].items())
    parts = (", ".join(filter(None, (where["machine"], where["setup"]))), f"Python {where['python']}", where["date"])
    machine, python, day = parts
    return "; ".join(filter(None, (machine, f"{python}, {versions}", day)))


def measured_on(entries: Iterable[tuple[str, Mapping]]) -> list[str]:
    """A line for each environment, with the labels of what was measured there."""
    labels: dict[str, list[str]] = {}
    for label, where in entries:
        labels.setdefault(describe(where), []).append(label)
    return [f"Measured on {where}: {', '.join(names)}." for where, names in labels.items()]
