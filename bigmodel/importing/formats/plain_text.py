"""Records of plain text and Markdown: a line, a paragraph, a section, a file or a piece of a whole text each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import list_files, open_source
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import folder_labels, whole_text, zip_archive
from bigmodel.importing.formats.bad_record import BadRecord, cell_text, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.encodings import SAMPLE_BYTES, detect_encoding
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.formats.text_form import MARKDOWN_HEADING
from bigmodel.importing.formats.text_lines import NOT_TEXT, check_decompression_ratio, decode_line, lines, open_stream
from bigmodel.importing.import_plan import CONTINUOUS_UNITS, splits_in_names

NOTES = re.compile(r"(?:readme|licen[cs]e|copying|changelog|authors)\b", re.IGNORECASE)
TOO_LONG = _("It has more than {maximum} characters.", maximum=limits.CELL_CHARACTERS)
TOO_LARGE = _("It has more than {maximum} MB.", maximum=limits.LINE_BYTES // 2**20)
NOT_TEXT_FILE = _("It is no text in an encoding that is known here.")
EXTENSIONS = (".txt", ".md", ".markdown", ".text", ".tokens", ".raw")  # the last two: of WikiText


def read_text(file: BinaryIO, encoding: str, unit: str) -> Iterator[Record]:
    """(line where it begins, {"text"}). A line that is no text is set aside and ends nothing."""
    if unit in CONTINUOUS_UNITS:
        yield from whole_text.number_pieces(whole_text.read_pieces(file, encoding), 0, {})
        return
    if unit == "lines":
        yield from _lines(file, encoding)
        return
    begun, parts, size = 0, [], 0
    for found in lines(file, encoding):
        line = None if type(found) is BadRecord else decode_line(found[1], encoding)
        if line is None:
            yield found if type(found) is BadRecord else _undecodable_line(*found, encoding)
            continue
        blank = not line.strip()
        ends = bool(MARKDOWN_HEADING.match(line)) if unit == "sections" else blank
        if ends and parts:
            yield _joined_record(begun, parts)
            parts, size = [], 0
        if blank and not parts:
            continue
        if not parts:
            begun = found[0]
        if size <= limits.CELL_CHARACTERS:  # beyond it nothing is kept that would be refused anyway
            parts.append(line)
        size += len(line)
    if parts:
        yield _joined_record(begun, parts)


def _lines(file: BinaryIO, encoding: str) -> Iterator[Record]:
    for found in lines(file, encoding):
        if type(found) is BadRecord:
            yield found
            continue
        line = decode_line(found[1], encoding)
        if line is None:
            yield _undecodable_line(*found, encoding)
        elif line.strip():
            yield found[0], {"text": line.rstrip()}


def _undecodable_line(number: int, line: bytes, encoding: str) -> BadRecord:
    raw = printable(line.rstrip(b"\r\n"), encoding)
    return BadRecord(number, raw, NOT_TEXT, cells={"text": cell_text(raw)})


def _joined_record(begun: int, parts: list[str]) -> Record:
    text = "".join(parts).replace("\r\n", "\n").rstrip()
    if len(text) > limits.CELL_CHARACTERS:
        return BadRecord(begun, printable(text), TOO_LONG)
    return begun, {"text": text}


def read_files(path: Path) -> Iterator[Record]:
    """(number, {"text", "name", the columns of its folders}) of every text file of a folder or an archive. In a folder,
    those that lie elsewhere by a link are left out."""
    deep = folder_labels.depth(names(path))
    found = _folder_files(path) if path.is_dir() else _archive_files(path)
    for number, name, data in found:
        read = data if isinstance(data, Words) else _decoded(data)
        if isinstance(read, Words):
            yield BadRecord(number, name, read)
        else:
            yield number, {"text": read, **folder_labels.columns(name, deep), "name": name}


def read_collection(path: Path, unit: str, done: list[int]) -> Iterator[Record]:
    """Records of all text files of a folder or an archive, one file after the other, numbered through; `part` is what the
    name of their file says. A text that is joined goes on in the next file, but for the splits."""
    files = names(path)
    last, before, part_before, ends_line = 0, 0, None, True
    for name, part in zip(files, splits_in_names(files), strict=True):
        read = [0]
        joined = unit == "joined" and part == part_before
        if last and unit in CONTINUOUS_UNITS and not joined:
            last += 1  # a number is left out where a text ends
        prefix = "\n" if joined and not ends_line else ""
        for record in _file_records(path, name, part, unit, last, read):
            done[0] = before + read[0]
            if type(record) is BadRecord:
                last = record.row
                yield record
                continue
            last, cells = record
            yield last, {**cells, "text": prefix + cells["text"]}
            prefix, ends_line = "", cells["text"].endswith("\n")
        before, part_before = before + read[0], part


def _file_records(path: Path, name: str, part: str, unit: str, last: int, done: list[int]) -> Iterator[Record]:
    """Numbered from the one after `last`."""
    columns = {"name": name, **({"part": part} if part else {})}
    file_path, member = (path / name, "") if path.is_dir() else (path, name)
    try:
        with open_stream(file_path, member, [0]) as file:
            encoding, _why = detect_encoding(file.read(SAMPLE_BYTES))
    except (*zip_archive.ARCHIVE_ERRORS, Refusal):
        yield BadRecord(last + 1, name, NOT_TEXT_FILE)
        return
    with open_stream(file_path, member, done) as file:
        if unit in CONTINUOUS_UNITS:
            yield from whole_text.number_pieces(whole_text.read_pieces(file, encoding), last, columns)
            return
        for record in read_text(file, encoding, unit):
            if type(record) is BadRecord:
                yield replace(record, row=last + record.row)
            else:
                yield last + record[0], {**record[1], **columns}


def names(path: Path) -> list[str]:
    """Of all text files, with the folders that they lie in, in the order in which people count."""
    if path.is_dir():
        return [file.relative_to(path).as_posix() for file in list_text_files(path)]
    with zip_archive.open_zip(path) as packed:
        files = [entry.name for entry in zip_archive.entries(packed) if entry.name.lower().endswith(EXTENSIONS)]
    return sorted(without_notes(files), key=natural_key)


def without_notes(names: Sequence[str]) -> list[str]:
    """Without what only tells of the data, such as a README; that, where there is nothing else."""
    data = [name for name in names if not NOTES.match(PurePosixPath(name).name)]
    return data or list(names)


def _folder_files(folder: Path) -> Iterator[tuple[int, str, bytes | Words]]:
    for number, path in enumerate(list_text_files(folder), 1):
        with open_source(path) as file:
            data = file.read(limits.LINE_BYTES + 1)
        yield number, path.relative_to(folder).as_posix(), data if len(data) <= limits.LINE_BYTES else TOO_LARGE


def _archive_files(path: Path) -> Iterator[tuple[int, str, bytes | Words]]:
    unpacked = 0
    with zip_archive.open_zip(path) as packed:
        for entry in zip_archive.entries(packed):
            unpacked += entry.size
            check_decompression_ratio(path.stat().st_size, unpacked)
            text = entry.name.lower().endswith(EXTENSIONS)
            data = zip_archive.read(packed, entry, limits.LINE_BYTES) if text else _("It is no text file.")
            yield entry.number, entry.name, data


def _decoded(data: bytes) -> str | Words:
    """The text of a file, in the encoding that it is in."""
    try:
        encoding, _why = detect_encoding(data[:SAMPLE_BYTES])
        return data.decode(encoding).removeprefix("\ufeff").replace("\r\n", "\n").strip()
    except (UnicodeError, Refusal):
        return NOT_TEXT_FILE


def list_text_files(folder: Path) -> list[Path]:
    """In the order in which people count, so that a folder gives the same data wherever it lies."""
    found = (path for path in list_files(folder) if path.suffix.lower() in EXTENSIONS)
    own = [path.relative_to(folder).as_posix() for path in found]
    return [folder / name for name in sorted(without_notes(own), key=natural_key)]
