"""Parallel text: files of one name in several languages, such as train.en and train.de, whose lines translate each other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import BinaryIO

from bigmodel.core import limits
from bigmodel.core.errors import Refusal
from bigmodel.core.safe_open import list_files
from bigmodel.core.words import _
from bigmodel.importing.formats import sharded_tables, zip_archive
from bigmodel.importing.formats.bad_record import BadRecord, cell_text, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.encodings import SAMPLE_BYTES, detect_encoding
from bigmodel.importing.formats.natural_order import natural_key
from bigmodel.importing.formats.text_lines import NOT_TEXT, decode_line, lines, open_gzip, open_stream
from bigmodel.importing.import_plan import split_in_name

# ISO 639-1, the codes of three letters of the largest languages, and what toolkits call the two sides
CODES = (
    "aa ab af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu "
    "fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km "
    "kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om "
    "or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr "
    "ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu cn jp kr cz "
    "ara ben bul cat ces cmn dan deu ell eng est eus fas fin fra glg heb hin hrv hun ind isl ita jpn kat kaz khm kor lao lat lav "
    "lit mal mar mkd mlt mon msa mya nep nld nob nor pan pol por ron rus slk slv spa sqi srp swa swe tam tel tgl tha tur ukr urd "
    "uzb vie yue zho "
    "chinese english french german japanese korean russian spanish italian portuguese "
    "src tgt trg source target"
)
LANGUAGE_CODES = frozenset(CODES.split())
SOURCE_NAMES = ("src", "source")
CODE = re.compile(r"(?<![^\W_])[A-Za-z]{2,10}(?:[_-](?:[A-Z][a-z]{3}|[A-Z]{2}|cn|tw|hk|br)(?![^\W_]))?(?![^\W_])")
TEXT_ENDINGS = (".txt", ".text", ".tok", ".raw", ".snt", ".lines", ".tokens")
MAX_FOLDER_GROUPS = 6  # groups of files whose language is a folder


@dataclass(frozen=True)
class ParallelFiles:
    """Files whose lines belong together. name: what they share, with * for the language.  files: language -> file.
    split: the part that the name says, '' for none."""

    name: str
    files: Mapping[str, str]
    split: str

    @property
    def languages(self) -> tuple[str, ...]:
        return tuple(self.files)

    @property
    def language_is_ending(self) -> bool:
        return self.name.endswith(".*")


def find_parallel_files(names: Sequence[str]) -> list[ParallelFiles]:
    """Groups of files that differ in their language alone; where there are several, in the languages that most have."""
    groups: dict[str, dict[str, str]] = {}
    for name in names:
        bare = _without_packing(name)
        for pattern, code in _patterns(bare):
            groups.setdefault(pattern, {}).setdefault(code, name)
    groups = {pattern: files for pattern, files in groups.items() if len(files) > 1 and _are_texts(pattern)}
    if not groups or sum("*" in pattern.rpartition("/")[0] for pattern in groups) > MAX_FOLDER_GROUPS:
        return []  # folders that are called as languages and hold many files are classes
    shared = lambda codes: sum(codes <= set(files) for files in groups.values())  # noqa: E731
    common = max((set(files) for files in groups.values()), key=lambda codes: (shared(codes), len(codes)))
    return [_parallel_files(pattern, {code: groups[pattern][code] for code in common})
            for pattern in sorted(groups, key=natural_key) if common <= set(groups[pattern])]  # fmt: skip


def _are_texts(pattern: str) -> bool:
    """Whether the language is the ending, or stands before one of a text or none."""
    ending = re.search(r"\.[^./*]*$", pattern)
    return ending is None or ending[0].lower() in TEXT_ENDINGS or split_in_name(ending[0]) != ""


def _without_packing(name: str) -> str:
    return re.sub(r"\.gz$", "", name, flags=re.IGNORECASE)


def _patterns(name: str) -> Iterator[tuple[str, str]]:
    """(the name with * in the place of a language, the language), for each word that names one, and for all of one."""
    matches = [match for match in CODE.finditer(name) if re.split(r"[_-]", match[0])[0].lower() in LANGUAGE_CODES]
    for match in matches:
        yield f"{name[: match.start()]}*{name[match.end() :]}", match[0]
    for code in {match[0] for match in matches}:
        if sum(match[0] == code for match in matches) > 1:
            yield re.sub(rf"(?<![^\W_]){re.escape(code)}(?![^\W_])", "*", name), code


def _parallel_files(name: str, files: Mapping[str, str]) -> ParallelFiles:
    """In the order of a pair that the name itself gives, as in europarl.de-en.*; else the source, English, the others."""
    pair = [match[0] for match in CODE.finditer(name)]

    def order(code: str) -> tuple:
        return (code not in SOURCE_NAMES, pair.index(code) if code in pair else len(pair),
                code.lower()[:2] != "en", code)  # fmt: skip

    ordered = {code: files[code] for code in sorted(files, key=order)}
    return ParallelFiles(name, ordered, split_in_name(name))


def translations_of(path: Path) -> list[str]:
    """The files beside a file that differ from it in their language alone."""
    others = [other.name for other in path.parent.iterdir() if other.is_file()]
    groups = find_parallel_files(others) if len(others) <= limits.ARCHIVE_FILES else []
    return [name for group in groups if path.name in group.files.values()
            for name in group.files.values() if name != path.name]  # fmt: skip


def list_names(path: Path) -> list[str]:
    """Of every file that could be text in a folder or an archive."""
    if path.is_dir():
        named = (file.relative_to(path) for file in list_files(path))
        return sorted(file.as_posix() for file in named if not any(part.startswith(".") for part in file.parts))
    with zip_archive.open_zip(path) as packed:
        return [entry.name for entry in zip_archive.entries(packed)]


def read(path: Path, done: list[int]) -> Iterator[Record]:
    """(number, {language: line}) of all groups one after the other, numbered through; `part` is what their names say.
    A line that is no text costs its pair, one that is empty on all sides is none."""
    groups = find_parallel_files(list_names(path))
    parts = splits_of(groups)
    number, before = 0, 0
    for group, part in zip(groups, parts, strict=True):
        progress = [[0] for _file in group.files]
        with ExitStack() as stack:
            sides = [stack.enter_context(_open_lines(path, name, progress[side]))
                     for side, name in enumerate(group.files.values())]  # fmt: skip
            for at_once in zip_longest(*(side_lines for side_lines, _encoding in sides)):
                if None in at_once:
                    refuse_unequal(count_lines(path, group))
                number += 1
                record = _record(number, group, at_once, [encoding for _lines, encoding in sides])
                done[0] = before + sum(read[0] for read in progress)
                if type(record) is BadRecord:
                    yield record
                elif any(record.values()):
                    yield number, {**record, **({"part": part} if part else {})}
        before = done[0]


def splits_of(groups: Sequence[ParallelFiles]) -> list[str]:
    """The part of each group; '' for all where the names say none. What is not named beside others is for training."""
    splits = [group.split for group in groups]
    named = len(set(splits)) > 1 and not {"train", ""}.isdisjoint(splits)
    return [split or "train" for split in splits] if named else [""] * len(groups)


def _record(number: int, group: ParallelFiles, at_once: Sequence, encodings: Sequence[str]) -> dict | BadRecord:
    cells, reason = {}, None
    for language, line, encoding in zip(group.languages, at_once, encodings, strict=True):
        if type(line) is BadRecord:
            reason, text = line.reason, line.raw
        else:
            text = decode_line(line[1], encoding)
            if text is None:
                reason, text = NOT_TEXT, printable(line[1], encoding)
        cells[language] = text.strip("\r\n \t")
    if reason is None:
        return cells
    raw = "\t".join(cells.values())
    return BadRecord(number, printable(raw), reason, cells={name: cell_text(text) for name, text in cells.items()})


@contextmanager
def _open_lines(path: Path, name: str, done: list[int]) -> Iterator[tuple[Iterator, str]]:
    """(the lines of a file but blank ones at its end, its encoding)."""
    with _open(path, name, [0]) as file:
        sample = file.read(SAMPLE_BYTES)
    try:
        encoding, _why = detect_encoding(sample)
    except Refusal as refusal:
        raise Refusal(_("{name} cannot be read.", name=name[:200]), refusal.what, refusal.do) from refusal
    with _open(path, name, done) as file:
        yield _without_blank_end(lines(file, encoding)), encoding


@contextmanager
def _open(path: Path, name: str, done: list[int]) -> Iterator[BinaryIO]:
    if path.is_dir():
        with open_stream(path / name, sharded_tables.compression(path / name), done) as file:
            yield file
        return
    with open_stream(path, name, done) as file:
        if not name.lower().endswith(".gz"):
            yield file
            return
        with open_gzip(file, done) as unpacked:
            yield unpacked


def _without_blank_end(found: Iterator) -> Iterator:
    blank: list = []
    for line in found:
        if type(line) is not BadRecord and not line[1].strip():
            blank.append(line)
            continue
        yield from blank
        blank = []
        yield line


def count_lines(path: Path, group: ParallelFiles) -> dict[str, int]:
    """Of each file, without blank ones at its end."""
    counts = {}
    for name in group.files.values():
        with _open_lines(path, name, [0]) as (side_lines, _encoding):
            counts[name] = sum(1 for _line in side_lines)
    return counts


def refuse_unequal(counts: Mapping[str, int]) -> None:
    """counts: lines by file."""
    (first, most), *_between, (second, least) = sorted(counts.items(), key=lambda item: -item[1])
    if least == most:
        return
    what = _("The files have unequal numbers of lines: {first} has {most}, {second} has {least}.",
             first=first[-200:], most=most, second=second[-200:], least=least)  # fmt: skip
    do = _("Give files in which each line translates the line of the same number.")
    raise Refusal(what, _("From some line on, texts would be paired with the wrong translations."), do)
