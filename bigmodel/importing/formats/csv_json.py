"""Records of tables: CSV and its kin, JSON lines. What cannot be read is a BadRecord, and the reading goes on."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import BinaryIO

import orjson

from bigmodel.core import limits
from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import MAX_RAW_CHARACTERS, BadRecord, cell_text, printable
from bigmodel.importing.formats.text_lines import NOT_TEXT, WIDE_ENCODINGS, decode_line, lines

INVISIBLE = "\ufeff\u200b\u200e\u200f\u2060"  # around a name they are no part of it
NO_DELIMITER = "\x1f"  # for a table of one column: no file has it
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?;*\s*', re.IGNORECASE | re.DOTALL)  # Excel's, before the header
MIN_LONGER_ROWS = 2  # with too many fields; one alone is a slip, and set aside to be mended
MIN_FITTING_SHARE = 0.9  # of the rows: those in which what stands around a column that takes the rest is as elsewhere
PEEKED_LINES, PEEKED_CHARACTERS = 300, 2**20  # by which is told which column holds delimiters of its own
LOOK_AHEAD = 64 * 2**10  # characters in which a quote is looked for, once one was never closed
UNCLOSED_QUOTE = _("A quote is opened and not closed.")
STRAY_QUOTE = _("A quote stands where none may stand.")
NO_OBJECT = _("The line is no JSON object.")
REPEATED_HEADER = _("It is the header once more.")
Record = tuple[int, dict] | BadRecord


REGULAR = re.compile(r"[-+]?\d[\d.,:/-]*%?|[A-Za-z]*[-_]?\d[\w-]*")  # numbers, dates, ids


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
        line = self.pending.popleft() if self.pending else self._read_line()
        self.consumed.append(line)
        text = line[2]
        if text is None:
            raise _Undecodable
        self.size += len(text)
        if self.size > self.max_size:
            raise _RecordTooLong
        return text

    def _read_line(self) -> tuple[int, bytes, str | None]:
        line = next(self.source)
        if type(line) is BadRecord:
            self.last_bad_line = line
            return line.row, line.raw.encode(), None
        number, raw = line
        return number, raw, decode_line(raw, self.encoding)

    def peek(self) -> list[str]:
        """The first lines, which are read again."""
        size = 0
        while len(self.pending) < PEEKED_LINES and size < PEEKED_CHARACTERS:
            try:
                self.pending.append(self._read_line())
            except StopIteration:
                break
            size += len(self.pending[-1][1])
        return [text for _number, _raw, text in self.pending if text is not None]

    def start_record(self) -> None:
        self.consumed, self.size = [], 0

    def raw_record(self) -> str:
        return printable("".join(text for _number, _raw, text in self.consumed).rstrip("\r\n"))

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
    peeked = feed.peek()
    if peeked and SEPARATOR_LINE.fullmatch(peeked[0]):
        feed.pending.popleft()
    overflow = OverflowColumn.infer(rows_of(peeked, delimiter), delimiter, header)
    reader = csv.reader(feed, **parts)
    names: list[str] = []
    head: list[str] = []
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
            count = len(overflow.values) if overflow else len(fields)
            names = unique_names(fields) if header else [str(place) for place in range(1, count + 1)]
            if header:
                head = fields
                continue
        if fields == head:
            yield BadRecord(number, feed.raw_record(), REPEATED_HEADER)
            continue
        if len(fields) > len(names):
            fields = _without_empty_rest(fields, len(names))
            fields = overflow.join(fields) if overflow else fields
        if len(fields) != len(names):
            reason = _("It has {count} fields where {wanted} are expected.", count=len(fields), wanted=len(names))
            yield BadRecord(number, feed.raw_record(), reason, cells=_cells(names, fields, before, delimiter))
            continue
        before = fields
        yield number, dict(zip(names, fields, strict=True))


def rows_of(texts: Sequence[str], delimiter: str) -> list[list[str]]:
    """The rows of the first lines of a table, as far as they can be read."""
    csv.field_size_limit(limits.LINE_BYTES)
    rows: list[list[str]] = []
    with suppress(csv.Error):  # what was read until then is enough to judge by
        rows.extend(row for row in csv.reader(texts, delimiter=delimiter or NO_DELIMITER) if any(row))
    return rows[1:] if rows and SEPARATOR_LINE.fullmatch(delimiter.join(rows[0])) else rows


def _without_empty_rest(fields: list[str], count: int) -> list[str]:
    return fields if any(fields[count:]) else fields[:count]


@dataclass(frozen=True)
class OverflowColumn:
    """The column of texts that are not quoted and hold delimiters: it takes what is over. Told by what stands around it:
    known classes, numbers, or ids."""

    index: int
    name: str
    values: tuple[frozenset[str], ...]  # what may stand in each of the columns
    delimiter: str

    @staticmethod
    def infer(rows: Sequence[Sequence[str]], delimiter: str, header: bool) -> OverflowColumn | None:
        """None where hardly a row has too many fields, or more than one column could take them. Without a header there are as
        many columns as the shortest row has fields."""
        if not rows:
            return None
        head = rows[0] if header else [str(number) for number in range(1, 1 + min(map(len, rows)))]
        rows = rows[1:] if header else rows
        count = len(head)
        longer = [row for row in rows if len(row) > count and any(row[count:])]
        spaced = sum(any(cell[:1].isspace() for cell in row[1:]) for row in longer)  # as prose has it: this, and that
        if (
            count < 2
            or len(longer) < MIN_LONGER_ROWS
            or spaced < len(longer) / 2
            or any(len(row) < count for row in rows)
        ):
            return None
        candidates = [OverflowColumn._at(index, head, rows, delimiter) for index in range(count)]
        fitting = [column for column in candidates if sum(map(column.fits, rows)) >= MIN_FITTING_SHARE * len(rows)]
        telling = [column for column in fitting if column.has_varied_values(rows)]  # one word everywhere tells nothing
        chosen = telling or fitting
        return chosen[0] if len(chosen) == 1 else None

    @staticmethod
    def _at(index: int, head: Sequence[str], rows: Sequence[Sequence[str]], delimiter: str) -> OverflowColumn:
        values: list[frozenset[str]] = []
        for column in range(len(head)):
            place = column if column < index else column - len(head)
            counts = Counter(row[place] for row in rows)
            repeated = frozenset(value for value, times in counts.items() if times > 1 and value[:1].strip())
            values.append(repeated if len(repeated) <= max(2, len(rows) / 4) else frozenset())
        return OverflowColumn(index, head[index].strip(), tuple(values), delimiter)

    def has_varied_values(self, rows: Sequence[Sequence[str]]) -> bool:
        """Whether no column around it has one value in all rows."""
        around = [column for column in range(len(self.values)) if column != self.index]
        places = [column if column < self.index else column - len(self.values) for column in around]
        return all(len({row[place] for row in rows}) > 1 for place in places)

    def fits(self, fields: Sequence[str]) -> bool:
        """Whether what stands around the texts is as elsewhere."""
        joined = self._joined(fields)
        around = (column for column in range(len(joined)) if column != self.index)
        return len(joined) == len(self.values) and all(self._is_regular(column, joined[column]) for column in around)

    def join(self, fields: list[str]) -> list[str]:
        """Fields with the texts in one; as they are where that would be a guess."""
        return self._joined(fields) if self.fits(fields) else fields

    def _joined(self, fields: Sequence[str]) -> list[str]:
        more = max(len(fields) - len(self.values), 0)
        text = self.delimiter.join(fields[self.index : self.index + more + 1])
        return [*fields[: self.index], text, *fields[self.index + more + 1 :]]

    def _is_regular(self, column: int, value: str) -> bool:
        return value in self.values[column] or bool(REGULAR.fullmatch(value))


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
        name = " ".join(field.strip(INVISIBLE).split())[:100] or str(index)
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
