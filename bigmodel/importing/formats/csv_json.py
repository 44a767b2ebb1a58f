"""Records of tables: CSV and its kin, JSON lines, one JSON list. What cannot be read is Broken, and the reading goes on."""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import BinaryIO

import orjson

from bigmodel.core import limits
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import RAW, Broken, cell, shown
from bigmodel.importing.formats.text_lines import NOT_TEXT, WIDE, lines, text_of

NO_DELIMITER = "\x1f"  # for a table of one column: no file has it
LOOK_AHEAD = 64 * 2**10  # characters in which a quote is looked for, once one was never closed
UNCLOSED = _("A quote is opened and not closed.")
STRAY = _("A quote stands where none may stand.")
NO_OBJECT = _("The line is no JSON object.")
Record = tuple[int, dict] | Broken


# -- CSV ---------------------------------------------------------------------------------------------
class _Endless(Exception):
    pass


class _NoText(Exception):
    pass


class _Feed:
    """Lines for csv.reader, remembered until the record is whole: those of one that fails are read again, but the first."""

    def __init__(self, source: Iterable, encoding: str):
        self.source, self.encoding = iter(source), encoding
        self.pending: deque = deque()
        self.taken: list[tuple[int, bytes, str | None]] = []
        self.size, self.most = 0, limits.LINE_BYTES
        self.lost: Broken | None = None

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        if self.pending:
            line = self.pending.popleft()
        else:
            found = next(self.source)
            if type(found) is Broken:
                line = (found.row, found.raw.encode(), None)
                self.lost = found
            else:
                number, raw = found
                line = (number, raw, text_of(raw, self.encoding))
        self.taken.append(line)
        text = line[2]
        if text is None:
            raise _NoText
        self.size += len(text)
        if self.size > self.most:
            raise _Endless
        return text

    def begin(self) -> None:
        self.taken, self.size = [], 0

    def give_up(self, reason) -> Broken:
        """The first line is set aside; what came after it is read again."""
        (number, raw, text), *rest = self.taken
        self.pending.extendleft(reversed(rest))
        if text is None:
            reason, lost = (self.lost.reason, self.lost) if self.lost and self.lost.row == number else (NOT_TEXT, None)
            return lost or Broken(number, shown(raw.rstrip(b"\r\n"), self.encoding), reason)
        if rest:
            self.most = min(self.most, LOOK_AHEAD)  # or a file full of such quotes would be read again and again
        return Broken(number, shown(text.rstrip("\r\n")), reason)


def table(file: BinaryIO, encoding: str, delimiter: str, header: bool) -> Iterator[Record]:
    """(line where it begins, {column: text}); columns are named 1, 2 ... where the file does not name them."""
    csv.field_size_limit(limits.LINE_BYTES)
    feed = _Feed(lines(file, encoding), encoding)
    parts = {"delimiter": delimiter or NO_DELIMITER, "strict": True}
    reader = csv.reader(feed, **parts)
    names: list[str] = []
    before: list[str] = []
    while True:
        feed.begin()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _Endless, _NoText) as error:
            stray = isinstance(error, csv.Error) and "expected after" in str(error)
            lost = feed.give_up(STRAY if stray else UNCLOSED)
            yield replace(
                lost, cells=_cells(names, _fields(lost.raw, parts["delimiter"], len(names)), before, delimiter)
            )
            reader = csv.reader(feed, **parts)
            continue
        if not fields or (len(fields) > 1 and not any(fields)):
            continue
        number = feed.taken[0][0]
        if not names:
            names = named(fields) if header else [str(place) for place in range(1, len(fields) + 1)]
            if header:
                continue
        if len(fields) != len(names):
            if len(fields) > len(names) and not any(fields[len(names) :]):
                fields = fields[: len(names)]
            else:
                reason = _("It has {count} fields where {wanted} are expected.", count=len(fields), wanted=len(names))
                raw = shown("".join(text for _n, _raw, text in feed.taken).rstrip("\r\n"))
                yield Broken(number, raw, reason, cells=_cells(names, fields, before, delimiter))
                continue
        before = fields
        yield number, dict(zip(names, fields, strict=True))


def _fields(line: str, delimiter: str, count: int) -> list[str]:
    """What may have been meant by a line whose quotes are not in order; nothing of one that was cut."""
    if len(line) >= RAW:
        return []
    plain = [field.strip('"') for field in line.split(delimiter)]
    return plain if len(plain) == count else next(csv.reader([line], delimiter=delimiter), [])


def _cells(names: list[str], fields: list[str], before: list[str], delimiter: str) -> dict[str, str]:
    """Fields by column. Where there are too many, most likely the text among them holds delimiters and no quotes: the
    column that was the longest in the record before."""
    more = len(fields) - len(names)
    if more > 0 and names:
        place = max(range(len(before)), key=lambda one: len(before[one])) if before else 0
        fields = [*fields[:place], delimiter.join(fields[place : place + more + 1]), *fields[place + more + 1 :]]
    return {name: cell(field) for name, field in zip(names, fields, strict=False)}


def named(fields: list[str]) -> list[str]:
    """Column names, each once: a second 'text' becomes 'text 2', an empty one its number."""
    names: list[str] = []
    for place, field in enumerate(fields, 1):
        name = " ".join(field.split())[:100] or str(place)
        tried, count = name, 1
        while tried in names:
            count += 1
            tried = f"{name} {count}"
        names.append(tried)
    return names


# -- JSON lines --------------------------------------------------------------------------------------
def json_lines(file: BinaryIO, encoding: str) -> Iterator[Record]:
    """(line, object). Blank lines are no rows."""
    direct = encoding in ("utf-8", "utf-8-sig", "ascii") or encoding.startswith(WIDE)
    loads = orjson.loads
    for found in lines(file, encoding):
        if type(found) is Broken:
            yield found
            continue
        number, line = found
        try:
            record = loads(line if direct else line.decode(encoding))
        except ValueError as error:  # orjson's and Unicode's are ValueErrors
            if not line.strip(b" \t\r\n\x0c"):
                continue
            yield Broken(number, shown(line.rstrip(b"\r\n"), encoding), _reason(line, encoding, error))
            continue
        if type(record) is dict:
            yield number, record
        else:
            yield Broken(number, shown(line.rstrip(b"\r\n"), encoding), NO_OBJECT)


def _reason(line: bytes, encoding: str, error: ValueError):
    if text_of(line, encoding) is None:
        return NOT_TEXT
    return _("It is not JSON: {reason}.", reason=str(error)[:200])


# -- one JSON list -----------------------------------------------------------------------------------
NEXT = re.compile(r"\}\s*,\s*(?=\{)")
GAP = re.compile(r"[\s,]*")
DECODER = json.JSONDecoder()


class _Window:
    """The text from where we are, as much of it as is needed."""

    def __init__(self, file: BinaryIO, encoding: str):
        self.source = lines(file, encoding)
        self.encoding, self.text, self.over, self.broken = encoding, "", False, None

    def more(self, least: int = 2**18) -> None:
        parts, size = [self.text], 0
        while size < least and not self.over:
            found = next(self.source, None)
            if found is None or type(found) is Broken:
                self.over, self.broken = True, found
                break
            text = text_of(found[1], self.encoding)
            text = found[1].decode("utf-8", "replace") if text is None else text
            parts.append(text)
            size += len(text)
        self.text = "".join(parts)

    def skip(self, count: int) -> None:
        self.text = self.text[count:]


def json_list(file: BinaryIO, encoding: str) -> Iterator[Record]:
    """(place in the list, object). The list may stand alone or be the one list of an object: {"data": [...]}.
    An object that is broken is left out up to where the next seems to begin."""
    window = _Window(file, encoding)
    window.more()
    start = re.match(r'\s*(?:\{\s*"(?:[^"\\]|\\.){0,100}"\s*:\s*)?\[', window.text)
    if start is None:
        yield Broken(1, shown(window.text), _("There is no list of objects."))
        return
    text, place, number, closed = window.text, start.end(), 0, False
    while True:
        if len(text) - place < 2**16 and not window.over:
            window.text, place = text[place:], 0
            window.more()
            text = window.text
        gap = GAP.match(text, place).end()
        if gap >= len(text) or text[gap] == "]":
            closed = gap < len(text)
            break
        number += 1
        record, end = None, gap
        while True:
            try:
                record, end = DECODER.raw_decode(text, gap)
            except (ValueError, RecursionError) as error:
                if not window.over and len(text) - gap < limits.LINE_BYTES and _unfinished(error, len(text)):
                    window.text, gap = text[gap:], 0
                    window.more(max(2**18, len(window.text)))
                    text = window.text
                    continue
                reason = str(error)[:200]
            break
        if type(record) is dict:
            yield number, record
            place = end
        elif end > gap:
            yield Broken(number, shown(text[gap:end]), _("It is no JSON object."))
            place = end
        else:
            following = NEXT.search(text, gap)
            end = following.end() if following else len(text)
            yield Broken(number, shown(text[gap:end]), _("It is not JSON: {reason}.", reason=reason))
            place = end
    if window.broken is not None:
        yield Broken(number + 1, window.broken.raw, window.broken.reason)
    elif not closed:
        yield Broken(number + 1, "", _("The list is not closed: the file breaks off."))


def _unfinished(error: Exception, length: int) -> bool:
    """Whether more text might make it whole."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= length - 64
