"""JSON that lay on a disk: whatever is wrong with it is a ValueError, and its shape is checked before it is used."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Shape = Callable[[Any], bool]

MAX_DEPTH = 40  # of lists and objects in each other; Python's own reader ends in a RecursionError at about a thousand
MAX_ENTRIES = 1_000  # of an object of numbers
MAX_COUNT = 2**53  # a float holds every integer up to here
MAX_TIME = 1e11  # seconds since 1970 that every system can show as a date
MAX_FILE_BYTES = 64 * 2**20


def parse(text: bytes | str, object_hook: Callable[[dict], Any] | None = None) -> Any:
    """The value that `text` holds; ValueError for what is none, is nested too deeply, or holds text that no file can."""
    plain = text if isinstance(text, str) else text.decode()  # json.loads would guess UTF-16 where there are NUL bytes
    try:
        value = json.loads(plain, object_hook=object_hook)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if plain.count("[") + plain.count("{") > MAX_DEPTH and not _is_shallow(value, MAX_DEPTH):
        raise ValueError("nested too deeply")
    if "\\u" in plain:
        json.dumps(value, ensure_ascii=False).encode()  # half of a surrogate pair: UnicodeEncodeError, a ValueError
    return value


def read(file: Path) -> Any:
    """OSError where there is none, ValueError as by `parse`."""
    with file.open("rb") as opened:
        text = opened.read(MAX_FILE_BYTES + 1)
    if len(text) > MAX_FILE_BYTES:
        raise ValueError(f"{file.name} is larger than {MAX_FILE_BYTES} bytes")
    return parse(text)


def read_object(file: Path, shape: Shape | None = None) -> dict:
    """As `read`; ValueError also for what is no object, or not of this shape."""
    value = read(file)
    if not isinstance(value, dict) or not (shape is None or shape(value)):
        raise ValueError(f"{file.name} does not hold what it should")
    return value


def _is_shallow(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        return levels > 0 and all(_is_shallow(part, levels - 1) for part in value.values())
    if isinstance(value, list):
        return levels > 0 and all(_is_shallow(part, levels - 1) for part in value)
    return True


# -- shapes ------------------------------------------------------------------------------------------------
def is_text(value: Any) -> bool:
    return isinstance(value, str)


def is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_number(value: Any) -> bool:
    """NaN and the infinities too; no integer that a float cannot hold."""
    return type(value) is float or (type(value) is int and abs(value) <= MAX_COUNT)


def is_time(value: Any) -> bool:
    return is_number(value) and 0 <= value < MAX_TIME


def is_scalar(value: Any) -> bool:
    return value is None or isinstance(value, str | bool) or is_number(value)


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_words(value: Any) -> bool:
    """What `Words.to_json` gives, with nothing in it that would fail, or fill the memory, when it is said; or a text."""
    if isinstance(value, str):
        return True
    if not isinstance(value, dict) or not isinstance(value.get("text"), str):
        return False
    values = value.get("values", {})
    if not isinstance(values, dict) or not all(is_scalar(part) or is_words(part) for part in values.values()):
        return False
    named = re.findall(r"\{(\w+)\}", value["text"])
    plain = re.sub(r"\{\w+\}", "", value["text"])  # what is left has a format specification, or half a brace
    return not values or (set(named) <= values.keys() and "{" not in plain and "}" not in plain)


def optional(shape: Shape) -> Shape:
    return lambda value: value is None or shape(value)


def one_of(*values: object) -> Shape:
    return lambda value: isinstance(value, str) and value in values


def list_of(shape: Shape) -> Shape:
    return lambda value: isinstance(value, list) and all(map(shape, value))


def object_of(shape: Shape) -> Shape:
    """Names with values of one shape."""
    return lambda value: isinstance(value, dict) and len(value) <= MAX_ENTRIES and all(map(shape, value.values()))


def fields(required: Mapping[str, Shape], others: Mapping[str, Shape] | None = None) -> Shape:
    """An object with these fields, and maybe those; of fields that are not named nothing is asked."""
    known = {**required, **(others or {})}

    def has_fields(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and required.keys() <= value.keys()
            and all(known[name](part) for name, part in value.items() if name in known)
        )

    return has_fields


is_refusal = fields({"what": is_words}, {"why": optional(is_words), "do": optional(is_words), "field": is_text, "id": is_text})  # fmt: skip
