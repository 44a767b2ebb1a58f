"""The records of a file, whatever its format: one door to all readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.detect_format import detect_text_format
from bigmodel.importing.formats import (
    csv_json,
    image_folder,
    json_documents,
    labelling_exports,
    parquet,
    plain_text,
    sharded_tables,
    text_lines,
    translation_files,
)
from bigmodel.importing.formats.bad_record import BadRecord, printable
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.import_plan import ImportPlan


def records(path: Path, plan: ImportPlan, done: list[int]) -> Iterator[Record]:
    """(number, {column: value}) or Broken, in the file's order. `done[0]`: bytes of the file read so far."""
    if plan.format == "pictures":
        yield from _pictures(path, plan, done)
    elif plan.unit == "files":
        yield from plain_text.read_files(path)
    elif path.is_dir():
        yield from _shards(path, plan, done)
    else:
        yield from _file_records(path, plan, plan.member, done)


def _shards(folder: Path, plan: ImportPlan, done: list[int]) -> Iterator[Record]:
    """The tables of a folder one after the other, numbered through; `part` is what the name of their file says."""
    files, before, read = sharded_tables.shard_files(folder), 0, 0
    for file, part in zip(files, sharded_tables.shard_splits(folder, files), strict=True):
        name, inner, last = file.relative_to(folder).as_posix(), [0], before
        try:
            for file_record in _file_records(file, plan, sharded_tables.compression(file), inner):
                done[0] = read + inner[0]
                if type(file_record) is BadRecord:
                    last = before + file_record.row + file_record.count - 1
                    yield replace(
                        file_record,
                        row=before + file_record.row,
                        reason=_("In {file}: {reason}", file=name, reason=file_record.reason),
                    )
                else:
                    last = before + file_record[0]
                    yield last, {"part": part, **file_record[1]} if part else file_record[1]
        except Refusal as refusal:
            raise Refusal(_("{name} cannot be read.", name=name[:200]), refusal.what, refusal.do) from refusal
        before, read = last, read + file.stat().st_size


def _file_records(path: Path, plan: ImportPlan, member: str, done: list[int]) -> Iterator[Record]:
    if plan.format == "parquet":
        columns = {name.partition(".")[0] for name in (*plan.roles.values(), plan.split) if name}
        columns |= {*plan.roles.values(), plan.split}
        yield from parquet.records(path, sorted(columns), done)
    else:
        with text_lines.open_stream(path, member, done) as file:
            yield from _format_records(file, plan)


def _format_records(file, plan: ImportPlan) -> Iterator[Record]:
    if plan.format == "csv":
        return csv_json.csv_records(file, plan.encoding, plan.delimiter, plan.header)
    if plan.format == "jsonl":
        return labelling_exports.with_labels(csv_json.json_lines(file, plan.encoding))
    if plan.format == "json":
        return labelling_exports.with_labels(json_documents.json_records(file, plan.encoding))
    if plan.format == "po":
        return translation_files.po(file, plan.encoding)
    if plan.format == "tmx":
        return translation_files.tmx(file)
    if plan.format == "xliff":
        return translation_files.xliff(file)
    return plain_text.read_text(file, plan.encoding, plan.unit)


def _pictures(path: Path, plan: ImportPlan, done: list[int]) -> Iterator[Record]:
    labels = _LabelTable(path, plan.labels) if plan.labels else None
    told = labels.lookup if labels else None
    if path.is_dir():
        yield from image_folder.read_folder(path, told, done)
    else:
        yield from image_folder.read_archive(path, told, plan.labels, done)
    if labels:
        yield from labels.unmatched()


class _LabelTable:
    """What a file of labels says of each picture; then what of it belongs to no picture."""

    def __init__(self, path: Path, name: str):
        self.name = name
        self.table, self.member = _locate_label_file(path, name)
        with text_lines.open_stream(self.table, self.member, [0]) as file:
            sample = file.read(2**20)
        kind = detect_text_format(sample, name, len(sample) < 2**20)
        if kind.format not in ("csv", "jsonl", "json"):
            what = _("The file {name} is no table that could name classes.", name=name[:200])
            raise Refusal(what, do=_("Choose another file, or sort the pictures into folders."), field="labels")
        self.plan = ImportPlan(kind.format, {}, kind.encoding, kind.delimiter, kind.header)
        self.matched_rows: set[int] = set()  # its rows that a picture has asked for
        self.rows_by_name: dict[str, tuple[int, Mapping]] = {}  # by every way to name a picture that is there
        there = {way for picture in image_folder.names(path) for way in _name_variants(picture)}
        for row in self._rows():
            if type(row) is not BadRecord:
                number, key, about = row
                for way in {key, PurePosixPath(key).name} & there:
                    self.rows_by_name.setdefault(way, (number, about))

    def lookup(self, picture: str) -> Mapping | None:
        number, about = next(
            (self.rows_by_name[way] for way in _name_variants(picture) if way in self.rows_by_name), (0, None)
        )
        self.matched_rows.add(number)
        return about

    def unmatched(self) -> Iterator[BadRecord]:
        """Its rows that no picture has asked for, by their lines. Read again: they may be more than the memory holds."""
        for row in self._rows():
            if type(row) is BadRecord:
                yield replace(row, reason=_("In {file}: {reason}", file=self.name, reason=row.reason))
            elif row[0] not in self.matched_rows:
                reason = _("The picture is not there, or has been named before.")
                yield BadRecord(row[0], printable(row[1]), _("In {file}: {reason}", file=self.name, reason=reason))

    def _rows(self) -> Iterator[tuple[int, str, Mapping] | BadRecord]:
        """(line, how it names a picture, what it says of it)."""
        column = ""
        with text_lines.open_stream(self.table, self.member, [0]) as file:
            for format_record in _format_records(file, self.plan):
                if type(format_record) is BadRecord:
                    yield format_record
                    continue
                number, record = format_record
                column = column or _image_name_column(record)
                if not column:
                    what = _("No column of {name} names pictures.", name=self.name[:200])
                    do = _("Choose another file, or sort the pictures into folders.")
                    raise Refusal(what, do=do, field="labels")
                key = str(record.get(column, "")).replace("\\", "/").removeprefix("./")
                yield number, key, {f"{title}": value for title, value in record.items() if title != column}


def _locate_label_file(path: Path, name: str) -> tuple[Path, str]:
    """The file of labels as `lines.opened` asks for it."""
    if not path.is_dir():
        return path, name
    place = (path / name).resolve()
    if not place.is_relative_to(path.resolve()) or not place.is_file():
        raise Refusal(_("The folder holds no file {name}.", name=name[:200]), do=_("Choose another file."))
    return place, ""


def _name_variants(picture: str) -> tuple[str, str, str]:
    """To name a picture: with its folders, without, without its ending."""
    path = PurePosixPath(picture)
    return picture, path.name, path.stem


def _image_name_column(record: Mapping) -> str:
    """The column whose value ends as pictures do; else the first one, which may leave the ending out."""
    named = (name for name, value in record.items() if isinstance(value, str) and image_folder.is_picture(value))
    return next(named, "") or next(
        (name for name, value in record.items() if isinstance(value, str | int) and str(value).strip()), ""
    )
