"""The records of a file, whatever its format: one door to all readers."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath

from bigmodel.core.errors import Refusal
from bigmodel.core.words import _
from bigmodel.importing.detect_format import detect_text_format
from bigmodel.importing.formats import (
    csv_json,
    image_folder,
    json_documents,
    label_tables,
    labelling_exports,
    parallel_text,
    parquet,
    plain_text,
    sharded_tables,
    text_lines,
    translation_files,
    zip_archive,
)
from bigmodel.importing.formats.bad_record import BadRecord
from bigmodel.importing.formats.csv_json import Record
from bigmodel.importing.formats.label_tables import LabelTables
from bigmodel.importing.import_plan import ImportPlan


def records(path: Path, plan: ImportPlan, done: list[int]) -> Iterator[Record]:
    """(number, {column: value}) or Broken, in the file's order. `done[0]`: bytes of the file read so far."""
    if plan.format == "pictures":
        yield from _pictures(path, plan, done)
    elif plan.format == "parallel":
        yield from parallel_text.read(path, done)
    elif plan.format == "text" and plan.unit == "files":
        yield from plain_text.read_files(path)
    elif plan.format == "text" and not plan.member and (path.is_dir() or zip_archive.is_zip(path)):
        yield from plain_text.read_collection(path, plan.unit, done)
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
        return translation_files.tmx(file, plan.encoding)
    if plan.format == "xliff":
        return translation_files.xliff(file, plan.encoding)
    return plain_text.read_text(file, plan.encoding, plan.unit)


def _pictures(path: Path, plan: ImportPlan, done: list[int], only: Collection[str] = ()) -> Iterator[Record]:
    names = label_tables.split_names(plan.labels, image_folder.all_names(path)) if plan.labels else []
    tables = LabelTables(path, names, table_records) if names else None
    yield from image_folder.read(path, tables.lookup if tables else None, names, done, only)
    if tables:
        yield from tables.unmatched()


def sample_pictures(path: Path, plan: ImportPlan, count: int) -> Iterator[Record]:
    """Some pictures, of one folder after the other, so that each class is among the first; then all else."""
    folders: dict[str, list[str]] = {}
    for name in image_folder.names(path):
        folders.setdefault(str(PurePosixPath(name).parent), []).append(name)
    shuffle = random.Random(0).sample
    shuffled = [shuffle(names, min(count, len(names))) for names in folders.values()]
    in_turn = [name for names in zip_longest(*shuffled) for name in names if name][: max(count, 2 * len(folders))]
    order = {name: place for place, name in enumerate(in_turn)}
    others = {name for name in image_folder.all_names(path) if not image_folder.is_picture(name)}
    found = list(_pictures(path, plan, [0], {*order, *others}))
    yield from sorted(found, key=lambda record: len(order) if type(record) is BadRecord else order[record[1]["name"]])


def table_records(path: Path, name: str) -> Iterator[Record]:
    """(line, {column: value}) of a table that lies in a folder or an archive; Refusal where it is none."""
    table, member = _locate_table(path, name)
    if name.lower().endswith(".parquet") and not member:
        yield from parquet.records(table, parquet.open_parquet(table).schema_arrow.names, [0])
        return
    with text_lines.open_stream(table, member, [0]) as file:
        sample = file.read(2**20)
    kind = detect_text_format(sample, name, len(sample) < 2**20)
    if kind.format not in ("csv", "jsonl", "json"):
        what = _("The file {name} is no table that could name classes.", name=name[:200])
        raise Refusal(what, do=_("Choose another file, or sort the pictures into folders."), field="labels")
    plan = ImportPlan(kind.format, {}, kind.encoding, kind.delimiter, kind.header)
    with text_lines.open_stream(table, member, [0]) as file:
        yield from _format_records(file, plan)


def _locate_table(path: Path, name: str) -> tuple[Path, str]:
    """The file and the member as `text_lines.open_stream` takes them."""
    if not path.is_dir():
        return path, name
    table = path / name
    if ".." in table.parts or not table.resolve().is_relative_to(path.resolve()) or not table.is_file():
        raise Refusal(_("The folder holds no file {name}.", name=name[:200]), do=_("Choose another file."))
    return table, ""
