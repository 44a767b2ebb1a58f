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
from bigmodel.importing.formats.bad_record import MAX_RAW_CHARACTERS, BadRecord, cell_text, printable
from bigmodel.importing.formats.text_lines import NOT_TEXT, WIDE_ENCODINGS, decode_line, lines

NO_DELIMITER = "\x1f"  # for a table of one column: no file has it
LOOK_AHEAD = 64 * 2**10  # characters in which a quote is looked for, once one was never closed
UNCLOSED_QUOTE = _("A quote is opened and not closed.")
STRAY_QUOTE = _("A quote stands where none may stand.")
NO_OBJECT = _("The line is no JSON object.")
Record = tuple[int, dict] | BadRecord


# -- CSV ---------------------------------------------------------------------------------------------
class _RecordTooLong(Exception):
    pass


class _Undecodable(Exception):
    pass


class _RewindableLines:
    """Lines for csv.reader, remembered until the record is whole: those of one that fails are read again, but the first."""

    def __init__(self, source: Iterable, encoding: str):
        self.source, self.encoding = iter(source), encoding
        self.pending: deque = deque()
        self.consumed: list[tuple[int, bytes, str | None]] = []
        self.size, self.max_size = 0, limits.LINE_BYTES
        self.last_bad_line: BadRecord | None = None

    def __iter__(self) -> _RewindableLines:
        return self

    def __next__(self) -> str:
        if self.pending:
            line = self.pending.popleft()
        else:
            found = next(self.source)
            if type(found) is BadRecord:
                line = (found.row, found.raw.encode(), None)
                self.last_bad_line = found
            else:
                number, raw = found
                line = (number, raw, decode_line(raw, self.encoding))
        self.consumed.append(line)
        text = line[2]
        if text is None:
            raise _Undecodable
        self.size += len(text)
        if self.size > self.max_size:
            raise _RecordTooLong
        return text

    def start_record(self) -> None:
        self.consumed, self.size = [], 0

    def reject_first_line(self, reason) -> BadRecord:
        """The first line is set aside; what came after it is read again."""
        (number, raw, text), *rest = self.consumed
        self.pending.extendleft(reversed(rest))
        if text is None:
            reason, lost = (
                (self.last_bad_line.reason, self.last_bad_line)
                if self.last_bad_line and self.last_bad_line.row == number
                else (NOT_TEXT, None)
            )
            return lost or BadRecord(number, printable(raw.rstrip(b"\r\n"), self.encoding), reason)
        if rest:
            self.max_size = min(
                self.max_size, LOOK_AHEAD
            )  # or a file full of such quotes would be read again and again
        return BadRecord(number, printable(text.rstrip("\r\n")), reason)


def csv_records(file: BinaryIO, encoding: str, delimiter: str, header: bool) -> Iterator[Record]:
    """(line where it begins, {column: text}); columns are named 1, 2 ... where the file does not name them."""
    csv.field_size_limit(limits.LINE_BYTES)
    feed = _RewindableLines(lines(file, encoding), encoding)
    parts = {"delimiter": delimiter or NO_DELIMITER, "strict": True}
    reader = csv.reader(feed, **parts)
    names: list[str] = []
    before: list[str] = []
    while True:
        feed.start_record()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except (csv.Error, _RecordTooLong, _Undecodable) as error:
            stray = isinstance(error, csv.Error) and "expected after" in str(error)
            lost = feed.reject_first_line(STRAY_QUOTE if stray else UNCLOSED_QUOTE)
            yield replace(
                lost, cells=_cells(names, _fields(lost.raw, parts["delimiter"], len(names)), before, delimiter)
            )
            reader = csv.reader(feed, **parts)
            continue
        if not fields or (len(fields) > 1 and not any(fields)):
            continue
        number = feed.consumed[0][0]
        if not names:
            names = unique_names(fields) if header else [str(place) for place in range(1, len(fields) + 1)]
            if header:
                continue
        if len(fields) != len(names):
            if len(fields) > len(names) and not any(fields[len(names) :]):
                fields = fields[: len(names)]
            else:
                reason = _("It has {count} fields where {wanted} are expected.", count=len(fields), wanted=len(names))
                raw = printable("".join(text for _n, _raw, text in feed.consumed).rstrip("\r\n"))
                yield BadRecord(number, raw, reason, cells=_cells(names, fields, before, delimiter))
                continue
        before = fields
        yield number, dict(zip(names, fields, strict=True))


def _fields(line: str, delimiter: str, count: int) -> list[str]:
    """What may have been meant by a line whose quotes are not in order; nothing of one that was cut."""
    if len(line) >= MAX_RAW_CHARACTERS:
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
    return {name: cell_text(field) for name, field in zip(names, fields, strict=False)}


def unique_names(fields: list[str]) -> list[str]:
    """Column names, each once: a second 'text' becomes 'text 2', an empty one its number."""
    names: list[str] = []
    for index, field in enumerate(fields, 1):
        name = " ".join(field.split())[:100] or str(index)
        tried, count = name, 1
        while tried in names:
            count += 1
            tried = f"{name} {count}"
        names.append(tried)
    return names


# -- JSON lines --------------------------------------------------------------------------------------
def json_lines(file: BinaryIO, encoding: str) -> Iterator[Record]:
    """(line, object). Blank lines are no rows."""
    direct = encoding in ("utf-8", "utf-8-sig", "ascii") or encoding.startswith(WIDE_ENCODINGS)
    loads = orjson.loads
    for found in lines(file, encoding):
        if type(found) is BadRecord:
            yield found
            continue
        number, line = found
        try:
            record = loads(line if direct else line.decode(encoding))
        except ValueError as error:  # orjson's and Unicode's are ValueErrors
            if not line.strip(b" \t\r\n\x0c"):
                continue
            yield BadRecord(number, printable(line.rstrip(b"\r\n"), encoding), _reason(line, encoding, error))
            continue
        if type(record) is dict:
            yield number, record
        else:
            yield BadRecord(number, printable(line.rstrip(b"\r\n"), encoding), NO_OBJECT)


def _reason(line: bytes, encoding: str, error: ValueError):
    if decode_line(line, encoding) is None:
        return NOT_TEXT
    return _("It is not JSON: {reason}.", reason=str(error)[:200])


# -- one JSON list -----------------------------------------------------------------------------------
NEXT = re.compile(r"\}\s*,\s*(?=\{)")
SEPARATORS = re.compile(r"[\s,]*")
DECODER = json.JSONDecoder()


class _Window:
    """The text from where we are, as much of it as is needed."""

    def __init__(self, file: BinaryIO, encoding: str):
        self.source = lines(file, encoding)
        self.encoding, self.text, self.exhausted, self.bad_record = encoding, "", False, None

    def fill(self, least: int = 2**18) -> None:
        parts, size = [self.text], 0
        while size < least and not self.exhausted:
            found = next(self.source, None)
            if found is None or type(found) is BadRecord:
                self.exhausted, self.bad_record = True, found
                break
            text = decode_line(found[1], self.encoding)
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
    window.fill()
    start = re.match(r'\s*(?:\{\s*"(?:[^"\\]|\\.){0,100}"\s*:\s*)?\[', window.text)
    if start is None:
        yield BadRecord(1, printable(window.text), _("There is no list of objects."))
        return
    text, place, number, closed = window.text, start.end(), 0, False
    while True:
        if len(text) - place < 2**16 and not window.exhausted:
            window.text, place = text[place:], 0
            window.fill()
            text = window.text
        gap = SEPARATORS.match(text, place).end()
        if gap >= len(text) or text[gap] == "]":
            closed = gap < len(text)
            break
        number += 1
        record, end = None, gap
        while True:
            try:
                record, end = DECODER.raw_decode(text, gap)
            except (ValueError, RecursionError) as error:
                if not window.exhausted and len(text) - gap < limits.LINE_BYTES and _unfinished(error, len(text)):
                    window.text, gap = text[gap:], 0
                    window.fill(max(2**18, len(window.text)))
                    text = window.text
                    continue
                reason = str(error)[:200]
            break
        if type(record) is dict:
            yield number, record
            place = end
        elif end > gap:
            yield BadRecord(number, printable(text[gap:end]), _("It is no JSON object."))
            place = end
        else:
            following = NEXT.search(text, gap)
            end = following.end() if following else len(text)
            yield BadRecord(number, printable(text[gap:end]), _("It is not JSON: {reason}.", reason=reason))
            place = end
    if window.bad_record is not None:
        yield BadRecord(number + 1, window.bad_record.raw, window.bad_record.reason)
    elif not closed:
        yield BadRecord(number + 1, "", _("The list is not closed: the file breaks off."))


def _unfinished(error: Exception, length: int) -> bool:
    """Whether more text might make it whole."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= length - 64
