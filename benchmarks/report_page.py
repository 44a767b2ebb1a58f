"""Pages on which commands write what they have measured: each its own section, between two marks."""

from __future__ import annotations

import os
from pathlib import Path

PAGE = Path(__file__).resolve().parents[1] / "BENCHMARKS.md"


def marks(command: str, name: str) -> tuple[str, str]:
    """What a section begins and ends with."""
    return f"<!-- {name}: written by `{command}` -->", f"<!-- end of {name} -->"


def with_section(text: str, generated: str, between: tuple[str, str]) -> str:
    """The page with what stands between the marks replaced; the marks are added at its end where there are none."""
    begin, end = between
    if begin not in text or end not in text:
        text = f"{text.rstrip()}\n\n{begin}\n{end}\n".lstrip()
    before, _, rest = text.partition(begin)
    return f"{before}{begin}\n\n{generated}\n{end}{rest.partition(end)[2]}"


def keep(page: Path, generated: str, between: tuple[str, str]) -> None:
    text = page.read_text("utf-8") if page.exists() else ""
    write(page, with_section(text, generated, between))


def write(file: Path, text: str) -> None:
    """Whole or not at all."""
    staging = file.with_name(file.name + ".part")
    staging.write_text(text, "utf-8")
    os.replace(staging, file)
