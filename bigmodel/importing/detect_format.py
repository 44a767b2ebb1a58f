"""What a file is, found by looking at its content: kind, encoding, delimiter. Its name is the last thing believed."""

from __future__ import annotations

import json
import re
import time
import zlib
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import open_source
from bigmodel.core.words import Words, _
from bigmodel.importing.formats import (
    csv_json,
    image_folder,
    parallel_text,
    plain_text,
    sharded_tables,
    text_form,
    zip_archive,
)
from bigmodel.importing.formats.encodings import SAMPLE_BYTES, detect_encoding
from bigmodel.importing.formats.folder_labels import NO_FOLDER_LABELS, FolderLabels, infer_folder_labels
from bigmodel.importing.formats.header import has_header
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.formats.text_lines import CHUNK_BYTES, GZIP, WIDE_ENCODINGS, open_stream
from bigmodel.importing.import_plan import DELIMITERS

COUNTED_BYTES = 2**30  # of parallel files up to which their lines are counted at the first look
ASCII_SCAN_SECONDS = 3.0  # for which a sign that is no ASCII is looked for
SAVE_AS = _("Save it as CSV or JSON lines, and give that.")
ZIP_IMAGE_FOLDERS = _("Put the pictures of each class into a folder of its own, and pack the folders as a ZIP archive.")
ZIP_IT = _("Pack the files as a ZIP archive, or give them unpacked.")
NOT_DATA = _("Give the data that a model is to learn from.")
# first bytes -> (what it is, what to do)
UNSUPPORTED_SIGNATURES: tuple[tuple[bytes, Words, Words], ...] = (
    (b"%PDF", _("This is a PDF."), _("Copy its text into a text file, and give that.")),
    (b"\xd0\xcf\x11\xe0", _("This is a file of an old Office program."), SAVE_AS),
    (b"7z\xbc\xaf\x27\x1c", _("This is a 7z archive."), ZIP_IT),
    (b"Rar!", _("This is a RAR archive."), ZIP_IT),
    (b"BZh", _("This is packed by bzip2."), ZIP_IT),
    (b"\xfd7zXZ", _("This is packed by xz."), ZIP_IT),
    (b"\x28\xb5\x2f\xfd", _("This is packed by zstd."), ZIP_IT),
    (b"SQLite format 3", _("This is an SQLite database."), _("Export the table as CSV, and give that.")),
    (b"\x7fELF", _("This is a program."), NOT_DATA),
    (b"MZ", _("This is a program."), NOT_DATA),
    (b"\x93NUMPY", _("This is an array of NumPy."), SAVE_AS),
    (b"\x89HDF", _("This is an HDF5 file."), SAVE_AS),
    (b"ARROW1", _("This is an Arrow file."), _("Write it as Parquet, and give that.")),
    (b"GGUF", _("These are a model's weights."), NOT_DATA),
    (b"\x89PNG", _("This is one picture."), ZIP_IMAGE_FOLDERS),
    (b"\xff\xd8\xff", _("This is one picture."), ZIP_IMAGE_FOLDERS),
    (b"GIF8", _("This is one picture."), ZIP_IMAGE_FOLDERS),
    (b"II*\x00", _("This is one picture."), ZIP_IMAGE_FOLDERS),
    (b"MM\x00*", _("This is one picture."), ZIP_IMAGE_FOLDERS),
    (b"OggS", _("This is a sound."), _("Sounds cannot be learnt here yet.")),
    (b"ID3", _("This is a sound."), _("Sounds cannot be learnt here yet.")),
    (b"fLaC", _("This is a sound."), _("Sounds cannot be learnt here yet.")),
)


@dataclass(frozen=True)
class DetectedFormat:
    """How a file is to be opened, and why we think so. tables: the files of an archive that could be read instead.
    folders: what those say in which pictures or texts lie."""

    format: str
    encoding: str = "utf-8"
    delimiter: str = ","
    header: bool = True
    unit: str = "lines"
    member: str = ""
    labels: str = ""
    tables: tuple[str, ...] = ()
    folders: FolderLabels = NO_FOLDER_LABELS
    evidence: tuple[Words, ...] = ()


def detect_format(path: Path, name: str, member: str = "") -> DetectedFormat:
    """Refusal for what is none of the kinds that can be read. `member`: a file inside an archive that a person chose."""
    if path.is_dir():
        return _detect_folder(path)
    size = path.stat().st_size
    if size == 0:
        raise Refusal(_("The file is empty."), do=_("Give a file with data in it."))
    with open_source(path) as file:
        first = file.read(512)
    if first.startswith(b"PK\x03\x04") or (first.startswith(b"PK") and zip_archive.is_zip(path)):
        return _detect_archive(path, member)
    if first.startswith(b"PAR1"):
        return DetectedFormat("parquet", evidence=(_("It begins as Parquet files do."),))
    packed = first.startswith(b"\x1f\x8b")
    _refuse_unsupported(first)
    inner = re.sub(r"\.gz$", "", name, flags=re.I)
    try:
        sample, whole = _sample(path, GZIP if packed else "")
    except (OSError, EOFError, zlib.error) as error:
        what = _("This packed file cannot be read: {reason}.", reason=str(error)[:200])
        raise Refusal(what, do=_("Pack it again, or give it unpacked.")) from error
    kind = detect_text_format(sample, inner, whole, _read_non_ascii(path, GZIP if packed else "", sample, whole))
    if kind.format == "text" and path.name == name and (others := parallel_text.translations_of(path)):
        said = _("Beside it lies {names}: give both files, or the folder, and their lines become translations.",
                 names=", ".join(others)[:200])  # fmt: skip
        kind = replace(kind, evidence=(*kind.evidence, said))
    if not packed:
        return kind
    return replace(kind, member=GZIP, evidence=(_("It is packed by gzip."), *kind.evidence))


def _sample(path: Path, member: str) -> tuple[bytes, bool]:
    """The first megabyte, and whether that is all; of a packed file that breaks off what comes before."""
    data = b""
    with open_stream(path, member, [0]) as file:
        try:
            while len(data) <= SAMPLE_BYTES and (piece := file.read1(2**16)):
                data += piece
        except (*zip_archive.ARCHIVE_ERRORS, EOFError):
            if not data:
                raise
    return data[:SAMPLE_BYTES], len(data) <= SAMPLE_BYTES


def _read_non_ascii(path: Path, member: str, sample: bytes, whole: bool) -> bytes:
    """Where the first megabyte is plain ASCII, which says nothing of the encoding: the first one that is not. b'' where
    none comes in time."""
    if whole or not sample.isascii() or b"\0" in sample:
        return b""
    data, until = b"", time.monotonic() + ASCII_SCAN_SECONDS
    with open_stream(path, member, [0]) as file:
        try:
            while len(data) < SAMPLE_BYTES and time.monotonic() < until and (piece := file.read1(CHUNK_BYTES)):
                data += b"" if not data and piece.isascii() else piece
        except (*zip_archive.ARCHIVE_ERRORS, EOFError):
            pass  # the part that can be read says what it says
    return data[:SAMPLE_BYTES]


def _refuse_unsupported(first: bytes) -> None:
    for mark, what, do in UNSUPPORTED_SIGNATURES:
        if first.startswith(mark):
            raise Refusal(what, do=do)
    if first[257:262] == b"ustar":
        raise Refusal(_("This is a tar archive."), do=ZIP_IT)
    if first[:4] == b"RIFF":
        if first[8:12] == b"WEBP":
            raise Refusal(_("This is one picture."), do=ZIP_IMAGE_FOLDERS)
        raise Refusal(_("This is a sound."), do=_("Sounds cannot be learnt here yet."))
    if first[4:8] == b"ftyp" and first[8:12] in (b"heic", b"heix", b"mif1", b"msf1", b"avif", b"avis"):
        raise Refusal(_("This is one picture."), do=ZIP_IMAGE_FOLDERS)
    if re.match(rb"\x80[\x02-\x05][\x95\x8a}\]cK(qXU]", first):
        what = _("This is a Python pickle.")
        raise Refusal(what, _("Opening one can run any program, so it is never done here."), SAVE_AS)
    if len(first) > 16 and first[8:10] == b'{"' and int.from_bytes(first[:8], "little") < 10**8:
        raise Refusal(_("These are a model's weights."), do=NOT_DATA)


# -- archives and folders ------------------------------------------------------------------------------
def _detect_archive(path: Path, chosen: str) -> DetectedFormat:
    with zip_archive.open_zip(path) as packed:
        found = zip_archive.entries(packed)
        names = [entry.name for entry in found]
        if not found:
            raise Refusal(_("The archive is empty."), do=_("Give a file with data in it."))
        if "[Content_Types].xml" in packed.namelist():
            raise Refusal(_("This is a document of an Office program."), do=SAVE_AS)
        if any(name.endswith("data.pkl") for name in names):
            raise Refusal(_("These are a model's weights."), do=NOT_DATA)
        shown = [entry for entry in found if image_folder.is_picture(entry.name)]
        tables = tuple(name for name in names if name.lower().endswith(TABLE_EXTENSIONS))
        if chosen and chosen not in names:
            raise Refusal(_("The archive holds no file {name}.", name=chosen[:200]), do=_("Choose another file."))
        if shown and not chosen:
            return _detect_images([entry.name for entry in shown])
        parallel = None if chosen else _detect_parallel(path, {entry.name: entry.size for entry in found})
        if parallel is not None:
            return parallel
        if not tables and not chosen:
            what = _("The archive holds no data that can be read: {names}.", names=", ".join(names[:5])[:200])
            raise Refusal(what, do=_("Put pictures, or a table as CSV, JSON or text into it."))
        written = plain_text.without_notes([name for name in tables if name.lower().endswith(plain_text.EXTENSIONS)])
        if not chosen and len(written) > 1 and len(written) > len(names) / 2:
            texts = [entry for entry in found if entry.name in written]
            return _detect_text_files(path, {entry.name: entry.size for entry in texts})
        member = chosen or max((entry for entry in found if entry.name in tables), key=lambda entry: entry.size).name
        why = zip_archive.unreadable_reason(next(entry for entry in found if entry.name == member))
        if why is not None:
            raise Refusal(
                _("{name} cannot be read.", name=member[:200]), why, _("Pack it again, or give the files themselves.")
            )
    if member.lower().endswith(".parquet"):
        raise Refusal(_("The archive holds a Parquet file."), do=_("Give the Parquet file itself."))
    try:
        sample, whole = _sample(path, member)
    except zip_archive.ARCHIVE_ERRORS as error:
        what = _("This ZIP archive cannot be read: {reason}.", reason=str(error)[:200] or type(error).__name__)
        raise Refusal(what, do=_("Pack it again, or give the files themselves.")) from error
    if not sample:
        raise Refusal(_("The file is empty."), do=_("Give a file with data in it."))
    kind = detect_text_format(sample, member, whole, _read_non_ascii(path, member, sample, whole))
    said = _("The archive holds {name}.", name=member[:200])
    return replace(kind, member=member, tables=tables, evidence=(said, *kind.evidence))


TABLE_EXTENSIONS = tuple(
    [".csv", ".tsv", ".jsonl", ".ndjson", ".json", *plain_text.EXTENSIONS, ".po", ".xliff", ".xlf", ".tmx", ".tab"]
)


def _detect_images(names: list[str]) -> DetectedFormat:
    """What names their classes is found by reading: see `picture_labels`."""
    said = (_("It holds {count} pictures.", count=len(names)),)
    return DetectedFormat("pictures", folders=infer_folder_labels(names), evidence=said)


def _detect_parallel(path: Path, sizes: Mapping[str, int]) -> DetectedFormat | None:
    """sizes: bytes of every file by name. None where files of several languages are not most of what is there."""
    groups = parallel_text.find_parallel_files(list(sizes))
    read = [name for group in groups for name in group.files.values()]
    if not groups or sum(sizes[name] for name in read) < sum(sizes.values()) / 2:
        return None
    evidence = []
    for group in groups if sum(sizes[name] for name in read) <= COUNTED_BYTES else ():
        counts = parallel_text.count_lines(path, group)
        if min(counts.values()) < max(counts.values()) / 2 and not group.language_is_ending:
            return None  # texts of two languages that are not paired by line
        parallel_text.refuse_unequal(counts)
        evidence.append(
            _("Lines of {name}: {count} in each language.", name=group.name[-200:], count=max(counts.values()))
        )
    languages = ", ".join(groups[0].languages)
    said = _("It holds {count} files in {languages}, whose lines translate each other: {names}.",
             count=len(read), languages=languages, names=", ".join(read[:8]) + (" ..." if len(read) > 8 else ""))  # fmt: skip
    return DetectedFormat("parallel", evidence=(said, *evidence[:8]))


def _detect_text_files(path: Path, sizes: Mapping[str, int]) -> DetectedFormat:
    """sizes: bytes by name."""
    names = sorted(sizes, key=natural_key)
    evidence = [_("It holds {count} text files.", count=len(names))]
    folders, unit = infer_folder_labels(names), "files"
    if len(folders.class_names) < 2:
        unit, reason = text_form.detect_collection_unit(names, list(sizes.values()), _text_sample(path, names[0]))
        evidence += [reason] if reason else []
    return DetectedFormat("text", unit=unit, folders=folders, evidence=tuple(evidence))


def _text_sample(path: Path, name: str) -> str:
    """The beginning of a file of a folder or an archive; '' where it is no text."""
    try:
        sample, _whole = _sample(*((path / name, "") if path.is_dir() else (path, name)))
        return sample.decode(detect_encoding(sample)[0], "replace") if sample else ""
    except (*zip_archive.ARCHIVE_ERRORS, Refusal):
        return ""


def _detect_folder(path: Path) -> DetectedFormat:
    shown, written = image_folder.names(path), plain_text.list_text_files(path)
    tables = sharded_tables.shard_files(path)
    if (most := max(map(len, (shown, written, tables)))) > limits.ARCHIVE_FILES:
        what = _("The folder holds {count} files.", count=most)
        raise Refusal(what, do=_("Give at most {maximum}.", maximum=limits.ARCHIVE_FILES))
    if shown:
        return _detect_images(shown)
    sizes = {name: (path / name).stat().st_size for name in parallel_text.list_names(path)}
    parallel = _detect_parallel(path, sizes)
    if parallel is not None:
        return parallel
    if tables and _total_bytes(tables) >= _total_bytes(written):  # beside tables there may be a file that tells of them
        return _detect_tables(path, tables)
    if written:
        return _detect_text_files(path, {one.relative_to(path).as_posix(): one.stat().st_size for one in written})
    what = _("The folder holds neither pictures nor text files nor tables.")
    raise Refusal(what, do=_("Name a file, or another folder."))


def _total_bytes(files: list[Path]) -> int:
    return sum(file.stat().st_size for file in files)


def _detect_tables(folder: Path, files: list[Path]) -> DetectedFormat:
    """Read as the first of them is."""
    kind = detect_format(files[0], files[0].name)
    said = [_("It holds {count} files of this kind, read one after the other: {names}.", count=len(files),
              names=_listed(folder, files))]  # fmt: skip
    others = [list_table for list_table in sharded_tables.list_tables(folder) if list_table not in set(files)]
    if others:
        said.append(_("Other tables in it are not read: {names}.", names=_listed(folder, others)))
    return replace(kind, member="", tables=(), evidence=(*kind.evidence, *said))


def _listed(folder: Path, files: list[Path]) -> str:
    named = [file.relative_to(folder).as_posix() for file in files]
    return ", ".join(named[:8]) + (" ..." if len(named) > 8 else "")


# -- text ------------------------------------------------------------------------------------------------
def detect_text_format(sample: bytes, name: str, whole: bool, further: bytes = b"") -> DetectedFormat:
    """The kind of a file of text by its first megabyte. `whole`: that is all of it; `further`: what says more of its
    encoding."""
    encoding, said = detect_encoding(sample)
    if further:
        with suppress(Refusal):  # what is no text comes later than the rows that are
            later, why = detect_encoding(further, sample)
            encoding, said = (encoding, said) if later.startswith(WIDE_ENCODINGS) else (later, why)
    text = sample.decode(encoding, "replace")
    text = re.sub(r"^\ufeff+", "", text, flags=re.MULTILINE)
    if not whole:  # the last line is most likely cut
        text = text[: text.rfind("\n") + 1] or text
    if not text.strip():
        raise Refusal(_("The file is empty."), do=_("Give a file with data in it."))
    begin = text.lstrip()[:2000]
    if re.match(r"<!doctype html|<html", begin, re.I):
        raise Refusal(_("This is a web page."), do=_("Copy its text into a text file, and give that."))
    if begin.startswith("{\\rtf"):
        raise Refusal(_("This is a file of a word processor."), do=_("Save it as plain text, and give that."))
    kind = (
        _detect_xml(text)
        or _detect_json(text, name, whole)
        or _detect_po(text)
        or _detect_csv(text, name)
        or _detect_plain_text(text, name)
    )
    return replace(kind, encoding=encoding, evidence=(*kind.evidence, *said))


# what may come before the first element of XML, however much it is
XML_PROLOG = re.compile(r"(?:\s+|<\?.*?\?>|<!--.*?-->|<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>)*", re.DOTALL)


def _detect_xml(text: str) -> DetectedFormat | None:
    begin = text.lstrip()[:6]
    if not begin.startswith("<"):
        return None
    root = text[XML_PROLOG.match(text).end() :][:2000]
    for format in ("tmx", "xliff"):
        if re.search(rf"<{format}[\s>]", root):
            return DetectedFormat(format, evidence=(_("It begins as {format} files do.", format=format.upper()),))
    if begin.startswith("<?xml"):
        what = _("This is XML, but neither TMX nor XLIFF.")
        raise Refusal(what, do=_("Save the data as CSV or JSON lines, and give that."))
    return None


def _detect_json(text: str, name: str, whole: bool) -> DetectedFormat | None:
    begin = text.lstrip()[:1]
    if begin not in ("{", "["):
        return None
    lines = [line for line in text.splitlines() if line.strip()][:200]
    objects = sum(_is_object(line) for line in lines)
    several = len(lines) > 1 or (
        name.lower().endswith((".jsonl", ".ndjson")) and objects and not _holds_rows(json.loads(text))
    )
    if objects >= max(1, 0.5 * len(lines)) and several:
        said = _("{count} of its first {lines} lines are JSON objects.", count=objects, lines=len(lines))
        return DetectedFormat("jsonl", evidence=(said,))
    if re.match(r'\s*\[\s*[\{\]]|\s*\{\s*"(?:[^"\\]|\\.){0,100}"\s*:\s*\[\s*\{', text):
        return DetectedFormat("json", evidence=(_("It begins as a JSON list of objects does."),))
    if begin == "{" and len(lines) > 1 and sum(line.lstrip().startswith('{"') for line in lines) > 0.8 * len(lines):
        return DetectedFormat("jsonl", evidence=(_("Its lines begin as JSON objects do."),))
    if whole and _is_json(text) and not _holds_rows(json.loads(text)):
        raise Refusal(
            _("This is JSON, but no list of objects."),
            do=_("Give a list of objects with the same names, or an object a line."),
        )
    if re.match(r"\s*(\[\s*)?\{\s*'[^']*'\s*:", text):
        what = _("These are dictionaries as Python prints them, which is no JSON.")
        raise Refusal(what, do=_("Write them by {function}, and give that.", function="json.dumps"))
    return _detect_json_document(text)


def _holds_rows(value: object) -> bool:
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    kinds = (dict, list) if isinstance(value, dict) else (dict, list, str)
    return any(isinstance(part, kinds) for part in values)


NESTED_TOO_DEEPLY = re.compile(r"(?:\s*\[){200}")
JSON_BEGINS = re.compile(r'\s*(?:\{\s*"(?:[^"\\]|\\.){0,500}"\s*:\s*(?=[\[{"\dtfn-])|\[\s*(?=[\["]))')
JSON_GOES_ON = re.compile(r"\s*(?:[,\]}]|$)")


def _detect_json_document(text: str) -> DetectedFormat | None:
    """JSON of another shape than a list of objects, by its first value: prose has braces and brackets, too."""
    begins = JSON_BEGINS.match(text)
    if begins is None or NESTED_TOO_DEEPLY.match(text):  # whatever Python's own limit is in this process
        return None
    try:
        _value, end = json.JSONDecoder().raw_decode(text, begins.end())
        is_json = bool(JSON_GOES_ON.match(text, end))
    except json.JSONDecodeError as error:  # or more of it than was read
        is_json = error.pos >= len(text) - 64 or error.msg.startswith("Unterminated string")
    except RecursionError:
        is_json = False
    return DetectedFormat("json", evidence=(_("It begins as JSON does."),)) if is_json else None


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _detect_po(text: str) -> DetectedFormat | None:
    count = len(re.findall(r'^msgid "', text, re.M))
    if count and len(re.findall(r'^msgstr(?:\[\d\])? "', text, re.M)) >= count / 2:
        return DetectedFormat("po", evidence=(_("It has {count} entries of the form `msgid`, `msgstr`.", count=count),))
    return None


def _detect_csv(text: str, name: str) -> DetectedFormat | None:
    """A delimiter that cuts most lines into the same number of fields. A file that is not called a table must be one
    more clearly: prose has commas too."""
    ending = name.lower().rsplit(".", 1)[-1]
    called = ending in ("csv", "tsv", "tab", "psv")
    stated = csv_json.SEPARATOR_LINE.fullmatch(text.split("\n", 1)[0])
    if stated:
        text, called = text.partition("\n")[2], True
    asked = [stated[1]] if stated and stated[1] in DELIMITERS else [one for one in DELIMITERS if one]
    best = max((_score_delimiter(text, delimiter) for delimiter in asked), key=lambda one: one[1:])
    delimiter, good, fields, lines = best
    enough = 0.5 if called else 0.95
    rows_needed = 1 if called else 4
    if fields < 2 or good < enough or lines < rows_needed or (not called and delimiter != "\t" and _is_prose(text)):
        return _one_column(text) if called else None
    rows = _rows(text, delimiter, csv_json.PEEKED_LINES)
    header = has_header([row[:fields] for row in rows[:200]], fields) and len(rows[0]) == fields
    said = _("With the {delimiter} as delimiter {count} % of its first {lines} rows have {fields} fields.",
             delimiter=DELIMITERS[delimiter], count=round(100 * good), lines=lines, fields=fields)  # fmt: skip
    first = _("The first row names the columns.") if header else _("The first row is data like the others.")
    evidence = [_("Its first line names the delimiter: {line}.", line=stated[0].strip())] if stated else []
    evidence += [said, first]
    overflow = csv_json.OverflowColumn.infer(rows, delimiter, header)
    if overflow:
        evidence.append(_("Rows have more delimiters than columns: what is over belongs to the column {name}.",
                          name=overflow.name))  # fmt: skip
    return DetectedFormat("csv", delimiter=delimiter, header=header, evidence=tuple(evidence))


def _one_column(text: str) -> DetectedFormat:
    rows = _rows(text, "", 200)
    header = bool(rows) and has_header(rows, 1)
    return DetectedFormat("csv", delimiter="", header=header, evidence=(_("It has one column."),))


def _rows(text: str, delimiter: str, count: int) -> list[list[str]]:
    return csv_json.rows_of(text.splitlines(keepends=True)[: 50 * count], delimiter)[:count]


def _score_delimiter(text: str, delimiter: str) -> tuple[str, float, int, int]:
    """(delimiter, share of rows with as many fields, fields, rows): the commonest number, or that of a header below
    which a column holds delimiters."""
    rows = _rows(text, delimiter, 300)
    for header in (True, False):
        overflow = csv_json.OverflowColumn.infer(rows, delimiter, header)
        if overflow and has_header([row[: len(rows[0])] for row in rows], len(rows[0])) == header:
            return delimiter, 1.0, len(overflow.values), len(rows)
    counted = Counter(len(row) for row in rows)
    fields, count = max(counted.items(), key=lambda item: (item[1] if item[0] > 1 else 0, item[0]), default=(0, 0))
    return (delimiter, count / max(len(rows), 1) if fields > 1 else 0.0, fields, len(rows))


def _is_prose(text: str) -> bool:
    """Commas with a blank after them, lines that end in full stops."""
    lines = [line.strip() for line in text.splitlines()[:300] if line.strip()]
    return sum(line.endswith((".", "!", "?", "。", "！", "？", "”", '."')) for line in lines) > 0.5 * len(lines)


JSON_LINE = re.compile(r"""[\s\[\]{},]*[\[\]{}][\s\[\]{},]*|\s*"(?:[^"\\]|\\.)*"\s*:.*[,\[{"\d]\s*""")


def _refuse_broken_json(text: str) -> None:
    """Lines of braces and quoted keys are no texts to learn from, wherever the JSON that they come from is broken."""
    lines = [line for line in text.splitlines() if line.strip()][:200]
    if sum(bool(JSON_LINE.fullmatch(line)) for line in lines) <= 0.5 * len(lines):
        return
    what = _("This looks like JSON, but does not begin as JSON does: {line}.", line=lines[0].strip()[:60])
    raise Refusal(what, do=_("Save it as JSON anew, with nothing before or between the objects, and give that."))


def _detect_plain_text(text: str, name: str) -> DetectedFormat:
    _refuse_broken_json(text)
    unit, reason = text_form.detect_unit(text, markdown=name.lower().endswith((".md", ".markdown")))
    return DetectedFormat("text", unit=unit, evidence=(reason,))
