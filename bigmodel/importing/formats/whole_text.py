"""A whole text, such as a book, as rows: pieces that give the text again when they are put together, split at two places.

A piece whose number follows directly on another's goes on where that one ends; where a text ends, one number is left out.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from bigmodel.core.words import _
from bigmodel.importing.formats.bad_record import BadRecord, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.text_lines import NOT_TEXT, WIDE_ENCODINGS, lines

PIECE_CHARACTERS = 2_000  # of a row: what a person reads at a time
MAX_PIECE_CHARACTERS = 4 * PIECE_CHARACTERS  # where no line ends
END_OF_TEXT = "<|endoftext|>"  # a line that some corpora put between texts
DOS_END_OF_FILE = "\x1a"


def read_pieces(file: BinaryIO, encoding: str) -> Iterator[str | BadRecord | None]:
    """Pieces that end where a line does; None where a text ends. A line that is no text is set aside by its number."""
    decoder = codecs.getincrementaldecoder("utf-8" if encoding.startswith(WIDE_ENCODINGS) else encoding)()
    text, number = "", 0
    for line in lines(file, encoding, split_long=True):
        if type(line) is BadRecord:  # the rest of the file cannot be read
            yield from _cut(text)
            yield line
            return
        raw, text_before = line[1], text
        ends = raw.endswith(b"\n")
        number += ends
        try:
            decoded = decoder.decode(raw, final=ends)
        except UnicodeError:
            decoder.reset()
            yield from _cut(text_before)
            yield BadRecord(number or 1, printable(raw.rstrip(b"\r\n"), encoding), NOT_TEXT)
            text = ""
            continue
        decoded = decoded.replace("\r\n", "\n").replace(DOS_END_OF_FILE, "")
        if decoded.strip() == END_OF_TEXT:
            yield from _cut(text)
            yield None
            text = ""
            continue
        if len(text) >= PIECE_CHARACTERS and decoded.strip():  # blank lines stay with what stands before them
            yield from _cut(text)
            text = ""
        text += decoded
        if len(text) > MAX_PIECE_CHARACTERS:
            *whole, text = _cut(text)
            yield from whole
    yield from _cut(text)


def _cut(text: str) -> Iterator[str]:
    """A text without line ends cut after blanks, else anywhere."""
    while len(text) > MAX_PIECE_CHARACTERS:
        end = text.rfind(" ", PIECE_CHARACTERS, MAX_PIECE_CHARACTERS) + 1 or MAX_PIECE_CHARACTERS
        yield text[:end]
        text = text[end:]
    if text.strip():
        yield text


def number_pieces(pieces: Iterator[str | BadRecord | None], number: int, columns: Mapping) -> Iterator[Record]:
    """Records of pieces, numbered from the one after `number`; what is set aside has a number, too."""
    for piece in pieces:
        if type(piece) is BadRecord:
            number += 1
            yield replace(piece, row=number, reason=_("Line {line}: {reason}", line=piece.row, reason=piece.reason))
        elif piece is None:
            number += 1
        else:
            number += 1
            yield number, {"text": piece, **columns}


def count_characters(rows: Iterator[tuple[int, dict] | BadRecord]) -> Counter:
    """Of each split that rows name; '' for those that name none."""
    counted: Counter = Counter()
    for row in rows:
        if type(row) is not BadRecord:
            counted[row[1]["split"]] += len(row[1]["text"])
    return counted


def split_by_place(
    rows: Iterator[tuple[int, dict] | BadRecord], counted: Mapping[str, int], shares: tuple[float, float]
) -> Iterator[tuple[int, dict] | BadRecord]:
    """The beginning is for training, what comes then for validation, the end for the test; to the character, as
    `shares` say. Splits that rows name stay; what is missing is taken off the end of the training text."""
    total = counted.get("", 0) + counted.get("train", 0)
    validation, test = (0.0 if counted.get(name) else share
                        for name, share in zip(("validation", "test"), shares, strict=True))  # fmt: skip
    bounds = [int(total * round(1 - validation - test, 6)), int(total * round(1 - test, 6)), total]
    position = added = 0
    for row in rows:
        if type(row) is BadRecord:
            yield replace(row, row=row.row + added)
            continue
        number, cells = row
        if cells["split"] not in ("", "train"):
            yield number + added, cells
            continue
        text, parts = cells["text"], []
        for end, split in zip(bounds, ("train", "validation", "test"), strict=True):
            part, text = text[: max(end - position, 0)], text[max(end - position, 0) :]
            position += len(part)
            if part:
                parts.append((part, split))
        for part, split in parts:
            yield number + added, {**cells, "text": part, "split": split}
            added += 1
        added -= 1
