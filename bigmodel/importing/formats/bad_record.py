"""What of a file could not be taken in: kept with its number and the reason."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bigmodel.core.words import Words

MAX_RAW_CHARACTERS = 2**16  # characters kept of what could not be read; what has as many was cut


@dataclass(frozen=True)
class BadRecord:
    """A part of a file that is no row: `row` is its number (the line, in files that have lines), `raw` what stands there.
    count: the rows that it stands for, from `row` on; several where the rest of a file is lost. cells: what could be
    read of it, by column, to begin with when it is mended. picture: the small one, where it is readable and lacks
    something else."""

    row: int
    raw: str
    reason: Words
    count: int = 1
    cells: Mapping[str, str] = field(default_factory=dict)
    picture: bytes = b""


def printable(data: bytes | str, encoding: str = "utf-8") -> str:
    """What could not be read, in signs that can be shown, up to a bound."""
    if isinstance(data, bytes):
        wide = encoding.startswith(("utf-16", "utf-32"))  # such lines have become UTF-8 on their way
        data = data[: MAX_RAW_CHARACTERS * 4].decode("utf-8" if wide else encoding, "replace")
    text = data[:MAX_RAW_CHARACTERS]
    if text.replace("\n", "").replace("\t", "").isprintable():  # most are, which is quickly seen
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text)


def cell_text(value: object) -> str:
    """A value as text to be mended; '' for one that is missing, no text at all, or longer than what is kept: half of it
    would look like the whole."""
    if value is None or value != value or isinstance(value, bytes):
        return ""
    written = isinstance(value, bool | list | Mapping)
    text = json.dumps(value, ensure_ascii=False, default=str) if written else str(value)
    return printable(text) if len(text) < MAX_RAW_CHARACTERS else ""
