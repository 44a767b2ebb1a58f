"""What of a file could not be taken in: kept with its number and the reason."""

from __future__ import annotations

from dataclasses import dataclass

from bigmodel.core.words import Words

RAW = 2000  # characters kept of what could not be read


@dataclass(frozen=True)
class Broken:
    """A part of a file that is no row: `row` is its number (the line, in files that have lines), `raw` how it begins.
    count: the rows that it stands for; several where the rest of a file is lost."""

    row: int
    raw: str
    reason: Words
    count: int = 1


def shown(data: bytes | str) -> str:
    """The beginning of what could not be read, in signs that can be shown."""
    text = data[: RAW * 4].decode("utf-8", "replace") if isinstance(data, bytes) else data
    return "".join(one if one.isprintable() or one in "\n\t" else "\N{REPLACEMENT CHARACTER}" for one in text[:RAW])
