"""Whether the first row of a table names its columns or is data like the others."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from bigmodel.importing.column_roles import KNOWN_COLUMN_NAMES, name_words

NUMBER = re.compile(r"[-+]?[\d.,]+%?")
NAME_CHARACTERS, NAME_WORDS = 40, 3  # a longer name is most likely a text; a name of more words is no known one
SHARED_PREFIX = 4  # characters with which all values of a column begin, as in intent_billing, intent_outage


def has_header(rows: Sequence[Sequence[str]], fields: int) -> bool:
    """Whether the first row names the columns: unlike what stands below it. What stands below it again is data, unless
    all of the row does: tables that were put together have their header several times."""
    if not rows or len(rows[0]) != fields:
        return False
    names = [cell.strip() for cell in rows[0]]
    columns = [[row[index].strip() for row in rows[1:] if len(row) == fields and row != rows[0]] for index in range(fields)]  # fmt: skip
    if any(map(_is_value, names, columns)):
        return False
    given = [name for name in names if name]
    if given and all(map(is_known_column_name, given)):
        return True
    if not columns[0] or len(given) < sum(map(any, columns)) / 3 or any(map(NUMBER.fullmatch, given)):
        return False
    if sum(map(_is_number_column, names, columns)):
        return True
    if any(len(name) > NAME_CHARACTERS or name.endswith((".", "。", "!", "?", "！", "？")) for name in given):
        return False
    if any(map(is_known_column_name, given)):
        return True
    return len(set(given)) == len(given) and any(map(_is_longer_below, names, columns))


def is_known_column_name(name: str) -> bool:
    if len(name) > NAME_CHARACTERS or len(name.split()) > NAME_WORDS:
        return False
    return any(part in names for part in name_words(name) for names in KNOWN_COLUMN_NAMES.values())


def _is_value(name: str, cells: Sequence[str]) -> bool:
    """Whether the name is one of the values of its column: a class that comes again, or looks like those that do."""
    counts = Counter(cell for cell in cells if cell)
    if not name or not counts:
        return False
    if name in counts and len(counts) <= max(2, sum(counts.values()) / 2):
        return True
    first, last = min(counts), max(counts)  # what these two share all share
    prefix = first[: next((i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)]
    return len(counts) > 1 and len(prefix) >= SHARED_PREFIX and not prefix[-1].isalnum() and name.startswith(prefix)


def _is_number_column(name: str, cells: Sequence[str]) -> bool:
    """Whether numbers stand below a name."""
    numbers = sum(bool(NUMBER.fullmatch(cell)) for cell in cells)
    return bool(name) and numbers > 0.8 * len(cells)


def _is_longer_below(name: str, cells: Sequence[str]) -> bool:
    return bool(name) and name not in cells and sum(map(len, cells)) / len(cells) > 2 * len(name) + 5
