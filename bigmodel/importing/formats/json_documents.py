"""Records of JSON that is more than an object a line: lists, splits, columns, objects by id, SQuAD, objects over several lines."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.words import Words, _
from bigmodel.importing.formats.bad_record import BadRecord, printable
from bigmodel.importing.formats.csv_json import NO_OBJECT, Record, unique_names
from bigmodel.importing.formats.header import has_header
from bigmodel.importing.formats.text_lines import READ_ERRORS, unreadable_rest
from bigmodel.importing.import_plan import parse_split

NEXT_OBJECT = re.compile(r"\}\s*,?\s*(?=\{)")
SEPARATORS = re.compile(r"[\s,\x1e\ufeff]*")  # 1e: JSON text sequences, RFC 7464
BLANKS = re.compile(r"[\s\ufeff]*")
KEY = re.compile(r'"(?:[^"\\]|\\.){0,500}"\s*:\s*', re.DOTALL)
DECODER = json.JSONDecoder()
FILL, LOW_WATER = 2**18, 2**16  # characters that are read at a time; fewer are left when more are read
HELD_CHARACTERS = 64 * 2**20  # of JSON by columns, which must be in memory as a whole
PEEKED_ROWS = 100  # by which a header of a list of lists is told
MAX_COLUMNS = 64  # more objects under keys of one object are rows, not columns
SPLIT, KEY_COLUMN, LIST_COLUMN = "split", "key", "list"  # columns for what stands outside of the records
WRAPPERS = frozenset(
    ["data", "rows", "records", "items", "examples", "samples", "results", "entries", "common_examples"]
)
NO_RECORDS = _("There is no list of objects.")
TOO_LARGE = _(
    "It is written column by column, which takes all of it in memory: more than {maximum} MB. Write it row by row, as by {example}.",
    maximum=HELD_CHARACTERS // 2**20,
    example="pandas.DataFrame.to_json(orient='records', lines=True)",
)
Element = tuple[str, object]  # the JSON and what it holds; a BadRecord's row is given later


class _Broken(Exception):
    """What stands here is no JSON."""

    def __init__(self, reason: Words):
        self.reason = reason


class _Window:
    """The text from where we are, as much of it as is needed."""

    def __init__(self, file: BinaryIO, encoding: str):
        self.file, self.decoder = file, codecs.getincrementaldecoder(encoding)("replace")
        self.text, self.position, self.size, self.exhausted = "", 0, 0, False
        self.damage: Words | None = None

    def fill(self, least: int = FILL) -> None:
        """At least so many more characters, where there are any."""
        parts, size = [self.text[self.position :]], 0
        while size < least and not self.exhausted:
            try:
                data = self.file.read(FILL)
            except READ_ERRORS as error:
                data, self.damage = b"", unreadable_rest(error)
            self.exhausted = not data
            parts.append(self.decoder.decode(data, final=not data))
            size += len(parts[-1])
        self.text, self.position = "".join(parts), 0

    def skip(self, pattern: re.Pattern = BLANKS) -> str:
        """Past what matches; the character that comes then, '' at the end."""
        while True:
            if len(self.text) - self.position < LOW_WATER and not self.exhausted:
                self.fill()
            self.position = pattern.match(self.text, self.position).end()
            if self.position < len(self.text) or self.exhausted:
                return self.text[self.position : self.position + 1]

    def key(self) -> str:
        """The key that stands here, past its colon."""
        found = KEY.match(self.text, self.position)
        if found is None:
            raise _Broken(NO_RECORDS)
        try:
            key = json.loads(found[0].rstrip().removesuffix(":"))
        except ValueError as error:
            raise _Broken(_("It is not JSON: {reason}.", reason=str(error)[:200])) from None
        self.position = found.end()
        return key

    def value(self, longest: int = limits.LINE_BYTES) -> object:
        """The value that stands here, past its end; `size` becomes its length."""
        while True:
            try:
                value, end = DECODER.raw_decode(self.text, self.position)
                self.size, self.position = end - self.position, end
            except (ValueError, RecursionError) as error:
                left = len(self.text) - self.position
                if not self.exhausted and _unfinished(error, len(self.text)):
                    if left >= longest:
                        raise _Broken(TOO_LARGE if longest == HELD_CHARACTERS else NO_OBJECT) from None
                    self.fill(max(FILL, left))
                    continue
                raise _Broken(_("It is not JSON: {reason}.", reason=str(error)[:200])) from None
            return value


def _unfinished(error: Exception, length: int) -> bool:
    """Whether more text might make it whole."""
    if not isinstance(error, json.JSONDecodeError):
        return False
    return error.msg.startswith("Unterminated string") or error.pos >= length - 64


# -- records -----------------------------------------------------------------------------------------
def json_records(file: BinaryIO, encoding: str) -> Iterator[Record]:
    """(number, object), in any of the shapes in which rows are commonly written. An object that is broken is left out
    up to where the next seems to begin."""
    window = _Window(file, encoding)
    for number, record in enumerate(_top_level(window), 1):
        yield replace(record, row=number) if type(record) is BadRecord else (number, record)


def _top_level(window: _Window) -> Iterator[dict | BadRecord]:
    first = window.skip()
    if first in ("[", "{") and _is_sequence(window, first):
        yield from _rows(_elements(window, ""))
    elif first == "[":
        window.position += 1
        yield from _rows(_elements(window, "]"))
    elif first == "{":
        yield from _document(window)
    else:
        yield BadRecord(0, printable(window.text), NO_RECORDS)
    if window.damage is not None:
        yield BadRecord(0, "", window.damage)


def _is_sequence(window: _Window, first: str) -> bool:
    """Whether rows follow each other, as in JSON lines that were indented; else all is one list or one object."""
    try:
        _value, end = DECODER.raw_decode(window.text, window.position)
    except RecursionError:
        return False
    except ValueError as error:
        broken = first == "{" and (window.exhausted or not _unfinished(error, len(window.text)))
        return broken and bool(re.search(r"\n\}\s*\{", window.text))
    return window.text[SEPARATORS.match(window.text, end).end() :][:1] == first


def _elements(window: _Window, closing: str) -> Iterator[object]:
    """What a list holds, from behind its bracket to behind the closing one, or to the end where there is none."""
    while True:
        sign = window.skip(SEPARATORS)
        if sign == "" or sign == closing:
            break
        start = window.position
        try:
            value = window.value()
        except _Broken as broken:
            start = window.position  # the window may have moved on
            following = NEXT_OBJECT.search(window.text, start)
            window.position = following.end() if following else len(window.text)
            yield BadRecord(0, printable(window.text[start : window.position]), broken.reason)
            continue
        yield value
    window.position += len(sign)
    if closing and not sign and window.damage is None:
        yield BadRecord(0, "", _("The list is not closed: the file breaks off."))


def _rows(elements: Iterable[object], names: Sequence[str] = ()) -> Iterator[dict | BadRecord]:
    """Elements as records. The first decides what they are: objects, texts, conversations or rows of a table."""
    elements = iter(elements)
    peeked = list(islice(elements, PEEKED_ROWS))
    first = next((value for value in peeked if type(value) is not BadRecord), None)
    table = isinstance(first, list) and not any(isinstance(part, Mapping | list) for part in first)
    if table and not names:
        names = _table_header(peeked)
        if names:
            peeked.remove(first)
    for value in chain(peeked, elements):
        if type(value) is BadRecord:
            yield value
        elif type(value) is not type(first) or not isinstance(value, dict | str | list):
            yield BadRecord(0, printable(json.dumps(value, ensure_ascii=False)), NO_OBJECT)
        elif isinstance(value, dict):
            yield from _expanded(value)
        elif isinstance(value, str):
            yield {"text": value}
        elif not table:
            yield {"messages": value}
        elif names and len(value) != len(names):
            reason = _("It has {count} fields where {wanted} are expected.", count=len(value), wanted=len(names))
            yield BadRecord(0, printable(json.dumps(value, ensure_ascii=False)), reason)
        else:
            yield dict(zip(names or map(str, range(1, len(value) + 1)), value, strict=True))


def _table_header(rows: Sequence[object]) -> list[str]:
    """The names in the first row of a list of lists; none where it is a row like the others."""
    texts = [["" if cell is None else str(cell) for cell in row] for row in rows if isinstance(row, list)]
    first = next(row for row in rows if isinstance(row, list))
    named = all(isinstance(cell, str) for cell in first) and has_header(texts, len(first))
    return unique_names(first) if named else []


def _expanded(record: dict) -> Iterator[dict]:
    """The questions of an article of SQuAD; any other record is itself."""
    paragraphs = record.get("paragraphs")
    if not isinstance(paragraphs, list) or not all(isinstance(one, dict) and "qas" in one for one in paragraphs):
        yield record
        return
    for paragraph in paragraphs:
        for asked in paragraph["qas"]:
            answers = [answer.get("text") for answer in asked.get("answers") or () if isinstance(answer, dict)]
            yield {
                "id": asked.get("id"),
                "title": record.get("title"),
                "context": paragraph.get("context"),
                "question": asked.get("question"),
                "answer": answers[0] if answers and not asked.get("is_impossible") else None,
            }


# -- one object --------------------------------------------------------------------------------------
def _document(window: _Window) -> Iterator[dict | BadRecord]:
    """The rows of one large object. Lists of objects are read as they come; what else it holds is kept until it is clear
    what it is: columns, objects by their ids, or remarks on the lists."""
    window.position += 1
    held: dict[str, object] = {}
    streamed, size = "", 0
    while (sign := window.skip(SEPARATORS)) == '"':
        try:
            key = window.key()
            if _begins_rows(window, key):
                names = held.get("columns") if isinstance(held.get("columns"), list) else ()
                window.position += 1
                yield from _named(key, _rows(_elements(window, "]"), tuple(map(str, names))))
                streamed = key
                continue
            held[key] = window.value(HELD_CHARACTERS)
            size += window.size
        except _Broken as broken:
            yield BadRecord(0, printable(window.text[window.position :][:1000]), broken.reason)
            return
        if not streamed and len(held) > MAX_COLUMNS and all(isinstance(value, dict) for value in held.values()):
            yield from _by_key(held)
            yield from _streamed_by_key(window)
            return
        if size > HELD_CHARACTERS:
            yield BadRecord(0, "", TOO_LARGE)
            return
    if not streamed:
        yield from _held_rows(held)
    if not sign and window.damage is None:
        yield BadRecord(0, "", _("The list is not closed: the file breaks off."))


def _begins_rows(window: _Window, key: str) -> bool:
    """Whether a list of rows begins here. Lists of lists under other names may be columns that hold lists."""
    if window.skip() != "[":
        return False
    first = BLANKS.match(window.text, window.position + 1).end()
    sign = window.text[first : first + 1]
    return sign == "{" or (sign == "[" and key.lower() in WRAPPERS)


def _named(key: str, rows: Iterable[dict | BadRecord]) -> Iterator[dict | BadRecord]:
    """Rows of the list `key`, with the split that it is, or its name where that may say something."""
    split = parse_split(key)
    about = {SPLIT: split} if split else {} if key.lower() in WRAPPERS else {LIST_COLUMN: key}
    for row in rows:
        yield {**row, **about} if type(row) is not BadRecord else row


def _by_key(objects: Mapping[str, object]) -> Iterator[dict | BadRecord]:
    for key, value in objects.items():
        if isinstance(value, dict):
            yield {KEY_COLUMN: key, **value}
        else:
            yield BadRecord(0, printable(json.dumps({key: value}, ensure_ascii=False)), NO_OBJECT)


def _streamed_by_key(window: _Window) -> Iterator[dict | BadRecord]:
    while window.skip(SEPARATORS) == '"':
        try:
            yield from _by_key({window.key(): window.value()})
        except _Broken as broken:
            yield BadRecord(0, printable(window.text[window.position :][:1000]), broken.reason)
            return


def _held_rows(held: Mapping[str, object]) -> Iterator[dict | BadRecord]:
    """The rows of an object that was read as a whole."""
    parts = {key: value for key, value in held.items() if isinstance(value, dict | list) and value}
    lists = {key: value for key, value in parts.items() if isinstance(value, list)}
    objects = {key: value for key, value in parts.items() if isinstance(value, dict)}
    rows = {key: value for key, value in lists.items() if isinstance(value[0], dict)}
    if parts and all(map(parse_split, parts)):
        for key, value in parts.items():
            yield from _named(key, _rows(value) if isinstance(value, list) else _held_rows(value))
    elif len(lists) > 1 and len({len(value) for value in lists.values()}) == 1 and not rows:
        yield from _columns(lists)
    elif rows or any(isinstance(value[0], list) for value in lists.values()):
        for key, value in (rows or lists).items():
            yield from _named(key, _rows(value, tuple(map(str, held.get("columns") or ()))))
    elif lists and all(isinstance(text, str) for value in lists.values() for text in value):
        for key, value in lists.items():
            yield from ({"text": text, LIST_COLUMN: key} if len(lists) > 1 else {"text": text} for text in value)
    elif objects and _are_columns(objects):
        yield from _columns(objects)
    elif len(objects) == 1 and not all(map(str.isdecimal, objects)):
        yield from _held_rows(next(iter(objects.values())))
    elif objects:
        yield from _by_key(objects)
    else:
        yield BadRecord(0, printable(json.dumps(held, ensure_ascii=False)), NO_RECORDS)


def _are_columns(objects: Mapping[str, Mapping]) -> bool:
    """Whether these are columns, as pandas writes them, each with its values by the number of the row."""
    indexes = [list(column) for column in objects.values()]
    if any(index != indexes[0] for index in indexes[1:]) or all(map(str.isdecimal, objects)):
        return False
    return all(map(str.isdecimal, indexes[0])) or len(indexes[0]) > max(len(objects), 8)


def _columns(columns: Mapping[str, Mapping | Sequence]) -> Iterator[dict]:
    values = [column.values() if isinstance(column, Mapping) else column for column in columns.values()]
    return (dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True))
